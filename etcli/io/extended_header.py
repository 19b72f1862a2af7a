"""Tilt angles, axis and pixel size in the extended headers of MRC files."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import wrapped_deg

# Bytes of the items that are present if their flag in `nreal` is set, from the lowest bit: tilt, piece,
# stage, magnification, intensity, dose, and five that came later (IMOD, libcfshr/b3dutil.c).
_FLAG_BYTES = (2, 6, 4, 2, 2, 4, 2, 4, 2, 4, 2)
_TILT_FLAG, _PIECE_FLAG = 1, 2
_AXIS_WORD, _PIXEL_WORD = 10, 11
# Bits of FEI's first bit mask, which are set for the values that are present.
_FEI_TILT_BIT, _FEI_AXIS_BIT, _FEI_PIXEL_BIT = 7, 12, 14
# This version wrote angles multiplied by 180/π (IMOD, libcfshr/extraheader.c).
_FEI_VERSION_WITH_WRONG_ANGLES = b"4.4.0.4981"
# FEI's programs gave the bytes of the floats of a section where their number of integers, none, belongs
# (IMOD, libiimod/mrcfiles.c).
_FEI_WRONG_COUNTS, _FEI_EXTENDED_BYTES = (128, 32), 131072
_BLOCK = 1024


@dataclass(frozen=True)
class ExtendedMetadata:
    """Values read from an extended header; None for those that it does not hold.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_sections,), float64, or None
        Tilt angles in degrees.
    axis_deg : float or None
        Angle from +y to the tilt axis, counter-clockwise, in degrees.
    pixel_A : float or None
        Pixel size in Å.
    piece_px : ndarray of shape (n_sections, 3), int64, or None
        Piece coordinates: column, row, and number of the image.
    """

    tilt_deg: NDArray[np.float64] | None = None
    axis_deg: float | None = None
    pixel_A: float | None = None
    piece_px: NDArray[np.int64] | None = None

    @property
    def is_montage(self) -> bool:
        """Whether several sections are pieces of one image."""
        return self.piece_px is not None and are_pieces(self.piece_px)


def are_pieces(piece_px: ArrayLike) -> bool:
    """Check whether piece coordinates are those of a montage: several places in one image.

    Parameters
    ----------
    piece_px : array_like of shape (n_sections, 3)
        Column and row of the corner of each section, and the number of the image that it belongs to.

    Returns
    -------
    bool
    """
    places = np.unique(np.asarray(piece_px), axis=0)
    return len(np.unique(places[:, 2])) < len(places)


def tilts_from_extended_header(
    exttyp: bytes,
    extended: bytes,
    n_sections: int,
    nint: int,
    nreal: int,
    *,
    byte_order: str = "<",
    first_label: bytes = b"",
) -> ExtendedMetadata:
    """Read an extended header of SerialEM, Agard or FEI, with or without the type of the header.

    Parameters
    ----------
    exttyp : bytes
        Bytes 104 to 107 of the header: ``SERI``, ``AGAR``, ``FEI1``, ``FEI2``, or empty in old files.
    extended : bytes
        The extended header.
    n_sections : int
        Sections of the file.
    nint, nreal : int
        The int16 at bytes 128 and 130 of the header.
    byte_order : {"<", ">"}
        Byte order of the file.
    first_label : bytes
        First label of the file: FEI's programs count the axis angle the other way round.

    Returns
    -------
    ExtendedMetadata
        Empty when the header is of another type, too short, or zero throughout.

    Notes
    -----
    SerialEM: `nint` bytes a section, `nreal` flags; tilt × 100 as int16. Agard and old FEI: `nint` int32 and
    `nreal` float32 a section; float 0 tilt in degrees, 10 axis in degrees, 11 pixel in m (in Å from UCSF).
    An axis of exactly 0 counts as not set. Bytes and signs are interpreted as by IMOD's ``header`` and
    ``extracttilts``.
    """
    kind = exttyp.strip(b"\0 ")
    if kind in (b"FEI1", b"FEI2"):
        return _read_fei(kind, extended, n_sections, byte_order)
    if kind not in (b"", b"SERI", b"AGAR") or nint < 0 or nreal < 0:
        return ExtendedMetadata()
    if kind != b"AGAR" and _are_flags(nint, nreal):
        return _read_shorts(extended, n_sections, nint, nreal, byte_order)
    if kind != b"SERI":
        from_fei = first_label.startswith(b"Fei ")
        if (nint, nreal) == _FEI_WRONG_COUNTS and (from_fei or len(extended) == _FEI_EXTENDED_BYTES):
            nint = 0
        return _read_words(extended, n_sections, nint, nreal, byte_order, from_fei)
    return ExtendedMetadata()


def serialem_extended_header(tilt_deg: ArrayLike) -> tuple[bytes, int, int]:
    """Create an extended header of type ``SERI`` that holds tilt angles.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_sections,)
        Degrees, kept to 0.01°.

    Returns
    -------
    extended : bytes
        Little-endian, filled up with zeros to whole blocks of 1024 bytes so that the images stay aligned.
    nint, nreal : int
        For the int16 at bytes 128 and 130 of the header.

    Raises
    ------
    DataError
        If an angle does not fit.
    """
    hundredths = np.round(np.asarray(tilt_deg, np.float64) * 100)
    if not (abs(hundredths) <= np.iinfo(np.int16).max).all():
        raise DataError("tilt angles beyond ±327° do not fit into a SerialEM header")
    extended = hundredths.astype("<i2").tobytes()
    return extended.ljust(math.ceil(len(extended) / _BLOCK) * _BLOCK, b"\0"), 2, _TILT_FLAG


def _are_flags(nint: int, nreal: int) -> bool:
    """Check whether ``nint`` is the number of bytes of the items that the flags ``nreal`` stand for."""
    n_bytes = sum(size for bit, size in enumerate(_FLAG_BYTES) if nreal >> bit & 1)
    return 0 < nreal < 1 << len(_FLAG_BYTES) and n_bytes == nint


def _read_shorts(
    extended: bytes, n_sections: int, nint: int, nreal: int, byte_order: str
) -> ExtendedMetadata:
    """Read SerialEM's form; the tilt comes first in each section, the piece after it."""
    if not nreal & (_TILT_FLAG | _PIECE_FLAG) or len(extended) < n_sections * nint:
        return ExtendedMetadata()
    values = np.frombuffer(extended, f"{byte_order}i2", n_sections * nint // 2).reshape(n_sections, -1)
    has_tilts = nreal & _TILT_FLAG
    found = _metadata(values[:, 0] / 100) if has_tilts else ExtendedMetadata()
    if not nreal & _PIECE_FLAG:
        return found
    first = 1 if has_tilts else 0
    return replace(found, piece_px=values[:, first : first + 3].astype(np.int64))


def _read_words(
    extended: bytes, n_sections: int, nint: int, nreal: int, byte_order: str, from_fei: bool
) -> ExtendedMetadata:
    """Read Agard's form, integers before floats in each section."""
    n_words = nint + nreal
    if nreal == 0 or len(extended) < 4 * n_sections * n_words:
        return ExtendedMetadata()
    words = np.frombuffer(extended, f"{byte_order}f4", n_sections * n_words)
    floats = words.reshape(n_sections, n_words)[:, nint:]
    if not floats.any():
        return ExtendedMetadata()
    axis_deg = float(floats[0, _AXIS_WORD]) if nreal > _AXIS_WORD else 0.0
    pixel = float(floats[0, _PIXEL_WORD]) if nreal > _PIXEL_WORD else 0.0
    # No pixel is 5 cm wide: such a number is in Å.
    return _metadata(
        floats[:, 0], -axis_deg if from_fei else axis_deg, pixel if pixel > 0.05 else 1e10 * pixel
    )


def _read_fei(kind: bytes, extended: bytes, n_sections: int, byte_order: str) -> ExtendedMetadata:
    """Read the form of Thermo Fisher's programs: one record per section, as long as the first one says."""
    dtype = get_ext_header_dtype(kind, byte_order)
    if len(extended) < dtype.itemsize:
        return ExtendedMetadata()
    first = np.frombuffer(extended, dtype, 1)
    size = int(first["Metadata size"][0])
    if size < dtype.itemsize or len(extended) < (n_sections - 1) * size + dtype.itemsize:
        return ExtendedMetadata()
    records = np.ndarray(n_sections, dtype, buffer=extended, strides=(size,))
    present = int(records["Bitmask 1"][0])
    scale = math.pi / 180 if records["Application version"][0] == _FEI_VERSION_WITH_WRONG_ANGLES else 1.0

    def value(field: str, bit: int) -> Any:
        return records[field] if present >> bit & 1 else np.full(n_sections, np.nan)

    return _metadata(
        scale * value("Alpha tilt", _FEI_TILT_BIT),
        -scale * float(value("Tilt axis angle", _FEI_AXIS_BIT)[0]),
        1e10 * float(value("Pixel size X", _FEI_PIXEL_BIT)[0]),
    )


def _metadata(
    tilt_deg: NDArray[np.floating[Any]], axis_deg: float = 0.0, pixel_A: float = 0.0
) -> ExtendedMetadata:
    """Discard impossible values, and wrap the axis angle to ±180°."""
    tilts_are_valid = bool((abs(tilt_deg) <= 360).all())
    axis_is_valid = axis_deg != 0 and abs(axis_deg) <= 360
    return ExtendedMetadata(
        tilt_deg.astype(np.float64) if tilts_are_valid else None,
        wrapped_deg(axis_deg) if axis_is_valid else None,
        pixel_A if 0 < pixel_A < math.inf else None,
    )
