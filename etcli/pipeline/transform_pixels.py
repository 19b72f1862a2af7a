"""Pixel size of the transforms of other programs: that of the raw series beside them."""

from collections.abc import Sequence
from pathlib import Path

from etcli.core.errors import DataError
from etcli.io.frame_label import OURS
from etcli.io.image_file import open_images
from etcli.io.mdoc import read_mdoc

RAW_SUFFIXES = (".st", ".mrc", ".mrcs")
"""Endings of the raw series of IMOD and SerialEM; IMOD's shifts are in its pixels, even if it bins them."""
STAGES = ("_fid", "_nonfid")
"""What IMOD adds to the name of a series for transforms found with and without fiducials."""
RAW_TRANSFORMS = (".xf", ".xg", ".prexf", ".prexg")
PLACEHOLDER_A = 1.0
"""Pixel size in headers of programs that do not know it."""
MOVED = tuple(f"{OURS}{command} " for command in ("register", "tiltalign", "xform"))


def pixel_beside(xf: str, n_views: int) -> tuple[float, str] | None:
    """Find the pixel size of the series that transforms were found on, among the files of the same base name.

    Parameters
    ----------
    xf : str
        The file of the transforms.
    n_views : int
        Their number.

    Returns
    -------
    (float, str) or None
        Pixel size in Å and the file that states it; None where there is no such series, or several of them
        disagree. A series that etcli has moved is what such transforms made, not what they are for.
    """
    path = Path(xf)
    if path.suffix.lower() not in RAW_TRANSFORMS:
        return None
    stems = [path.stem, *(path.stem.removesuffix(stage) for stage in STAGES if path.stem.endswith(stage))]
    found: dict[float, str] = {}
    for raw in (path.with_name(stem + suffix) for stem in stems for suffix in (*RAW_SUFFIXES, "")):
        try:
            name, n, pixel_A, history = _described(raw)
        except (DataError, OSError):
            continue
        if pixel_A and pixel_A != PLACEHOLDER_A and n == n_views and not was_moved(history):
            found.setdefault(pixel_A, name)
    return next(iter(found.items())) if len(found) == 1 else None


def was_moved(history: Sequence[str]) -> bool:
    """Check whether etcli moved the views of a series, by its history or the titles of its mdoc."""
    return any(step.strip().startswith(MOVED) for step in history)


def _described(raw: Path) -> tuple[str, int, float | None, Sequence[str]]:
    """Return the name, number of views, pixel size and history of a series; without images, of its mdoc."""
    if raw.suffix and raw.exists():
        series = open_images(str(raw))
        return series.name, len(series), series.pixel_A, series.history
    mdoc = read_mdoc(raw.with_name(f"{raw.name}.mdoc"))
    return mdoc.name, len(mdoc.sections), mdoc.pixel_A, mdoc.titles
