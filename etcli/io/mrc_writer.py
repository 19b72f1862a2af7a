"""Writing of MRC2014 files: sections in any order, with the statistics of the data in the header."""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.io.mrc import HEADER_BYTES, IMOD_STAMP, LABEL_LENGTH, MODES, SIGNED_BYTES, STANDARD_ORIGIN

UNKNOWN_STATISTICS = (0.0, -1.0, -2.0, -1.0)
CHUNK = 1 << 15

WRITTEN_MODES = (0, 1, 2, 6, 12)
"""Modes in which images are written: int8, int16, float32, uint16, float16."""


@dataclass(frozen=True)
class MrcLayout:
    """Shape, type and header entries of an MRC file to be written.

    Parameters
    ----------
    shape : tuple of int
        (nz, ny, nx).
    mode : int
        0 (written signed), 1, 2, 4, 6 or 12.
    pixel_A, origin_A : sequence of three floats
        Along x, y, z; the origin is the position of the first voxel, as in the standard.
    labels : sequence of str
        At most ten of 80 characters.
    volume : bool
        Whether the file is a volume, not a series of images.
    exttyp, extended, extended_counts
        The extended header, its type, and the two numbers that describe its sections.
    unsigned_bytes : bool
        Whether mode 0 means bytes from 0 to 255, as in a TIFF; an MRC file is written with signed ones.
    """

    shape: tuple[int, int, int]
    mode: int = 2
    pixel_A: Sequence[float] = (1.0, 1.0, 1.0)
    origin_A: Sequence[float] = (0.0, 0.0, 0.0)
    labels: Sequence[str] = ()
    volume: bool = False
    exttyp: bytes = b""
    extended: bytes = b""
    extended_counts: tuple[int, int] = (0, 0)
    unsigned_bytes: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the data on disk."""
        return np.dtype("u1" if self.mode == 0 and self.unsigned_bytes else "<" + MODES[self.mode])

    @property
    def offset(self) -> int:
        """Byte at which the data begins."""
        return HEADER_BYTES + len(self.extended)

    def header(self, statistics: tuple[float, float, float, float] = UNKNOWN_STATISTICS) -> bytes:
        """Return header and extended header; unknown statistics are marked as MRC2014 defines it."""
        nz, ny, nx = self.shape
        cells = (nx, ny, nz if self.volume else 1)
        record = np.zeros(1, HEADER_DTYPE.newbyteorder("<"))[0]
        record["nx"], record["ny"], record["nz"] = nx, ny, nz
        record["mx"], record["my"], record["mz"] = cells
        record["mode"] = self.mode
        record["cella"] = tuple(cell * pixel for cell, pixel in zip(cells, self.pixel_A, strict=True))
        record["cellb"] = (90, 90, 90)
        record["origin"] = tuple(self.origin_A)
        record["mapc"], record["mapr"], record["maps"] = 1, 2, 3
        record["dmin"], record["dmax"], record["dmean"], record["rms"] = statistics
        record["ispg"], record["nsymbt"] = int(self.volume), len(self.extended)
        record["exttyp"], record["nversion"] = self.exttyp or b"\0" * 4, 20141
        record["map"], record["machst"] = b"MAP ", (0x44, 0x44, 0, 0)
        record["nlabl"] = len(self.labels)
        for k, label in enumerate(self.labels):
            record["label"][k] = label.encode("latin-1", "replace")[:LABEL_LENGTH].ljust(LABEL_LENGTH)
        raw = bytearray(record.tobytes())
        raw[128:132] = np.asarray(self.extended_counts, "<i2").tobytes()
        raw[152:160] = np.asarray((IMOD_STAMP, SIGNED_BYTES | STANDARD_ORIGIN), "<i4").tobytes()
        return bytes(raw) + self.extended


class Statistics:
    """Minimum, maximum, mean and standard deviation of data that is added in pieces."""

    def __init__(self) -> None:
        self._lowest, self._highest = np.inf, -np.inf
        self._n = 0
        self._shift = self._sum = self._squares = 0.0

    def add(self, values: NDArray[Any]) -> None:
        """Add a piece of any shape."""
        real = np.abs(values) if np.iscomplexobj(values) else values
        if self._n == 0:
            self._shift = float(real.mean(dtype=np.float64))
        self._lowest = min(self._lowest, float(real.min()))
        self._highest = max(self._highest, float(real.max()))
        flat = real.reshape(-1)
        scratch = np.empty(min(CHUNK, flat.size))
        for start in range(0, flat.size, CHUNK):
            # from a common level, as a large offset would cost precision; in pieces that fit into the cache
            piece = flat[start : start + CHUNK]
            centred = scratch[: piece.size]
            centred[:] = piece
            centred -= self._shift
            self._sum += float(centred.sum())
            # not by BLAS, whose threads wait for each other at length where the machine is busy
            self._squares += float(np.square(centred, out=centred).sum())
        self._n += real.size

    def result(self) -> tuple[float, float, float, float]:
        """Return (minimum, maximum, mean, standard deviation)."""
        if self._n == 0:
            return UNKNOWN_STATISTICS
        mean = self._sum / self._n
        variance = max(0.0, self._squares / self._n - mean * mean)
        return self._lowest, self._highest, self._shift + mean, variance**0.5


class MrcWriter:
    """Writer of an MRC file in pieces; ``close`` completes its header.

    Disk space for the whole file is reserved at the start, so that a full disk is noticed before the work.

    Parameters
    ----------
    path : path
        File to write.
    layout : MrcLayout
    """

    def __init__(self, path: Path, layout: MrcLayout) -> None:
        self.layout = layout
        self._statistics = Statistics()
        nz, ny, nx = layout.shape
        self._file = path.open("wb", buffering=0)
        try:
            reserve(self._file, layout.offset + nz * ny * nx * layout.dtype.itemsize)
        except OSError:
            self._file.close()
            raise

    def write_section(self, z: int, section: NDArray[Any]) -> None:
        """Write section ``z``, an array (ny, nx)."""
        self.write_rows(0, section[np.newaxis], z0=z)

    def write_rows(self, y0: int, block: NDArray[Any], *, z0: int = 0) -> None:
        """Write rows from ``y0`` on of the sections from ``z0`` on, an array (sections, rows, nx)."""
        nz, ny, nx = self.layout.shape
        if z0 + block.shape[0] > nz or y0 + block.shape[1] > ny or block.shape[2] != nx:
            raise DataError(f"a block of shape {block.shape} does not fit the file's {self.layout.shape}")
        stored = as_stored(block, self.layout)
        self._statistics.add(stored)
        row_bytes = nx * stored.itemsize
        for z, rows in enumerate(stored, z0):
            self._file.seek(self.layout.offset + (z * ny + y0) * row_bytes)
            self._write(memoryview(np.ascontiguousarray(rows).data).cast("B"))

    def close(self) -> None:
        """Write the header with the statistics of what was written."""
        self._file.seek(0)
        self._write(memoryview(self.layout.header(self._statistics.result())))
        self._file.close()

    def abandon(self) -> None:
        """Close the file without completing it."""
        self._file.close()

    def _write(self, data: memoryview) -> None:
        """Write all bytes at the current position; a single call may write fewer."""
        while data:
            data = data[self._file.write(data) :]


class MrcStream:
    """Writer of the sections of an MRC file, in order, to a pipe; the statistics stay unknown."""

    def __init__(self, file: IO[bytes], layout: MrcLayout) -> None:
        self.layout = layout
        self._file = file
        self._write(layout.header())

    def write_section(self, z: int, section: NDArray[Any]) -> None:
        """Write the next section, an array (ny, nx)."""
        self._write(np.ascontiguousarray(as_stored(section, self.layout)).tobytes())

    def close(self) -> None:
        """Flush the stream."""
        self._write(b"")

    def _write(self, content: bytes) -> None:
        """Write and flush; errors name the standard output, so as not to be taken for those of a file."""
        try:
            self._file.write(content)
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OSError(error.errno, error.strerror, "standard output") from error

    def abandon(self) -> None:
        """Leave the stream incomplete, so that its reader notices the early end."""


class RangeError(DataError):
    """Raised for values beyond the range of the type in which they would be stored.

    Parameters
    ----------
    low, high : float
        Range of the values.
    mode : int
        MRC mode.
    of_all : bool
        Whether the range is that of all images, not that of the first ones that do not fit.
    """

    def __init__(self, low: float, high: float, mode: int, *, of_all: bool = False) -> None:
        where = "" if of_all else " in a part of the result"
        scale = f"--scale {low:.7g},{high:.7g}" if of_all else "scale it later with stack --scale"
        found = f"values from {low:.7g} to {high:.7g}{where}"
        super().__init__(f"{found} do not fit mode {mode}; choose another --mode, or {scale}")


def reserve(file: IO[bytes], size: int) -> None:
    """Reserve disk space for a file, if the system can, so that a full disk is noticed before the work."""
    if not hasattr(os, "posix_fallocate"):
        file.truncate(size)  # takes the space on Windows; macOS leaves a hole
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def as_stored(values: NDArray[Any], layout: MrcLayout) -> NDArray[Any]:
    """Convert to the data type on disk; floats become integers by rounding, and nothing overflows.

    Raises
    ------
    DataError
        When a value is not finite, or out of the range of the type.
    """
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        raise DataError("the result holds NaN or infinite values; look for them in the input")
    if values.dtype == layout.dtype or layout.dtype.kind == "c":
        return values.astype(layout.dtype, copy=False)
    whole = layout.dtype.kind in "iu"
    bounds = np.iinfo(layout.dtype) if whole else np.finfo(layout.dtype)
    stored = np.rint(values) if whole and values.dtype.kind == "f" else values
    if float(stored.min()) < float(bounds.min) or float(stored.max()) > float(bounds.max):
        raise RangeError(float(values.min()), float(values.max()), layout.mode)
    return stored.astype(layout.dtype)
