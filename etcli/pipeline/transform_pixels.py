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
DERIVED = tuple(f"{OURS}{command} " for command in ("bin", "register", "tiltalign", "xform"))


def pixels_beside(xf: str, n_views: int) -> dict[float, str]:
    """Find the pixel size of the series that transforms were found on, among the files of the same base name.

    Parameters
    ----------
    xf : str
        The file of the transforms.
    n_views : int
        Their number.

    Returns
    -------
    dict of float to str
        Pixel sizes in Å and the files that state them, usually one. A series that etcli has moved or binned
        is not what such transforms are for.
    """
    path = Path(xf)
    if path.suffix.lower() not in RAW_TRANSFORMS:
        return {}
    stems = [path.stem, *(path.stem.removesuffix(stage) for stage in STAGES if path.stem.endswith(stage))]
    found: dict[float, str] = {}
    for raw in (path.with_name(stem + suffix) for stem in stems for suffix in (*RAW_SUFFIXES, "")):
        try:
            name, n, pixel_A, history = _described(raw)
        except (DataError, OSError):
            continue
        if pixel_A and pixel_A != PLACEHOLDER_A and n == n_views and not was_moved(history):
            found.setdefault(pixel_A, name)
    return found


def was_moved(history: Sequence[str]) -> bool:
    """Check whether etcli made a series from the raw one, by its history or the titles of its mdoc."""
    return any(step.strip().startswith(DERIVED) for step in history)


def _described(raw: Path) -> tuple[str, int, float | None, Sequence[str]]:
    """Return the name, number of views, pixel size and history of a series; without images, of its mdoc."""
    if raw.suffix and raw.exists():
        series = open_images(str(raw))
        return series.name, len(series), series.pixel_A, series.history
    mdoc = read_mdoc(raw.with_name(f"{raw.name}.mdoc"))
    return mdoc.name, len(mdoc.sections), mdoc.pixel_A, mdoc.titles
