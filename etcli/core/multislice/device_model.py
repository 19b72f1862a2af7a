"""Multislice model in plain array operations: lens functions, rotation and waves, on a GPU or on the host."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import ifft2

from etcli.core.multislice.array_model import ArrayModel
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.rotation import SlabRotation, SparseMatrix
from etcli.core.multislice.wave_workspace import WaveGeometry, focus_factors, lens_function, lens_key
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST
from etcli.core.solvers.steps import on_host

Array = Any
"""An array of NumPy or CuPy."""
Complex = NDArray[np.complex64]
Doubles = NDArray[np.float64]


class DeviceModel:
    """Waves behind volumes of one size at any tilt and defocus; volumes are on the device.

    Parameters
    ----------
    geometry : WaveGeometry
        Of `wave_geometry`.
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volumes.
    optics : PhaseContrastOptics
    interpolation : {"lanczos", "cubic", "linear"}
        Interpolation of the rotated volume.
    room : float
        Bytes in which matrices of the rotation are kept.
    device : Device

    Raises
    ------
    UsageError
        If there is no such interpolation.
    """

    def __init__(
        self,
        geometry: WaveGeometry,
        shape: tuple[int, int, int],
        optics: PhaseContrastOptics,
        *,
        interpolation: str = "lanczos",
        room: float = inf,
        device: Device = HOST,
    ) -> None:
        self.geometry, self.optics = geometry, optics
        g, self._device = geometry, device
        self.rotation = SlabRotation((shape[0], shape[1]), g.volume[0], g.n_slabs, g.n_binned, interpolation)
        self.waves = ArrayModel(g, optics.propagator(g.grid, g.slab_A).astype(np.complex64), device=device)
        self.lenses = DeviceLenses(g, optics, device)
        self.matrices = DeviceMatrices(self.rotation, device, room)

    @property
    def radians_per_V(self) -> float:
        """Phase shift by a voxel per volt."""
        return self.optics.interaction_rad_per_V_A * self.geometry.pixel_A

    def phases(self, volume: Array, tilt_deg: list[float]) -> Array:
        """Compute the phases of the slabs at some angles, (n_tilts, n_slabs, n_across, ny)."""
        g = self.geometry
        phases = self._device.empty((len(tilt_deg), g.n_slabs, *g.volume))
        for angle, out in zip(tilt_deg, phases, strict=True):
            self.rotation.slabs(volume, self.matrices(angle)[0], out, scale=self.radians_per_V)
        return phases

    @contextmanager
    def tilt_waves(self, volume: Array, tilt_deg: float) -> Iterator["HostWave"]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""
        leaving = self.waves.exit_waves(self.phases(volume, [tilt_deg]))[0]
        yield HostWave(self.geometry, self.lenses, on_host(leaving))


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
        key = lens_key(self._optics, defocus_A)
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
