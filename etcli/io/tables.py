"""Tables of numbers: CSV with a header row."""

import csv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.text import as_number, read_text


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


def read_table(
    path: Path, *, needed: Sequence[str], optional: Collection[str] = ()
) -> dict[str, NDArray[np.float64]]:
    """Read columns of numbers of a CSV table by their names in the header row.

    Parameters
    ----------
    path : Path
        Text with a header row; columns of other names, and empty lines, are skipped.
    needed : sequence of str
        Columns that must be there and must not have empty fields.
    optional : collection of str
        Columns that are read where they are there; empty fields are NaN.

    Returns
    -------
    dict of str to ndarray of shape (n_rows,), float64

    Raises
    ------
    DataError
        When a column is absent, a field is not a finite number, or there are no rows.
    """
    text = read_text(path)
    rows = [(number, row) for number, row in enumerate(csv.reader(text.splitlines()), 1) if any(row)]
    header = [name.strip() for name in rows[0][1]] if rows else []
    absent = [name for name in needed if name not in header]
    if absent:
        raise DataError(
            f"{path}: no column '{absent[0]}' in the header row; it has {', '.join(header) or 'none'}"
        )
    if len(rows) == 1:
        raise DataError(f"{path}: no rows below the header")
    return {
        name: np.array([_number(path, number, name, row, header, name in needed) for number, row in rows[1:]])
        for name in header
        if name in needed or name in optional
    }


def _number(path: Path, line: int, name: str, row: list[str], header: list[str], needed: bool) -> float:
    at = header.index(name)
    field = row[at].strip() if at < len(row) else ""
    if not field and not needed:
        return float("nan")
    try:
        value = as_number(field)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{path}: line {line}: {name} {field!r} is not a number")
    return value


def _field(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value.replace(chr(34), chr(34) * 2)}"' if set(value) & set(',"\n') else value
    return "" if np.isnan(value) else f"{value + 0:.9g}"
