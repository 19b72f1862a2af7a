"""Transforms in IMOD's ``.xf`` files: one line per view, ``A11 A12 A21 A22 DX DY``."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.registration.image_place import ImagePlace
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import Transforms
from etcli.io.frame_label import OURS
from etcli.io.history import grouped
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


AXIS_ENDING = ".axis"
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_AXIS = re.compile(rf"axis {_NUMBER} deg, offset {_NUMBER} px")
_PIXEL = re.compile(r"pixel (\d\S*) A;")
_TILTS = "tilt angles: "
_PLACE = re.compile(rf"views of (\d+) x (\d+) px, rotation centre {_NUMBER}, {_NUMBER} px off the middle")


def axis_text(axis: TiltAxis) -> str:
    """Return angle and offset of a tilt axis as text, which `axis_of_text` reads."""
    return f"axis {axis.angle_deg:.3f} deg, offset {axis.offset_px:.3f} px"


def axis_of_text(text: str) -> TiltAxis | None:
    """Find a tilt axis in a comment or a step of the history; None if it holds none."""
    found = _AXIS.search(text)
    if found is None:
        return None
    return TiltAxis(float(found[1]), float(found[2]), np.nan, np.nan, np.nan)


def axis_file(xf: str | Path) -> Path:
    """Return the name of the file beside an ``.xf`` that holds tilt axis and pixel size.

    It is a file of its own, as IMOD refuses an ``.xf`` that holds anything but six numbers a line.
    """
    return Path(f"{xf}{AXIS_ENDING}")


def read_axis(xf: str | Path) -> TiltAxis | None:
    """Read the tilt axis from the file beside an ``.xf``; None if it has none, or one of other transforms."""
    return axis_of_text(_lines_beside(xf)[-1])


def read_steps(xf: str | Path) -> list[str]:
    """Read the processing steps that made an ``.xf`` from the file beside it; none where unknown."""
    return [step for step in grouped(_lines_beside(xf)[:-1]) if step.startswith(OURS)]


def centres_axis(steps: Sequence[str]) -> bool | None:
    """Check by the steps that made transforms whether they bring the tilt axis to the middle of the views."""
    if any(step.startswith(f"{OURS}tiltalign") for step in steps):
        return True
    return False if any(step.startswith(f"{OURS}register") for step in steps) else None


def read_pixel_A(xf: str | Path) -> float | None:
    """Read the size of the pixels in which the shifts of an ``.xf`` are, from the file beside it."""
    found = _PIXEL.search(_lines_beside(xf)[-1])
    try:
        pixel_A = float(found[1]) if found else 0.0
    except ValueError:
        pixel_A = 0.0
    return pixel_A if 0 < pixel_A < np.inf else None


def read_tilts_beside(xf: str | Path) -> NDArray[np.float64] | None:
    """Read the tilt angles of the views that an ``.xf`` is for, from the file beside it; None if unknown."""
    rows = [line.removeprefix(_TILTS).split() for line in _lines_beside(xf) if line.startswith(_TILTS)]
    try:
        return np.array(rows[-1], np.float64) if rows else None
    except ValueError:
        return None


def place_text(place: ImagePlace) -> str:
    """Return size and rotation centre of the views that transforms are for as text, for `read_place`."""
    (nx, ny), (x, y) = place.size, place.centre_px
    return f"views of {nx} x {ny} px, rotation centre {x + 0.0:.3f}, {y + 0.0:.3f} px off the middle"


def read_place(xf: str | Path) -> ImagePlace | None:
    """Read size and rotation centre of the views that an ``.xf`` is for; None where they are unknown."""
    found = [match for line in _lines_beside(xf) if (match := _PLACE.fullmatch(line))]
    if not found:
        return None
    nx, ny, x, y = found[-1].groups()
    return ImagePlace((int(nx), int(ny)), (float(x), float(y)))


def write_axis(
    path: Path,
    axis: TiltAxis | None,
    xf: Path,
    *,
    pixel_A: float | None = None,
    steps: Sequence[str] = (),
    tilt_deg: NDArray[np.float64] | None = None,
) -> None:
    """Write the tilt axis of the views that the transforms of an ``.xf``, already written, align.

    Parameters
    ----------
    path : Path
        File to write or replace.
    axis : TiltAxis or None
        The axis is that of these transforms only, so their digest goes with it.
    xf : Path
    pixel_A : float, optional
        Size of the pixels that the shifts are in.
    steps : sequence of str
        The processing steps that made the transforms, in lines of their own before the last one.
    tilt_deg : ndarray of shape (n_views,), optional
        Tilt angles of the views, by which transforms are found for views of another series.
    """
    words = [axis_text(axis)] if axis else []
    words += [f"pixel {pixel_A:.9g} A"] if pixel_A else []
    last = "; ".join([*words, f"SHA-256 of the transforms {_digest(xf)}"])
    tilts = [] if tilt_deg is None else [_TILTS + " ".join(f"{angle + 0.0:.7g}" for angle in tilt_deg)]
    path.write_text("\n".join([*steps, *tilts, last, ""]), encoding="utf-8", newline="\n")


def _lines_beside(xf: str | Path) -> list[str]:
    """Return the lines of the file beside an ``.xf``, an empty one if it belongs to other transforms."""
    path = axis_file(xf)
    if not path.is_file():
        return [""]
    lines = path.read_text(encoding="utf-8", errors="replace").rstrip().split("\n")
    return lines if lines[-1].endswith(_digest(xf)) else [""]


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


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
