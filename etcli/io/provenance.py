"""Provenance of files: which files etcli wrote itself and may replace, and which are raw data."""

from pathlib import Path

from etcli.core.errors import DataError
from etcli.io.foreign import READERS
from etcli.io.frame_label import OURS
from etcli.io.mdoc import Mdoc
from etcli.io.mrc import open_mrc
from etcli.io.tiff import MAGIC as TIFF_MAGIC
from etcli.io.tiff import software_of

COMPRESSED = (b"\x1f\x8b", b"BZh")
MDOC = ".mdoc"


def is_raw_data(path: Path, *, expects_images: bool = False) -> bool:
    """Check whether a file holds or describes images that etcli did not write.

    Parameters
    ----------
    path : Path
        An existing file.
    expects_images : bool
        Whether images are to replace it. A file of unknown type then counts as raw data, too: it may be a
        damaged image, or one in another format.

    Returns
    -------
    bool
        False for an empty file, which has nothing to lose.

    Notes
    -----
    An MRC file is etcli's if its newest label is, a TIFF if its software tag says so, an mdoc if one of its
    titles does. A file that another program has rewritten belongs to that program.
    """
    if path.stat().st_size == 0:
        return False
    suffix = path.suffix.lower()
    if suffix == MDOC:
        return not _is_own_mdoc(path)
    with path.open("rb") as file:
        magic = file.read(4)
    if suffix in READERS:
        return True
    if magic in TIFF_MAGIC:
        return not software_of(path).startswith(OURS.strip())
    try:
        header, _ = open_mrc(path)
    except (DataError, OSError):
        return expects_images or magic.startswith(COMPRESSED)
    return not (header.labels and header.labels[-1].startswith(OURS))


def _is_own_mdoc(path: Path) -> bool:
    """Check whether an mdoc has a title written by etcli."""
    try:
        mdoc = Mdoc.parse(path.read_bytes(), name=str(path))
    except DataError:
        return False
    return any(title.strip().startswith(OURS) for title in mdoc.titles)
