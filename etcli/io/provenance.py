"""Whose a file is: what etcli wrote may be replaced, what others wrote is raw data."""

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
    """Tell whether a file holds images, or describes some, that etcli did not write.

    Parameters
    ----------
    path : Path
        A file that exists.
    expects_images : bool
        Whether images are to take its place: then a file that cannot be told is taken for raw data, too, as
        an image that is damaged or in another format.

    Returns
    -------
    bool
        False for an empty file, which holds nothing to lose.

    Notes
    -----
    An MRC file is etcli's where its newest label is, a TIFF where its software tag says so, an mdoc where one
    of its titles does. A copy that another program has written over is that program's.
    """
    if path.stat().st_size == 0:
        return False
    suffix = path.suffix.lower()
    if suffix == MDOC:
        return not _mdoc_is_ours(path)
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


def _mdoc_is_ours(path: Path) -> bool:
    """Tell whether a title of an mdoc is etcli's."""
    try:
        mdoc = Mdoc.parse(path.read_bytes(), name=str(path))
    except DataError:
        return False
    return any(title.strip().startswith(OURS) for title in mdoc.titles)
