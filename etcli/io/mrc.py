"""Reading of MRC image files: MRC2014, and its variants as written by microscopes and IMOD.

References
----------
Cheng et al., J. Struct. Biol. 192, 146 (2015), doi:10.1016/j.jsb.2015.04.002 (MRC2014).
"""

import bz2
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.frame_label import FRAME

MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
FOUR_BIT = 101
UNSUPPORTED = {3: "complex integers", 16: "colours"}
# IMOD's stamp means that flags follow: bytes are signed; the origin has the sign of the standard, not IMOD's
IMOD_STAMP = 1146047817
SIGNED_BYTES, STANDARD_ORIGIN, PACKED_BYTES = 1, 4, 16
# width and height of super-resolution frames of K2 and K3 cameras (IMOD, libiimod/mrcfiles.c)
SUPER_RESOLUTION = (
    *((7676, 7420), (7680, 7424), (11520, 8184)),
    *((7420, 7676), (7424, 7680), (8184, 11520)),
)
# value of NVERSION in FEI's files whose rows run from the top (IMOD, libiimod/mrcfiles.c)
FEI_INVERTED = 20140
HEADER_BYTES = 1024
LABELS, LABEL_LENGTH = 10, 80


@dataclass(frozen=True)
class MrcHeader:
    """Values of the header of an MRC file.

    ``size`` is (nx, ny, nz); ``axes`` tells along which of x, y, z (from 1) columns, rows and sections run.
    ``pixel_A`` and ``origin_A`` are (x, y, z); ``pixel_A`` is None where the header gives none. ``dtype`` is
    the type of the data as stored, ``byteorder`` (``"<"`` or ``">"``) that of all numbers.
    ``rows_from_top`` tells that row 0 is stored last. ``warnings`` lists deviations from the standard that
    could be interpreted.
    """

    size: tuple[int, int, int]
    mode: int
    dtype: np.dtype[Any]
    pixel_A: tuple[float, float, float] | None
    origin_A: tuple[float, float, float]
    statistics: tuple[float, float, float, float]
    labels: tuple[str, ...]
    exttyp: bytes
    extended: bytes
    extended_counts: tuple[int, int]
    ispg: int
    axes: tuple[int, int, int]
    byteorder: str
    rows_from_top: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def offset(self) -> int:
        """Byte at which the data begins."""
        return HEADER_BYTES + len(self.extended)


def open_mrc(source: str | Path | IO[bytes], name: str = "") -> tuple[MrcHeader, NDArray[Any]]:
    """Open an MRC file, compressed or not, without reading its data.

    Parameters
    ----------
    source : path or binary file
        A path, or a seekable file. gzip and bzip2 are recognised by their first bytes and unpacked to
        an unnamed temporary file.
    name : str
        Name of the file in messages; the path by default.

    Returns
    -------
    header : MrcHeader
    data : ndarray of shape (nz, ny, nx)
        A read-only memory map in the type stored (unpacked to uint8 for 4-bit data).

    Raises
    ------
    DataError
        When it is no MRC file, is truncated, or has a mode that is not supported.
    """
    if isinstance(source, str | Path):
        with Path(source).open("rb") as opened:
            return open_mrc(opened, name or str(source))
    with _uncompressed(source, name or "input") as file:
        header = _read_header(file, name)
        data = _map_data(file, header, name)[:, :: -1 if header.rows_from_top else 1]
    # columns, rows and sections may run along any axes, as in crystallographers' maps
    place = [header.axes.index(axis) for axis in (1, 2, 3)]
    data = data.transpose([2 - place[2], 2 - place[1], 2 - place[0]])
    return replace(header, size=(data.shape[2], data.shape[1], data.shape[0])), data


