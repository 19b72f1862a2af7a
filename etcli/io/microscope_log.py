"""Log that the acquisition program of an FEI microscope writes beside a tilt series."""

import re
from pathlib import Path

LONGEST = 1 << 20  # bytes read; a log of one series has some kilobytes
# Xplore3D: "11/18/11 10:36:43   Tilt Axis Angle [°]:90.00", in the code page of the microscope's computer
_AXIS = re.compile(
    r"^.*\btilt axis angle\b[^:=\n]*[:=]\s*([-+]?\d+(?:[.,]\d+)?)\s*$", re.IGNORECASE | re.MULTILINE
)


def log_of(path: Path) -> Path | None:
    """Return the text file ``STEM.txt`` beside an image file, None where there is none."""
    beside = path.with_suffix(".txt")
    return beside if beside.is_file() and beside != path else None


def axis_in_log(log: Path) -> float | None:
    """Return the tilt axis angle in a microscope's log, counted from +y; None where it states none.

    Parameters
    ----------
    log : Path
        A text file, which may be something else than a log.

    Returns
    -------
    float or None
        In degrees. A log with several angles belongs to several series, or to one of which the axis changed:
        None as well.
    """
    try:
        with log.open("rb") as file:
            text = file.read(LONGEST).decode("latin-1").replace("\r", "\n")
    except OSError:
        return None
    angles = {float(number.replace(",", ".")) for number in _AXIS.findall(text)}
    return angles.pop() if len(angles) == 1 else None
