"""Misfit to phase-contrast images in plain array operations: on a GPU, and on the CPU without FFTW."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import ifft2

from etcli.core.multislice.array_model import ArrayModel
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.multislice.rotation import SlabRotation, SparseMatrix
from etcli.core.multislice.wave_workspace import WaveGeometry, focus_factors, lens_function
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST
from etcli.core.solvers.steps import on_host

Array = Any
"""An array of NumPy or CuPy."""
Complex = NDArray[np.complex64]
Doubles = NDArray[np.float64]
Tilts = list[NDArray[np.intp]]

AT_ONCE = 16
"""Largest number of tilts that are computed at the same time on a GPU."""
ENTRY_BYTES = 8
"""Size of an entry of a sparse matrix."""


class ArrayMisfit(PhaseContrastMisfit):
    """Misfit to phase-contrast images by operations on whole arrays; volumes are on the device.

    Parameters
    ----------
    images, tilt_deg, defocus_A, optics
        As for `PhaseContrastMisfit`.
    memory : int, optional
        Bytes of the device for all but volumes and images. What is more than `least_bytes` is used for more
        tilts at the same time, and to keep the matrices of the rotation. Not limited by default.
    device : Device
        Memory of the volumes, of this machine or of a GPU.
    **how
        As for `PhaseContrastMisfit`.

    Raises
    ------
    DataError
        If images, tilt angles and defoci do not belong together.
    UsageError
        If there is no such likelihood or interpolation.
    """

    def __init__(
        self,
        images: NDArray[np.float32],
        tilt_deg: ArrayLike,
        defocus_A: ArrayLike,
        optics: PhaseContrastOptics,
        *,
        memory: int | None = None,
        device: Device = HOST,
        **how: Any,
    ) -> None:
        super().__init__(images, tilt_deg, defocus_A, optics, **how)
        g = self.geometry
        self.device = device
        self.threads = self.threads if device is HOST else 1
        propagator = optics.propagator(g.grid, g.slab_A).astype(np.complex64)
        self._model = ArrayModel(g, propagator, device=device)
        self._there = device.put(self.images)
        self._lenses = DeviceLenses(g, optics, device)
        n_images = [len(images) for images in self.tilts]
        tilt = bytes_of_tilt(g, max(n_images))
        spare = inf if memory is None else max(memory - least_bytes(g, optics, n_images), 0)
        # one tilt after the other is best for the caches of a CPU
        self._at_once = 1 if device is HOST else int(min(AT_ONCE, 1 + spare / 2 // tilt))
        self._matrices = DeviceMatrices(self.rotation, device, spare - (self._at_once - 1) * tilt)

    def set_image(self, k: int, image: NDArray[np.float32]) -> None:
        """Replace image k, counted from 0, by another one [x, y]."""
        super().set_image(k, image)
        self._there[k] = self.device.put(image)

    @contextmanager
    def leaving_wave(self, volume: Array, tilt_deg: float) -> Iterator["HostWave"]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""
        leaving = self._model.exit_waves(self._phases_at(volume, [tilt_deg]))[0]
        yield HostWave(self.geometry, self._lenses, on_host(leaving))

    def _batches(self) -> list[Tilts]:
        """Divide the tilts into parts with equal numbers of images."""
        alike = defaultdict(list)
        for images in self.tilts:
            alike[len(images)].append(images)
        n = self._at_once
        return [tilts[first : first + n] for tilts in alike.values() for first in range(0, len(tilts), n)]

    def _zeros(self) -> Array:
        """Create an array of zeros for a gradient."""
        return self.device.zeros(self.shape)

    def _square(self, volume: Array, tilts: Tilts) -> float:
        """Return the squared residual of a few tilts."""
        transfers, seen = self._transfers_and_images(tilts)
        found = self._model.intensities(self._phases(volume, tilts), transfers)
        return float(((np.sqrt(found) - np.sqrt(np.maximum(seen, 0))) ** 2).sum(dtype=np.float64))

    def _add_gradient(self, volume: Array, tilts: Tilts, target: Array, scale: float) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual."""
        derivatives, costs = self._model.gradient(
            self._phases(volume, tilts), *self._transfers_and_images(tilts), self._likelihood
        )
        for images, part in zip(tilts, derivatives, strict=True):
            transpose = self._matrices(self._angle(images))[1]
            self.rotation.add_adjoint(part, transpose, target, scale=scale * self.radians_per_V)
        return float(costs.sum())

    def _phases(self, volume: Array, tilts: Tilts) -> Array:
        """Compute the phases of the slabs of a few tilts."""
        return self._phases_at(volume, [self._angle(images) for images in tilts])

    def _phases_at(self, volume: Array, tilt_deg: list[float]) -> Array:
        """Compute the phases of the slabs at some angles, (n_tilts, n_slabs, n_across, ny)."""
        g = self.geometry
        phases = self.device.empty((len(tilt_deg), g.n_slabs, *g.volume))
        for angle, out in zip(tilt_deg, phases, strict=True):
            self.rotation.slabs(volume, self._matrices(angle)[0], out, scale=self.radians_per_V)
        return phases

    def _transfers_and_images(self, tilts: Tilts) -> tuple[Array, Array]:
        """Return transfer functions and images of a few tilts, (n_tilts, n_images, nx, ny)."""
        chosen = np.stack(tilts)
        there = self.device.put(chosen)
        return self._lenses.transfers(chosen, there, self.defocus_A, self.shift_px), self._there[there]


