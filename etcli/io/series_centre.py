"""Rotation centre of a cropped series: in its mdoc, and as a label of its MRC header.

Both give the point (x, y) in the coordinates of the file, whose first pixel lies at the origin: that of the
header, or ``Origin`` in the mdoc where the format has none. Series whose rotation centre is the middle of the
views have neither.
"""

from collections.abc import Sequence

from etcli.core.volume_frame import VolumeFrame
from etcli.io.frame_label import OURS, frame_in, frame_label
from etcli.io.mdoc import Mdoc
from etcli.io.volume_text import CENTRE, ORIGIN


def with_centre(mdoc: Mdoc, centre_A: tuple[float, float] | None, origin_A: Sequence[float]) -> Mdoc:
    """Return the mdoc of a series with its rotation centre, or without that of an earlier series."""
    if centre_A is None:
        return mdoc.without_value(CENTRE).without_value(ORIGIN)
    for key, lengths in ((CENTRE, centre_A), (ORIGIN, origin_A)):
        mdoc = mdoc.with_value(key, " ".join(repr(float(length)) for length in lengths))
    return mdoc


def centre_labels(centre_A: tuple[float, float] | None, pixel_A: float | None) -> tuple[str, ...]:
    """Return the label of a rotation centre, none where it is the middle of the views."""
    return (frame_label(VolumeFrame((*centre_A, 0.0), pixel_A)),) if centre_A and pixel_A else ()


def centre_of(labels: Sequence[str], mdoc: Mdoc | None, *, has_labels: bool) -> tuple[float, float] | None:
    """Read the rotation centre of a series.

    Parameters
    ----------
    labels : sequence of str
        Labels of the file, the oldest first.
    mdoc : Mdoc or None
        Description of the series.
    has_labels : bool
        Whether the format has labels. If the newest one is another program's, that program has changed the
        series, and its centre is no longer known.

    Returns
    -------
    (float, float) or None
        None where it is the middle of the views.
    """
    if has_labels and not (labels and labels[-1].startswith(OURS)):
        return None
    try:
        x, y = (float(word) for word in (mdoc.globals[CENTRE] if mdoc else "").split())
        return x, y
    except (KeyError, ValueError):
        frame = frame_in(labels)
        return (frame.centre_A[0], frame.centre_A[1]) if frame else None
