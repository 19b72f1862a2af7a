"""What a file is by its first bytes, for messages about files whose names tell something else."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from etcli.core.errors import DataError

UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD_BYTES = 1024
"""Bytes at the beginning of a file that tell its kind, such as the header of an MRC file."""
MOST_NULS = 0.1
"""Part of a text that may be zero bytes, as left by a file system after a crash."""


@dataclass(frozen=True)
class Kind:
    """Kind of a file in words, what to do with it where images or text are needed, and the usual endings."""

    words: str
    advice: str
    endings: tuple[str, ...] = ()


READ = "it is read whatever its name is"
MRC = Kind("an MRC file", READ, (".mrc", ".mrcs", ".st", ".ali", ".preali", ".rec", ".map"))
TIFF = Kind("a TIFF", READ, (".tif", ".tiff"))
GZIP = Kind("packed by gzip", READ, (".gz",))
BZIP2 = Kind("packed by bzip2", READ, (".bz2",))
READ_BY_CONTENT = (MRC, TIFF, GZIP, BZIP2)
DM = Kind("a DigitalMicrograph file", "end its name in .dm3 or .dm4", (".dm3", ".dm4"))
HDF5 = Kind(
    "an HDF5 file",
    "end its name in .emd, .hspy or .h5, as its program does",
    (".emd", ".hspy", ".h5", ".hdf5"),
)
SER = Kind("a TIA series", "end its name in .ser", (".ser",))
ZIP = Kind("a ZIP archive", "unpack it first", (".zspy",))
PICTURE = "give the images themselves, as MRC or TIFF"
UNPACK = "unpack it first"

_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    *((magic, TIFF) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    (b"\x89HDF\r\n\x1a\n", HDF5),
    (b"II\x97\x01", SER),
    (b"PK\x03\x04", ZIP),
    (b"\x89PNG", Kind("a PNG picture", PICTURE)),
    (b"\xff\xd8\xff", Kind("a JPEG picture", PICTURE)),
    (b"GIF8", Kind("a GIF picture", PICTURE)),
    (b"%PDF", Kind("a PDF document", PICTURE)),
    (b"\x93NUMPY", Kind("a NumPy array", "write it with etcli.write in Python")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", UNPACK)),
    (b"Rar!", Kind("a RAR archive", UNPACK)),
    (b"\x1f\x8b", GZIP),
    (b"BZh", BZIP2),
    (b"version https://git-lfs", Kind("a placeholder of Git LFS", "fetch the file with git lfs pull")),
)
_PAGES = (b"<!doctype html", b"<html")


def kind_of(path: Path) -> Kind | None:
    """Kind of a file by its content; None if it is unknown, as for a text of numbers."""
    with path.open("rb") as file:
        return kind_of_bytes(file.read(HEAD_BYTES))


def kind_of_bytes(head: bytes) -> Kind | None:
    """Kind of a file by its first bytes; see `kind_of`."""
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[208:212] == b"MAP " and b"\0" in head[:208]:  # no text with that word there
        return MRC
    # version, size, byte order: all big endian in DM3 and in DM4
    if (head[:4] == b"\0\0\0\x03" and head[8:11] == b"\0\0\0") or (
        head[:4] == b"\0\0\0\x04" and head[12:15] == b"\0\0\0"
    ):
        return DM
    if head[257:262] == b"ustar":
        return Kind("a tar archive", UNPACK)
    if head.lstrip().lower().startswith(_PAGES):
        return Kind("a web page", "download the file that it links to")
    return None


def is_text(content: bytes) -> bool:
    """Check whether bytes may be text: UTF-16 with its mark, else hardly any zero bytes."""
    head = content[:HEAD_BYTES]
    return head.startswith(UTF_16_MARKS) or head.count(0) <= MOST_NULS * len(head)


def check_text(content: bytes, name: str) -> None:
    """Check that a file holds text; raise DataError that says what it is otherwise.

    Parameters
    ----------
    content : bytes
        The file, or its beginning.
    name : str
        Its name for the message.
    """
    kind = kind_of_bytes(content[:HEAD_BYTES])
    if kind is not None or not is_text(content):
        what = kind.words if kind else "binary"
        raise DataError(f"{name}: is {what}, not text; give the right file, or take this one away")


def not_images(path: Path, name: str, error: DataError) -> DataError:
    """Error for a file whose images cannot be read: what the file is, where its name tells something else.

    Parameters
    ----------
    path : Path
    name : str
        Its name for the message.
    error : DataError
        Error of the reader that its name stands for.

    Returns
    -------
    DataError
        The same error where the kind of the file is unknown, or that of the reader.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = kind_of_bytes(head)
    if kind is None and head and is_text(head) and head.isascii():
        kind = Kind("a text file", "name the file of the images")
    if kind is None or kind in READ_BY_CONTENT or path.suffix.lower() in kind.endings:
        return error
    return DataError(f"{name}: is {kind.words}; {kind.advice}")


def misnamed(path: Path, kind: Kind, others: tuple[Kind, ...] = (MRC, TIFF, DM, HDF5, SER)) -> list[str]:
    """Warning that a file is read as what it is, though its ending is that of another kind; else nothing."""
    ending = path.suffix.lower()
    if any(ending in other.endings for other in others if other is not kind):
        return [f"is {kind.words}, whatever its ending says; read as one"]
    return []
