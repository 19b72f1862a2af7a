"""Background level of a series in its mdoc, as ``BackgroundLevel``.

It is known once the surroundings of the specimen were seen, and still needed where they were cropped off.
"""

import math
from collections.abc import Sequence

from etcli.io.frame_label import OURS
from etcli.io.mdoc import Mdoc

LEVEL = "BackgroundLevel"


def with_background(mdoc: Mdoc, level: float | None) -> Mdoc:
    """Return the mdoc of a series with its background level, or without that of an earlier series."""
    return mdoc.without_value(LEVEL) if level is None else mdoc.with_value(LEVEL, f"{level:.9g}")


def background_of(labels: Sequence[str], mdoc: Mdoc | None, *, has_labels: bool) -> float | None:
    """Read the background level of a series.

    Parameters
    ----------
    labels : sequence of str
        Labels of the file, the oldest first.
    mdoc : Mdoc or None
        Description of the series.
    has_labels : bool
        Whether the format has labels. If the newest one is another program's, that program may have changed
        the values, and the level is no longer known.

    Returns
    -------
    float or None
        None where it is unknown.
    """
    if mdoc is None or (has_labels and not (labels and labels[-1].startswith(OURS))):
        return None
    try:
        level = float(mdoc.globals[LEVEL])
    except (KeyError, ValueError):
        return None
    return level if math.isfinite(level) else None