@contextmanager
def _uncompressed(file: IO[bytes], name: str) -> Iterator[IO[bytes]]:
    """Yield the file itself, or its decompressed content in an unnamed temporary file."""
    magic = file.read(3)
    file.seek(0)
    if magic[:2] != b"\x1f\x8b" and magic != b"BZh":
        yield file
        return
    with tempfile.TemporaryFile() as plain:  # the memory map stays valid after it is closed
        try:
            with gzip.open(file) if magic[:2] == b"\x1f\x8b" else bz2.open(file) as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
        except (EOFError, OSError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a full disk, not damaged data
            raise DataError(f"{name}: compressed data is damaged ({error}); copy the file again") from error
        plain.seek(0)
        yield plain


def _read_header(file: IO[bytes], name: str) -> MrcHeader:
    raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise DataError(f"{name}: {len(raw)} bytes are too few for an MRC header; is the file complete?")
    record, order = _detect_byte_order(raw, name)
    n_extended, size_of_file = int(record["nsymbt"]), file.seek(0, os.SEEK_END)
    file.seek(HEADER_BYTES)
    if not 0 <= n_extended <= size_of_file - HEADER_BYTES:
        raise DataError(
            f"{name}: extended header of {n_extended} bytes in a file of {size_of_file}; the header is "
            "damaged, or the file is not complete"
        )
    stamp, flags = (int(word) for word in np.frombuffer(raw, order + "i4", 2, 152))
    counts = np.frombuffer(raw, order + "i2", 2, 128)
    n_labels = min(max(int(record["nlabl"]), 0), LABELS)
    labels = tuple(label.decode("latin-1").rstrip("\0 ") for label in record["label"][:n_labels])
    warnings = [] if bytes(record["map"])[:3] in (b"MAP", b"") else ["no MAP identifier"]
    size, mode = _size_and_mode(record, stamp, flags, labels, name)
    lowest, highest = float(record["dmin"]), float(record["dmax"])
    dtype = np.dtype("u1") if mode == FOUR_BIT else np.dtype(order + MODES[mode])
    if mode == 0:
        dtype, warning = _byte_type(stamp, flags, lowest, highest)
        warnings += [warning] if warning else []
    axes, rows_from_top = _axes(record, stamp)
    if rows_from_top:
        warnings.append("its rows run from the top to the bottom; turned over, as IMOD does")
    n_volumes = _number_of_volumes(record)
    if n_volumes > 1:
        warnings.append(
            f"a stack of {n_volumes} volumes (ISPG {record['ispg']}) is read as one of {size[2]} sections; "
            f"take one out with stack --views 1-{size[2] // n_volumes}"
        )
    sign = -1.0 if stamp == IMOD_STAMP and not flags & STANDARD_ORIGIN else 1.0
    return MrcHeader(
        size=size,
        mode=mode,
        dtype=dtype,
        pixel_A=_pixel_size(record),
        # + 0.0: no minus zero
        origin_A=tuple(sign * float(record["origin"][axis]) + 0.0 for axis in "xyz"),  # type: ignore[arg-type]
        statistics=(lowest, highest, float(record["dmean"]), float(record["rms"])),
        labels=labels,
        exttyp=bytes(record["exttyp"]),
        extended=file.read(n_extended),
        extended_counts=(int(counts[0]), int(counts[1])),
        ispg=int(record["ispg"]),
        axes=axes,
        byteorder=order,
        rows_from_top=rows_from_top,
        warnings=tuple(warnings),
    )


def _size_and_mode(
    record: np.void, stamp: int, flags: int, labels: Sequence[str], name: str
) -> tuple[tuple[int, int, int], int]:
    """Return (nx, ny, nz) and the mode, that of 4-bit data also where a byte file holds such data."""
    nx, ny, nz = (int(record[key]) for key in ("nx", "ny", "nz"))
    if min(nx, ny, nz) < 1:
        raise DataError(f"{name}: empty image of {nx} x {ny} x {nz}; nothing to work on")
    mode = int(record["mode"])
    if mode in UNSUPPORTED:
        raise DataError(
            f"{name}: mode {mode} ({UNSUPPORTED[mode]}) is not read; convert it to mode 1 or 2 first"
        )
    is_flagged = stamp == IMOD_STAMP and bool(flags & PACKED_BYTES)
    # frames of SerialEM's plug-in for DigitalMicrograph before it set the flag: only sizes of its cameras
    is_camera = any(abs(2 * nx - a) <= 4 and abs(ny - b) <= 2 for a, b in SUPER_RESOLUTION)
    is_labelled = len(labels) == 1 and "4 bits packed" in labels[0] and is_camera
    if mode != 0 or not (is_flagged or is_labelled):
        return (nx, ny, nz), mode
    if is_flagged and flags & SIGNED_BYTES:
        raise DataError(f"{name}: 4-bit data in signed bytes is not read; write it again as mode 1")
    return (2 * nx, ny, nz), FOUR_BIT


def _axes(record: np.void, stamp: int) -> tuple[tuple[int, int, int], bool]:
    """Return along which axes columns, rows and sections run, and whether rows run from the top."""
    axes = [int(record[key]) for key in ("mapc", "mapr", "maps")]
    of_fei = bytes(record["exttyp"]).startswith(b"FEI") and int(record["nversion"]) == FEI_INVERTED
    rows_from_top = stamp != IMOD_STAMP and (of_fei or axes[1] == -2)
    axes[1] = abs(axes[1])
    columns, rows, sections = axes if sorted(axes) == [1, 2, 3] else (1, 2, 3)
    return (columns, rows, sections), rows_from_top


def _number_of_volumes(record: np.void) -> int:
    """Return how many volumes of ``mz`` sections a file holds; ISPG above 400 marks a stack of them."""
    n_sections, of_each = int(record["nz"]), int(record["mz"])
    is_stack = int(record["ispg"]) > 400 and 0 < of_each < n_sections and n_sections % of_each == 0
    return n_sections // of_each if is_stack else 1


def _detect_byte_order(raw: bytes, name: str) -> tuple[np.void, str]:
    """Return the header and its byte order, that in which mode and size are valid; the stamp is ignored."""
    records = [(np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0], order) for order in "<>"]
    known = {*MODES, *UNSUPPORTED, FOUR_BIT}
    likely = [
        (record, order)
        for record, order in records
        if int(record["mode"]) in known and all(-1 < int(record[key]) < 1 << 20 for key in ("nx", "ny"))
    ]
    if not likely:
        raise DataError(
            f"{name}: not an MRC file, or one of an unknown mode; give an MRC, TIFF or other image file"
        )
    # mode 0 is 0 in either order, but a size read in the wrong order has six digits
    return min(likely, key=lambda candidate: int(candidate[0]["nx"]))


