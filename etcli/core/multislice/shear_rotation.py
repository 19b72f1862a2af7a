"""Rotation of a volume about the tilt axis by three shears, which move its lines by Fourier series."""

from dataclasses import dataclass
from math import ceil, hypot, pi, radians, sin, tan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from etcli.core.geometry import centre

Array = NDArray[np.float32]
Complex = NDArray[np.complex64]

STEEPEST = tan(pi / 8)
"""Slope of the first and the last shear for 45°, the largest angle besides quarter turns."""
AT_ONCE = 16
"""Planes across the tilt axis that are rotated together: few enough for the caches."""


class Shears(NamedTuple):
    """Rotation to a tilt angle: quarter turns, then shears along x, z and x, or none.

    A shear is the array of the factors of the Fourier coefficients, [line, frequency].
    """

    quarter_turns: int
    shears: tuple[Complex, Complex, Complex] | None

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return sum(shear.nbytes for shear in self.shears or ())


@dataclass(frozen=True)
class ShearRotation:
    """Rotation of volumes about the tilt axis by shears, with the sums of slices that make slabs.

    It has the methods of `etcli.core.multislice.rotation.SlabRotation`. Shears move lines by fractions of a
    voxel, which Fourier series do without loss but for the highest frequency of an even number of voxels;
    empty voxels around the plane keep them from wrapping round. Shears back in the reverse order are the
    exact adjoint.

    Parameters
    ----------
    plane : (int, int)
        Voxels (nz, nx) of the volume across the tilt axis.
    n_across : int
        Voxels of a slab across beam and axis.
    n_slabs, n_binned : int
        Number of slabs, and slices added up in each; the middle of all slices is on the tilt axis.

    References
    ----------
    M. Unser, P. Thévenaz, L. Yaroslavsky, IEEE Trans. Image Process. 4, 1371 (1995), doi:10.1109/83.465102.
    """

    plane: tuple[int, int]
    n_across: int
    n_slabs: int
    n_binned: int

    @property
    def _slices(self) -> int:
        """Number of slices of all slabs."""
        return self.n_slabs * self.n_binned

    def matrix(self, tilt_deg: float) -> Shears:
        """Compute the shears of a tilt angle in degrees."""
        turns = round(tilt_deg / 90)
        angle = radians(tilt_deg - 90 * turns)
        (nz, nx), (n_z, n_x) = self._turned(turns), self._padded(turns)
        # what is in the middle before must be in the middle afterwards
        across = (n_x - self.n_across) // 2 + self.n_across / 2 - (n_x - nx) // 2 - nx / 2
        along = (n_z - self._slices) // 2 + self._slices / 2 - (n_z - nz) // 2 - nz / 2
        if angle == across == along == 0:
            return Shears(turns % 4, None)
        x = np.arange(n_x) - ((n_x - nx) // 2 + centre(nx))
        z, z_turned = (np.arange(n) - centre(n) for n in (nz, self._slices))
        slope = tan(angle / 2)
        return Shears(
            turns % 4,
            (
                _factors(slope * z, n_x),
                _factors(along - sin(angle) * x, n_z),
                _factors(across + slope * z_turned, n_x),
            ),
        )

    def transpose(self, matrix: Shears) -> Shears:
        """Compute the shears of the adjoint, which are applied in the reverse order."""
        turns, shears = matrix
        if shears is None:
            return matrix
        first, second, third = (shear.conj() for shear in shears)
        return Shears(turns, (first, second, third))

    def slabs(
        self, volume: Array, matrix: Shears, out: Array, *, scale: float = 1.0, columns: slice | None = None
    ) -> None:
        """Rotate a volume and add up its slices; the arguments are those of `SlabRotation.slabs`."""
        turns, shears = matrix
        n_z, n_x = self._padded(turns)
        for part in _parts(columns, volume.shape[2]):
            planes = _resized(np.rot90(volume[..., part], turns), n_x, 1)
            if shears:
                planes = _resized(_sheared(planes, shears[0][..., np.newaxis], 1), n_z, 0)
                planes = _resized(_sheared(planes, shears[1].T[..., np.newaxis], 0), self._slices, 0)
                planes = _sheared(planes, shears[2][..., np.newaxis], 1)
            planes = _resized(_resized(planes, self._slices, 0), self.n_across, 1)
            sums = planes.reshape(self.n_slabs, self.n_binned, *planes.shape[1:]).sum(axis=1)
            np.multiply(sums, np.float32(scale), out=out[..., part])

    def add_adjoint(
        self,
        slabs: Array,
        transpose: Shears,
        volume: Array,
        *,
        scale: float = 1.0,
        columns: slice | None = None,
    ) -> None:
        """Add ``scale`` times the adjoint of the rotation; see `SlabRotation.add_adjoint`."""
        turns, shears = transpose
        (nz, nx), (n_z, n_x) = self._turned(turns), self._padded(turns)
        for part in _parts(columns, volume.shape[2]):
            planes = _resized(np.repeat(slabs[..., part], self.n_binned, axis=0), n_x, 1)
            if shears:
                planes = _resized(_sheared(planes, shears[2][..., np.newaxis], 1), n_z, 0)
                planes = _resized(_sheared(planes, shears[1].T[..., np.newaxis], 0), nz, 0)
                planes = _sheared(planes, shears[0][..., np.newaxis], 1)
            planes = _resized(_resized(planes, nz, 0), nx, 1)
            volume[..., part] += np.float32(scale) * np.rot90(planes, -turns)

    def _turned(self, turns: int) -> tuple[int, int]:
        """Return the size (nz, nx) of the plane after quarter turns."""
        nz, nx = self.plane
        return (nx, nz) if turns % 2 else (nz, nx)

    def _padded(self, turns: int) -> tuple[int, int]:
        """Return the size (z, x) in which nothing wraps round into what is kept."""
        nz, nx = self._turned(turns)
        drift = STEEPEST * (nz + self._slices)
        x = max(nx + STEEPEST * nz, (nx + self.n_across + drift) / 2)
        z = (hypot(nz, nx) + self._slices) / 2
        return next_fast_len(ceil(max(z, nz)) + 2, True), next_fast_len(ceil(x) + 2, True)


def _factors(shifts: NDArray[np.floating[Any]], n: int) -> Complex:
    """Compute the factors that shift each line of n voxels, [line, frequency]."""
    return np.exp(-2j * pi * np.outer(shifts, rfftfreq(n))).astype(np.complex64)


def _sheared(planes: Array, factors: Complex, axis: int) -> Array:
    """Shift the lines along an axis."""
    spectrum = rfft(planes, axis=axis)
    spectrum *= factors
    return np.asarray(irfft(spectrum, planes.shape[axis], axis=axis, overwrite_x=True))


def _resized(planes: Array, n: int, axis: int) -> Array:
    """Cut off both ends of an axis, or add zeros, to make its length n.

    The first of n in the longer array is the same for both ways, so that they are adjoint to each other.
    """
    length = planes.shape[axis]
    if n <= length:
        first = (length - n) // 2
        return planes[first : first + n] if axis == 0 else planes[:, first : first + n]
    first = (n - length) // 2
    shape = [n if k == axis else m for k, m in enumerate(planes.shape)]
    out = np.zeros(shape, np.float32)
    _resized(out, length, axis)[...] = planes
    return out


def _parts(columns: slice | None, ny: int) -> list[slice]:
    """Divide positions along y."""
    low, high, _ = (columns or slice(None)).indices(ny)
    return [slice(first, min(first + AT_ONCE, high)) for first in range(low, high, AT_ONCE)]
