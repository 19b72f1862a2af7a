"""Arrays and Fourier transforms for the waves of one tilt at a time."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, pi

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.multislice._waves import focus_factor
from etcli.core.multislice.fftw import (
    BACKWARD,
    FORWARD,
    Plan,
    aligned_zeros,
    fftw_is_there,
    plan_columns,
)
from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid

Complex = NDArray[np.complex64]
Doubles = NDArray[np.float64]

PRIMES = (2, 3, 5)
"""Waves have sizes with these prime factors only, for which the transforms are fastest."""


def fast_size(least: int, *, step: int = 16) -> int:
    """Return the smallest fast size of a wave that is not below ``least``, a multiple of ``step``."""
    size = ceil(least / step) * step
    while not _is_fast(size):
        size += step
    return size


def _is_fast(size: int) -> bool:
    """Check whether a size has no prime factors but `PRIMES`."""
    for prime in PRIMES:
        while size % prime == 0:
            size //= prime
    return size == 1


@dataclass(frozen=True)
class WaveGeometry:
    """Sizes of a multislice model: the wave, the part of it that the volume fills, and the image.

    Parameters
    ----------
    volume : (int, int)
        Voxels of the rotated volume across the beam: across the tilt axis, and along it.
    image : (int, int)
        Pixels of an image, likewise.
    wave : (int, int)
        Pixels of the wave, likewise; at least as many.
    n_slabs, n_binned : int
        Number of slabs, and slices of the volume in each.
    pixel_A : float
        Size of voxels and pixels in Å.
    """

    volume: tuple[int, int]
    image: tuple[int, int]
    wave: tuple[int, int]
    n_slabs: int
    n_binned: int
    pixel_A: float

    @property
    def grid(self) -> WaveGrid:
        """Grid of the wave, [x, y] as the arrays of waves are."""
        return WaveGrid(self.wave, self.pixel_A)

    @property
    def slab_A(self) -> float:
        """Thickness of a slab in Å."""
        return self.n_binned * self.pixel_A

    @property
    def exit_plane_A(self) -> float:
        """Distance of the centre of the last slab from the plane of the tilt axis, along the beam, in Å."""
        return (self.n_slabs - 1) / 2 * self.slab_A

    @cached_property
    def volume_at(self) -> tuple[int, int]:
        """Pixel of the wave at the first voxel of the volume."""
        x, y = ((n - part) // 2 for n, part in zip(self.wave, self.volume, strict=True))
        return x, y

    @cached_property
    def image_at(self) -> tuple[int, int]:
        """Pixel of the wave at the first pixel of the image."""
        x, y = ((n - part) // 2 for n, part in zip(self.wave, self.image, strict=True))
        return x, y

    @property
    def image_offset_px(self) -> tuple[float, float]:
        """Distance from the centre of the volume to that of the image in the wave: 0, or half a pixel."""
        x, y = (
            (at + image / 2) - (first + volume / 2)
            for at, image, first, volume in zip(
                self.image_at, self.image, self.volume_at, self.volume, strict=True
            )
        )
        return x, y


class WaveWorkspace:
    """Arrays of the waves of one tilt and the plans of their Fourier transforms, for one thread.

    Parameters
    ----------
    geometry : WaveGeometry
    keep_waves : bool
        Whether to keep the waves that leave all slabs, and not only the last one; see
        `etcli.core.multislice._waves.back_through_specimen`.

    Raises
    ------
    UsageError
        If the FFTW library is not installed.
    """

    def __init__(self, geometry: WaveGeometry, *, keep_waves: bool = True) -> None:
        if not fftw_is_there():
            raise UsageError("multislice needs the FFTW library, which pip install pyfftw brings")
        self.geometry = geometry
        (nx, ny), (n_across, n_rows) = geometry.wave, geometry.volume
        self.spectrum, self.added, self.leaving, self.back = (aligned_zeros(nx, ny) for _ in range(4))
        self.field, self.image_field = aligned_zeros(nx, ny), aligned_zeros(nx, ny)
        self._half = aligned_zeros(ny, nx)
        self._padded, self._padded_image = aligned_zeros(ny, nx), aligned_zeros(ny, nx)
        n_kept = geometry.n_slabs if keep_waves else 1
        self.kept = np.zeros((n_kept, n_across, n_rows), np.complex64)
        self.change = np.zeros((n_across, n_rows), np.complex64)
        # held here because a plan is freed with its object
        self._plans = [
            *self._round_trip(self.field, self._padded, geometry.volume_at, geometry.volume),
            *self._round_trip(self.image_field, self._padded_image, geometry.image_at, geometry.image),
        ]

    def _round_trip(
        self, field: Complex, padded: Complex, at: tuple[int, int], size: tuple[int, int]
    ) -> list[Plan]:
        """Plan the transforms from the spectrum to a part of the wave, and from there to ``added``."""
        (nx, ny), (x0, y0), (n_across, n_rows) = self.geometry.wave, at, size
        every, across, along = slice(0, ny), slice(x0, x0 + n_across), slice(y0, y0 + n_rows)
        to_half = plan_columns(
            self.spectrum, self._half, length=nx, columns=every, first_row=0, sign=BACKWARD
        )
        to_field = plan_columns(self._half, field, length=ny, columns=across, first_row=x0, sign=BACKWARD)
        to_padded = plan_columns(field, padded, length=nx, columns=along, first_row=y0, sign=FORWARD)
        to_added = plan_columns(
            padded, self.added, length=ny, columns=slice(0, nx), first_row=0, sign=FORWARD
        )
        return [to_half, to_field, to_padded, to_added]

    @cached_property
    def plans(self) -> NDArray[np.int64]:
        """Addresses of the plans, for the kernels."""
        return np.array([(p.plan, p.source, p.target) for p in self._plans], np.int64)

    @property
    def execute(self) -> int:
        """Address of the function that runs a plan."""
        return self._plans[0].execute

    @staticmethod
    def bytes_of(geometry: WaveGeometry) -> int:
        """Return the size of the arrays in bytes, without the waves of all slabs but one."""
        nx, ny = geometry.wave
        return 8 * 9 * (nx + 8) * (ny + 8) + 2 * 8 * geometry.volume[0] * geometry.volume[1]

    @staticmethod
    def bytes_of_waves(geometry: WaveGeometry) -> int:
        """Return the size in bytes of the waves of the other slabs."""
        return 8 * (geometry.n_slabs - 1) * geometry.volume[0] * geometry.volume[1]


def padded(spectrum: NDArray[np.complex128]) -> Complex:
    """Copy a spectrum into an array of `aligned_zeros`."""
    out = aligned_zeros(*spectrum.shape)
    out[:, : spectrum.shape[1]] = spectrum
    return out


def lens_key(optics: PhaseContrastOptics, defocus_A: float) -> float:
    """Return the defocus whose `lens_function` is the same: for parallel illumination that of any defocus."""
    return defocus_A if optics.convergence_mrad else 0.0


def lens_function(geometry: WaveGeometry, optics: PhaseContrastOptics, defocus_A: float) -> Complex:
    """Compute the transfer function from the last slab to the image, but for the phase of the defocus.

    Parameters
    ----------
    geometry : WaveGeometry
    optics : PhaseContrastOptics
    defocus_A : float
        Defocus in Å, which the envelope of partial coherence depends on.

    Returns
    -------
    ndarray of `aligned_zeros`, complex64
        [kx, ky]; it takes the wave back to the plane of the tilt axis, and the centre of the volume to that
        of the image.
    """
    grid = geometry.grid
    transposed = WaveGrid(grid.shape[::-1], grid.pixel_A)
    lens = (optics.pupil(transposed) * optics.envelope(transposed, defocus_A)).T
    back = optics.propagator(grid, -geometry.exit_plane_A)
    qx, qy = grid.frequencies_per_A  # the grid of a wave is [x, y]
    x, y = (offset * grid.pixel_A for offset in geometry.image_offset_px)
    return padded(lens * back * np.exp(-2j * np.pi * (qx * x + qy * y)))


def focus_rad_per_A(geometry: WaveGeometry, optics: PhaseContrastOptics) -> float:
    """Return the phase per Å of defocus at a frequency of one cycle per pixel, πλ over the pixel squared."""
    return pi * optics.wavelength_A / geometry.pixel_A**2


def focus_factors(
    geometry: WaveGeometry, optics: PhaseContrastOptics, defocus_A: Doubles, shift_px: Doubles
) -> tuple[Complex, Complex]:
    """Compute the factors that defocus and displacement of images add to the transfer function.

    Parameters
    ----------
    geometry : WaveGeometry
    optics : PhaseContrastOptics
    defocus_A : ndarray of shape (n_images,), float64
        Defocus in Å from the plane of the tilt axis, positive for overfocus.
    shift_px : ndarray of shape (n_images, 2), float64
        Displacement (x, y) of the content, in pixels.

    Returns
    -------
    factors_x, factors_y : ndarray of shape (n_images, nx) and (n_images, ny), complex64
        exp(-iπλ d qx² - 2πi qx x), and the same for y; a spectrum is multiplied by both.
    """
    focus = focus_rad_per_A(geometry, optics)
    factors = []
    for n, shifts in zip(geometry.wave, shift_px.T, strict=True):
        factor = np.empty((len(defocus_A), n), np.complex64)
        for row, defocus, shift in zip(factor, defocus_A, shifts, strict=True):
            focus_factor(focus, defocus, shift, row)
        factors.append(factor)
    return factors[0], factors[1]
