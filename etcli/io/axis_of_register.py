"""Tilt axis that register found in a series which has not been aligned to it since, from the history."""

import re
from collections.abc import Sequence

from etcli.core.registration.tilt_axis import TiltAxis
from etcli.io.frame_label import OURS
from etcli.io.history import as_values
from etcli.io.transforms import AXIS_ENDING, axis_of_text

_MOVING = re.compile(rf"{OURS}(register|tiltalign|xform)\b")
_RESIZING = re.compile(rf"{OURS}(bin\b|stack\b.*\bcropped to)")


def axis_of_register(history: Sequence[str]) -> TiltAxis | None:
    """Find the tilt axis in views that register has moved, and no later step has made vertical and central.

    Parameters
    ----------
    history : sequence of str
        Steps of the series, the oldest first.

    Returns
    -------
    TiltAxis or None
        In pixels of the registered views. None where register is not the newest step that moved the views,
        or its transforms not those of xform.
    """
    moves = [step for step in history if _MOVING.match(step)]
    while moves and moves[-1].startswith(f"{OURS}xform") and _by_own_transforms(moves[-1]):
        moves.pop()  # the step before found them
    return axis_of_text(moves[-1]) if moves and moves[-1].startswith(f"{OURS}register") else None


def crops_and_bins(history: Sequence[str]) -> tuple[bool, bool]:
    """Check whether views were cropped or binned before, and after the last step of register."""
    at = max((k for k, step in enumerate(history) if step.startswith(f"{OURS}register")), default=0)
    before, after = (any(map(_RESIZING.match, part)) for part in (history[:at], history[at:]))
    return before, after


def _by_own_transforms(step: str) -> bool:
    """Check whether a step applied transforms of etcli: then the file beside them is among its inputs."""
    inputs = as_values(step)["inputs"] or ()
    return any(name.partition(",")[0].endswith(AXIS_ENDING) for name in inputs)