class HostWave:
    """Wave that leaves a tilted volume, copied to the host.

    Parameters
    ----------
    geometry : WaveGeometry
    lenses : DeviceLenses
    leaving : ndarray of shape ``geometry.wave``, complex64
        Spectrum of the wave in the centre plane of the last slab.
    """

    def __init__(self, geometry: WaveGeometry, lenses: "DeviceLenses", leaving: Complex) -> None:
        self._geometry, self._lenses, self._leaving = geometry, lenses, leaving

    def spectrum(self, defocus_A: float, shift_px: tuple[float, float] = (0.0, 0.0)) -> Complex:
        """Return the spectrum [kx, ky] of the wave in an image."""
        (x,), (y,) = self._lenses.factors(np.array([defocus_A]), np.array([shift_px]))
        spectrum: Complex = self._leaving * on_host(self._lenses(defocus_A)) * np.outer(x, y)
        return spectrum

    def in_image(self, spectrum: Complex) -> Complex:
        """Transform a spectrum to the wave (x, y) in the image."""
        (x0, y0), (n_x, n_y) = self._geometry.image_at, self._geometry.image
        wave: Complex = ifft2(spectrum)[x0 : x0 + n_x, y0 : y0 + n_y]
        return wave


class DeviceLenses:
    """Transfer functions from the last slab to the images, on a device.

    Parameters
    ----------
    geometry : WaveGeometry
    optics : PhaseContrastOptics
    device : Device
    """

    def __init__(self, geometry: WaveGeometry, optics: PhaseContrastOptics, device: Device) -> None:
        self._geometry, self._optics, self._device = geometry, optics, device
        self._lenses: dict[float, Array] = {}
        self._parameters: Doubles = np.empty((0, 3))
        self._factors: tuple[Array, Array] = (None, None)

    def __call__(self, defocus_A: float) -> Array:
        """Return the transfer function to an image, but for the phase of its defocus; see `lens_function`."""
        key = defocus_A if self._optics.convergence_mrad else 0.0  # else the same for all defoci
        if key not in self._lenses:
            lens = lens_function(self._geometry, self._optics, key)[:, : self._geometry.wave[1]]
            self._lenses[key] = self._device.put(np.ascontiguousarray(lens))
        return self._lenses[key]

    def factors(self, defocus_A: Doubles, shift_px: Doubles) -> tuple[Complex, Complex]:
        """Return the factors of `focus_factors`, on the host."""
        return focus_factors(self._geometry, self._optics, defocus_A, shift_px)

    def transfers(
        self, images: NDArray[np.intp], there: Array, defocus_A: Doubles, shift_px: Doubles
    ) -> Array:
        """Return the transfer functions to some images.

        Parameters
        ----------
        images : ndarray of shape (n_tilts, n_images), intp
            Images, counted from 0.
        there : array of shape (n_tilts, n_images), intp
            The same on the device.
        defocus_A : ndarray of shape (n,), float64
        shift_px : ndarray of shape (n, 2), float64
            Defocus in Å and displacement in pixels of all images.

        Returns
        -------
        array of shape (n_tilts, n_images, *geometry.wave), complex64
        """
        parameters = np.column_stack([defocus_A, shift_px])
        if not np.array_equal(parameters, self._parameters):  # at first, and when they were refined
            self._lenses.clear()
            self._parameters = parameters
            x, y = self.factors(defocus_A, shift_px)
            self._factors = self._device.put(x), self._device.put(y)
        x, y = (factors[there] for factors in self._factors)
        if self._optics.convergence_mrad:
            lenses = np.stack([self(defocus) for defocus in defocus_A[images.ravel()].tolist()])
            lenses = lenses.reshape(*images.shape, *self._geometry.wave)
        else:
            lenses = self(0.0)
        return lenses * x[..., np.newaxis] * y[..., np.newaxis, :]


class DeviceMatrices:
    """Matrices of the rotation on a device, kept as far as there is room.

    Parameters
    ----------
    rotation : SlabRotation
    device : Device
    room : float
        Bytes.
    """

    def __init__(self, rotation: SlabRotation, device: Device, room: float) -> None:
        self._rotation, self._device, self._room = rotation, device, room
        self._kept: dict[float, tuple[SparseMatrix, SparseMatrix]] = {}

    def __call__(self, tilt_deg: float) -> tuple[SparseMatrix, SparseMatrix]:
        """Return the matrix of a tilt angle in degrees, and its transpose."""
        if tilt_deg in self._kept:
            return self._kept[tilt_deg]
        matrix = self._rotation.matrix(tilt_deg)
        pair = matrix.on(self._device), self._rotation.transpose(matrix).on(self._device)
        size = sum(part.bytes for part in pair)
        if size <= self._room:
            self._room -= size
            self._kept[tilt_deg] = pair
        return pair


def bytes_of_tilt(geometry: WaveGeometry, n_images: int) -> int:
    """Compute the size of the arrays of a tilt with some images, in bytes."""
    wave, image = prod(geometry.wave), prod(geometry.image)
    return 24 * geometry.n_slabs * prod(geometry.volume) + (48 + 72 * n_images) * wave + 32 * n_images * image


def least_bytes(geometry: WaveGeometry, optics: PhaseContrastOptics, n_images: Sequence[int]) -> int:
    """Compute the smallest size of what a misfit holds on its device besides volumes and images, in bytes.

    Parameters
    ----------
    geometry : WaveGeometry
    optics : PhaseContrastOptics
    n_images : sequence of int
        Numbers of images of the tilts.

    Returns
    -------
    int
    """
    wave, total = prod(geometry.wave), sum(n_images)
    lenses = total if optics.convergence_mrad else 1
    slabs = geometry.n_slabs * geometry.volume[0]
    matrices = 2 * ENTRY_BYTES * slabs * (8 * geometry.n_binned + 50)
    factors = 8 * total * sum(geometry.wave)
    return bytes_of_tilt(geometry, max(n_images)) + factors + 8 * (lenses + 2) * wave + matrices
