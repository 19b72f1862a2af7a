"""Spectra in NPZ files of NumPy, read block by block whether they are compressed or not."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError

SPECTRA = ("counts", "data", "spectra", "si")
"""Names of the array of spectra, in the order in which they are looked for."""
LARGEST_OTHER = 1 << 20
"""Numbers of the largest array that is read as a whole."""
ENERGIES = {"energy_keV": 1.0, "energy_eV": 1e-3}
PIXELS = {"pixel_A": 1.0, "pixel_nm": 10.0}
TILTS = ("tilt_deg", "tilts_deg", "tilt_angles_deg")


@dataclass(frozen=True, eq=False)
class NpzSpectra:
    """Spectra of an NPZ file.

    Parameters
    ----------
    shape : tuple of int
        Numbers of views (if there are several), rows, columns and channels.
    read : callable
        Function of slices of views and rows that returns an array (views, rows, columns, channels).
    energy_keV, tilt_deg : ndarray or None
    pixel_A, beam_kV : float or None
    """

    shape: tuple[int, ...]
    read: Callable[[slice, slice], NDArray[Any]]
    energy_keV: NDArray[np.float64] | None
    tilt_deg: NDArray[np.float64] | None
    pixel_A: float | None
    beam_kV: float | None


def open_npz(path: Path) -> NpzSpectra:
    """Open spectra; raise DataError where there are none, or the file is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = [name for name in archive.namelist() if name.endswith(".npy")]
            headers = {name[:-4]: _header(archive, name) for name in arrays}
            name = _spectra_name(headers)
            small = {
                key: _whole(archive, key)
                for key, (shape, _, dtype, _) in headers.items()
                if key != name and prod(shape) <= LARGEST_OTHER and dtype.kind in "iuf"
            }
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); is the file complete?") from error
    if name is None:
        listed = ", ".join(f"{key} {shape}" for key, (shape, *_) in headers.items()) or "no arrays"
        raise DataError(
            f"{path}: no spectra among {listed}; save counts (tilt, y, x, channel) and energy_keV"
        )
    shape, fortran, _, _ = headers[name]
    if fortran:
        raise DataError(f"{path}: {name} is in Fortran order; save np.ascontiguousarray of it")
    return NpzSpectra(
        shape,
        _Member(path, name, headers[name]).read,
        _scaled(small, ENERGIES),
        next((np.atleast_1d(small[key]).astype(np.float64) for key in TILTS if key in small), None),
        _single(_scaled(small, PIXELS)),
        _single(_scaled(small, {"beam_kV": 1.0})),
    )


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return the shape of an array, whether it is in Fortran order, its type, and where its values begin."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(member)
        return shape, fortran, dtype, member.tell()


def _spectra_name(headers: dict[str, Any]) -> str | None:
    """Return the name of the array of spectra: a usual one, else the only one of three or four dimensions."""
    fitting = [
        key for key, (shape, _, dtype, _) in headers.items() if len(shape) in (3, 4) and dtype.kind in "iuf"
    ]
    usual = [key for key in SPECTRA if key in fitting]
    return usual[0] if usual else fitting[0] if len(fitting) == 1 else None


def _whole(archive: zipfile.ZipFile, key: str) -> NDArray[Any]:
    with archive.open(f"{key}.npy") as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


class _Member:
    """Array in an archive, which is open until nobody reads it any more.

    Parameters
    ----------
    path : Path
    name : str
        The array.
    header : tuple
        As `_header` returns it.
    """

    def __init__(
        self, path: Path, name: str, header: tuple[tuple[int, ...], bool, np.dtype[Any], int]
    ) -> None:
        self.path, self.header = path, header
        self.archive = zipfile.ZipFile(path)
        self.file = self.archive.open(f"{name}.npy")

    def read(self, views: slice, rows: slice) -> NDArray[Any]:
        """Read a block; in a compressed file it goes back only where it must."""
        shape, _, dtype, start = self.header
        _, ny, nx, n_channels = shape if len(shape) == 4 else (1, *shape)
        row_bytes = nx * n_channels * dtype.itemsize
        block = np.empty((views.stop - views.start, rows.stop - rows.start, nx, n_channels), dtype)
        for k in range(views.start, views.stop):
            n_bytes = (rows.stop - rows.start) * row_bytes
            try:
                self.file.seek(start + (k * ny + rows.start) * row_bytes)
                part = self.file.read(n_bytes)
            except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise DataError(f"{self.path}: cannot be read ({error}); copy it again") from error
            if len(part) < n_bytes:
                raise DataError(f"{self.path}: ends within view {k + 1}; copy it again")
            block[k - views.start] = np.frombuffer(part, dtype).reshape(block.shape[1:])
        return block

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()
        if hasattr(self, "archive"):
            self.archive.close()


def _scaled(small: dict[str, NDArray[Any]], units: dict[str, float]) -> NDArray[np.float64] | None:
    """Return the first array of some names, in the unit that the factors lead to."""
    for key, factor in units.items():
        if key in small:
            return np.asarray(small[key], np.float64) * factor
    return None


def _single(value: NDArray[np.float64] | None) -> float | None:
    """Return an array of one number as that, None for others."""
    return float(value.ravel()[0]) if value is not None and value.size == 1 else None
