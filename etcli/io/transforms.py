"""Transforms in IMOD's ``.xf`` files: one line per view, ``A11 A12 A21 A22 DX DY``."""

import re
from pathlib import Path

import numpy as np

from etcli.core.errors import DataError
from etcli.core.registration.tilt_axis import TiltAxis
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


_NUMBER = r"(-?\d+(?:\.\d+)?)"
_AXIS = re.compile(rf"axis {_NUMBER} deg, offset {_NUMBER} px")


def axis_text(axis: TiltAxis) -> str:
    """Return angle and offset of a tilt axis as text, which `axis_of_text` reads."""
    return f"axis {axis.angle_deg:.3f} deg, offset {axis.offset_px:.3f} px"


def axis_of_text(text: str) -> TiltAxis | None:
    """Find a tilt axis in a comment or a step of the history; None if it holds none."""
    found = _AXIS.search(text)
    if found is None:
        return None
    return TiltAxis(float(found[1]), float(found[2]), np.nan, np.nan, np.nan)


def read_xf_axis(path: Path) -> TiltAxis | None:
    """Read the tilt axis of the transformed views from the comment in the first line of an ``.xf`` file.

    Parameters
    ----------
    path : Path
        File that `read_xf` can read.

    Returns
    -------
    TiltAxis or None
        None if the file does not state an axis.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        return axis_of_text(file.readline().partition("#")[2])


def write_xf(path: Path, transforms: Transforms, *, axis: TiltAxis | None = None) -> None:
    """Write an ``.xf`` file in IMOD's columns, ``4f12.7,2f12.3``.

    Parameters
    ----------
    path : Path
        File to write or replace.
    transforms : Transforms
        One per line.
    axis : TiltAxis, optional
        Tilt axis of the transformed views: a comment after the numbers of the first line, which programs that
        read six numbers from each line ignore.
    """
    rows = np.hstack([transforms.matrix.reshape(-1, 4), transforms.shift_px])
    # + 0.0 turns the -0 of a rounded number into 0.
    lines = [
        "".join(f"{number:12.7f}" for number in row[:4].round(7) + 0.0)
        + "".join(f"{number:12.3f}" for number in row[4:].round(3) + 0.0)
        for row in rows
    ]
    if axis is not None:
        lines[0] += f"  # {axis_text(axis)}"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")
