"""Files of Euler angles, which describe views that are not tilted about one axis."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.io.text import as_number, read_text

HEADER = ("phi", "theta", "psi")
LARGEST_DEG = 360.0


def read_euler(path: Path, *, n_views: int | None = None) -> NDArray[np.float64]:
    """Read a table of Euler angles.

    Parameters
    ----------
    path : Path
        Text with the header ``phi,theta,psi`` and one row per view, in degrees; see `etcli.core.orientation`.
        Empty lines are skipped.
    n_views : int, optional
        Number of views; not checked when not given.

    Returns
    -------
    ndarray of shape (n_views, 3), float64
        φ, θ and ψ in degrees.

    Raises
    ------
    DataError
        If the header differs, a row does not hold three angles within ±360°, or the number of rows differs.
    """
    text = read_text(path)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    number, header = lines[0] if lines else (1, "")
    if tuple(name.strip().lower() for name in header.split(",")) != HEADER:
        raise DataError(
            f"{path}: line {number}: expected the header {','.join(HEADER)}, not {header.strip()[:40]!r}"
        )
    angles = [_parse_row(path, number, line) for number, line in lines[1:]]
    if not angles:
        raise DataError(f"{path}: no Euler angles below the header; one row per view is needed")
    if n_views is not None and len(angles) != n_views:
        raise DataError(
            f"{path}: {len(angles)} rows of Euler angles for {n_views} views; one row per view is needed"
        )
    return np.array(angles, np.float64)


def write_euler(path: Path, euler_deg: ArrayLike) -> None:
    """Write a table of Euler angles.

    Parameters
    ----------
    path : Path
        File to write or replace.
    euler_deg : array_like of shape (n_views, 3)
        φ, θ and ψ in degrees, written to 9 digits.
    """
    # + 0.0 turns -0 into 0
    rows = [",".join(f"{angle:.9g}" for angle in row) for row in np.asarray(euler_deg, np.float64) + 0.0]
    path.write_text("\n".join([",".join(HEADER), *rows, ""]), encoding="ascii", newline="\n")


def _parse_row(path: Path, number: int, line: str) -> list[float]:
    """Parse the three angles of a line."""
    try:
        angles = [as_number(word) for word in line.split(",")]
    except ValueError:
        angles = []
    # the comparison is false for NaN, too
    if len(angles) != len(HEADER) or not all(abs(angle) <= LARGEST_DEG for angle in angles):
        raise DataError(
            f"{path}: line {number}: expected {', '.join(HEADER)} in degrees, not {line.strip()[:40]!r}"
        )
    return angles
