"""Tables of numbers: CSV with a header row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_table(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Write columns of equal length as CSV.

    Parameters
    ----------
    path : Path
        File to write or replace.
    columns : mapping of str to sequence
        By name, which includes the unit; numbers are written to 9 digits, NaN as an empty field.
    """
    rows = zip(*([_field(value) for value in values] for values in columns.values()), strict=True)
    lines = [",".join(columns), *(",".join(row) for row in rows)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def _field(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value.replace(chr(34), chr(34) * 2)}"' if set(value) & set(',"\n') else value
    return "" if np.isnan(value) else f"{value + 0:.9g}"