def _byte_type(stamp: int, flags: int, lowest: float, highest: float) -> tuple[np.dtype[Any], str]:
    """Decide whether bytes are signed: by IMOD's stamp, else by the range that the header states."""
    if stamp == IMOD_STAMP:
        return np.dtype("i1" if flags & SIGNED_BYTES else "u1"), ""
    if 0 <= lowest < highest < 128 or 0 < lowest == highest < 128:  # 0 throughout: not set
        return np.dtype("i1"), ""
    unsigned = highest >= 128 and (lowest >= 0 or -lowest <= highest - 128)
    kind = "unsigned" if unsigned else "signed"
    return np.dtype("u1" if unsigned else "i1"), f"does not say whether its bytes are signed; read as {kind}"


def _pixel_size(record: np.void) -> tuple[float, float, float] | None:
    cells = [int(record[key]) for key in ("mx", "my", "mz")]
    lengths = [float(record["cella"][axis]) for axis in "xyz"]
    if cells[0] < 1 or not np.isfinite(lengths).all() or lengths[0] <= 0:
        return None
    steps = [
        length / cell if cell > 0 and length > 0 else 0.0 for length, cell in zip(lengths, cells, strict=True)
    ]
    # seven digits are what float32 holds: 0.195, not 0.19499999
    return tuple(float(f"{step or steps[0]:.7g}") for step in steps)  # type: ignore[return-value]


def _map_data(file: IO[bytes], header: MrcHeader, name: str) -> NDArray[Any]:
    nx, ny, nz = header.size
    row_bytes = (nx + 1) // 2 if header.mode == FOUR_BIT else nx * header.dtype.itemsize
    needed = header.offset + row_bytes * ny * nz
    present = file.seek(0, os.SEEK_END)
    if present < needed:
        raise DataError(
            f"{name}: truncated, {present} bytes of the {needed} that {nx} x {ny} x {nz} of mode "
            f"{header.mode} need; copy it again"
        )
    if header.mode == FOUR_BIT:
        packed = np.memmap(file, np.uint8, "r", header.offset, (nz, ny, row_bytes))
        return np.stack([packed & 15, packed >> 4], -1).reshape(nz, ny, -1)[:, :, :nx]
    return np.memmap(file, header.dtype, "r", header.offset, (nz, ny, nx))


def add_label(labels: Sequence[str], label: str) -> tuple[str, ...]:
    """Append a label; drop the second oldest where there are ten, as the first names the source of the data.

    The label of a volume's frame is never dropped.
    """
    kept = list(labels)
    while len(kept) >= LABELS:
        del kept[next(k for k in range(1, len(kept)) if not kept[k].startswith(FRAME))]
    return (*kept, label[:LABEL_LENGTH])
