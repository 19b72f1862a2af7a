"""Transforms in IMOD's ``.xf`` files: one line per view, ``A11 A12 A21 A22 DX DY``."""

from pathlib import Path

import numpy as np

from etcli.core.errors import DataError
from etcli.core.registration.transforms import Transforms
from etcli.io.tilts import read_number_rows


def read_xf(path: Path) -> Transforms:
    """Read an ``.xf`` file.

    Parameters
    ----------
    path : Path
        Six numbers per line, separated by blanks or commas; empty lines and text after ``#`` are skipped.

    Returns
    -------
    Transforms
        One transform per line.

    Raises
    ------
    DataError
        If a line does not hold six finite numbers or there is no line; the message names the line.
    """
    rows = read_number_rows(path, 6, "A11 A12 A21 A22 DX DY")
    try:
        return Transforms(rows[:, :4].reshape(-1, 2, 2), rows[:, 4:])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def write_xf(path: Path, transforms: Transforms) -> None:
    """Write an ``.xf`` file in IMOD's columns, ``4f12.7,2f12.3``.

    Parameters
    ----------
    path : Path
        File to write or replace.
    transforms : Transforms
        One per line.
    """
    rows = np.hstack([transforms.matrix.reshape(-1, 4), transforms.shift_px])
    # + 0.0 turns the -0 of a rounded number into 0.
    lines = [
        "".join(f"{number:12.7f}" for number in row[:4].round(7) + 0.0)
        + "".join(f"{number:12.3f}" for number in row[4:].round(3) + 0.0)
        for row in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")
