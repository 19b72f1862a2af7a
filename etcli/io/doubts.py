"""Doubts about the metadata of images: sources that disagree, and values that cannot be meant."""

from collections.abc import Sequence

from etcli.core.geometry import wrapped_deg
from etcli.io.frame_label import OURS
from etcli.io.mdoc import Mdoc

PIXEL_TOLERANCE, AXIS_TOLERANCE_DEG = 0.01, 1.0
# microscopes of any kind; what is outside was written in another unit
SMALLEST_PIXEL_A, LARGEST_PIXEL_A = 1e-3, 1e7


def pixel_doubts(pixel_A: float | None, mdoc: Mdoc | None) -> list[str]:
    """Return warnings about the pixel size of a file.

    Parameters
    ----------
    pixel_A : float or None
        The one that counts.
    mdoc : Mdoc or None
        Description beside the file.

    Returns
    -------
    list of str
    """
    doubts = []
    other_A = mdoc.pixel_A if mdoc else None
    if mdoc and pixel_A and other_A and abs(other_A / pixel_A - 1) > PIXEL_TOLERANCE:
        doubts.append(
            f"{pixel_A:g} Å per pixel in its header, which counts, but {other_A:g} Å in {mdoc.name}"
        )
    if pixel_A and not SMALLEST_PIXEL_A < pixel_A < LARGEST_PIXEL_A:
        doubts.append(f"pixels of {pixel_A:g} Å cannot be meant; was another unit than Å written?")
    return doubts


def axis_doubts(axis_deg: float | None, labels: Sequence[str], mdoc: Mdoc | None) -> list[str]:
    """Return a warning where the tilt axis of a file's header and that of its description differ.

    Parameters
    ----------
    axis_deg : float or None
        Tilt axis angle in the header.
    labels : sequence of str
        Labels of the header; once etcli has written a file, only its description is up to date.
    mdoc : Mdoc or None
        Description beside the file, which counts.

    Returns
    -------
    list of str
    """
    axis = mdoc.tilt_axis if mdoc else None
    if mdoc is None or axis is None or axis.source != "title" or axis_deg is None:
        return []
    if any(label.startswith(OURS) for label in labels):
        return []
    if abs(wrapped_deg(axis.deg - axis_deg)) <= AXIS_TOLERANCE_DEG:
        return []
    return [f"tilt axis at {axis_deg:g}° in its header, but {axis.deg:g}° in {mdoc.name}, which counts"]
