"""Misfit to phase-contrast images in plain array operations: on a GPU, and on the CPU without FFTW."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from math import inf, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.multislice.device_model import DeviceModel, HostWave
from etcli.core.multislice.optics import PhaseContrastOptics
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.multislice.wave_workspace import WaveGeometry
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST

Array = Any
"""An array of NumPy or CuPy."""
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
        self.device = device
        self.threads = self.threads if device is HOST else 1
        self._there = device.put(self.images)
        n_images = [len(images) for images in self.tilts]
        tilt = bytes_of_tilt(self.geometry, max(n_images))
        spare = inf if memory is None else max(memory - least_bytes(self.geometry, optics, n_images), 0)
        # one tilt after the other is best for the caches of a CPU
        self._at_once = 1 if device is HOST else int(min(AT_ONCE, 1 + spare / 2 // tilt))
        self._model = DeviceModel(
            self.geometry,
            self.shape,
            optics,
            interpolation=self.interpolation,
            room=spare - (self._at_once - 1) * tilt,
            device=device,
        )

    def set_image(self, k: int, image: NDArray[np.float32]) -> None:
        """Replace image k, counted from 0, by another one [x, y]."""
        super().set_image(k, image)
        self._there[k] = self.device.put(image)

    def leaving_wave(self, volume: Array, tilt_deg: float) -> AbstractContextManager[HostWave]:
        """Compute the wave that leaves a volume at a tilt angle in degrees."""
        return self._model.tilt_waves(volume, tilt_deg)

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
        found = self._model.waves.intensities(self._phases(volume, tilts), transfers)
        return float(((np.sqrt(found) - np.sqrt(np.maximum(seen, 0))) ** 2).sum(dtype=np.float64))

    def _add_gradient(self, volume: Array, tilts: Tilts, target: Array, scale: float) -> float:
        """Add ``scale`` times the gradient of a few tilts to an array; return their squared residual."""
        derivatives, costs = self._model.waves.gradient(
            self._phases(volume, tilts), *self._transfers_and_images(tilts), self._likelihood
        )
        for images, part in zip(tilts, derivatives, strict=True):
            transpose = self._model.matrices(self._angle(images))[1]
            self._model.rotation.add_adjoint(part, transpose, target, scale=scale * self.radians_per_V)
        return float(costs.sum())

    def _phases(self, volume: Array, tilts: Tilts) -> Array:
        """Compute the phases of the slabs of a few tilts."""
        return self._model.phases(volume, [self._angle(images) for images in tilts])

    def _transfers_and_images(self, tilts: Tilts) -> tuple[Array, Array]:
        """Return transfer functions and images of a few tilts, (n_tilts, n_images, nx, ny)."""
        chosen = np.stack(tilts)
        there = self.device.put(chosen)
        return self._model.lenses.transfers(chosen, there, self.defocus_A, self.shift_px), self._there[there]


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
