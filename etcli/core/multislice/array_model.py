"""Multislice model of the images of several tilts in plain array operations, for NumPy and CuPy alike.

It computes the same as the kernels of `etcli.core.multislice._waves`, in single or in double precision. It is
what they are tested against, and what runs on a GPU and where FFTW is not installed. A GPU takes longer to
start an operation on a small wave than to run it, so there are few of them, and all tilts share them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from etcli.core.multislice._waves import FEWEST, POISSON
from etcli.core.multislice.wave_workspace import WaveGeometry
from etcli.core.projectors import Device
from etcli.core.projectors.slab import HOST

Array = Any
"""An array of NumPy or CuPy."""


class ArrayModel:
    """Images of tilts from the phases of their slabs, and the gradient of a misfit.

    Parameters
    ----------
    geometry : WaveGeometry
    propagator : ndarray of shape ``geometry.wave``, complex
        Propagator from the centre of a slab to the next; its precision is that of the model.
    device : Device
        Where all other arrays are.
    """

    def __init__(
        self,
        geometry: WaveGeometry,
        propagator: NDArray[np.complexfloating[Any]],
        *,
        device: Device = HOST,
    ) -> None:
        self.geometry, self._device = geometry, device
        # neither transform divides by the number of pixels
        self._scale = propagator.real.dtype.type(1 / propagator.size)
        self._propagator = device.put(propagator * self._scale)
        self._back_propagator = device.put(propagator.conj() * self._scale)
        self._volume: Any = _part(geometry.volume_at, geometry.volume)
        self._image: Any = _part(geometry.image_at, geometry.image)

    def exit_waves(self, phases: Array) -> Array:
        """Compute the spectra of the waves in the centre plane of the last slab.

        Parameters
        ----------
        phases : array of shape (n_tilts, n_slabs, *geometry.volume), float
            Phase shifts in rad.

        Returns
        -------
        array of shape (n_tilts, *geometry.wave), complex
        """
        return self._leave(self._transmission(phases), None)

    def intensities(self, phases: Array, transfers: Array) -> Array:
        """Compute images.

        Parameters
        ----------
        phases : array of shape (n_tilts, n_slabs, *geometry.volume), float
        transfers : array of shape (n_tilts, n_images, *geometry.wave), complex
            Transfer function from the last slab to each image of a tilt.

        Returns
        -------
        array of shape (n_tilts, n_images, *geometry.image), float
            1 in vacuum.
        """
        waves = self._waves_in_images(self.exit_waves(phases), transfers)
        return waves.real**2 + waves.imag**2

    def gradient(
        self, phases: Array, transfers: Array, images: Array, likelihood: int
    ) -> tuple[Array, Array]:
        """Compute the derivatives of the misfit with respect to the phases of the slabs.

        Parameters
        ----------
        phases : array of shape (n_tilts, n_slabs, *geometry.volume), float
        transfers : array of shape (n_tilts, n_images, *geometry.wave), complex
            Transfer function from the last slab to each image of a tilt.
        images : array of shape (n_tilts, n_images, *geometry.image), float
            Measured intensities.
        likelihood : int
            ``POISSON`` or ``AMPLITUDE``.

        Returns
        -------
        derivatives : array of the shape and type of phases
        costs : array of shape (n_tilts, n_images), float64
            ``Σ (√Î - √I)²`` of each image.
        """
        change = self._transmission(phases)
        kept = self._device.empty(phases.shape, change.dtype)
        leaving = self._leave(change, kept)
        residual, costs = _compared(self._waves_in_images(leaving, transfers), images, likelihood)
        in_waves = self._device.empty(transfers.shape, change.dtype)
        in_waves[...] = 0
        in_waves[self._image] = residual
        back = (_to_spectrum(in_waves) * transfers.conj()).sum(axis=1) * self._scale
        for array in (kept, change):
            np.conj(array, out=array)
        for m in range(phases.shape[1] - 1, -1, -1):
            wave = _to_wave(back)
            inside = wave[self._volume]
            np.multiply(kept[:, m], inside, out=kept[:, m])
            if m:
                inside *= change[:, m]
                back = _to_spectrum(wave)
                back *= self._back_propagator
        derivatives = self._device.empty(phases.shape, phases.dtype)
        derivatives[...] = kept.imag
        return derivatives, costs

    def _transmission(self, phases: Array) -> Array:
        """Compute exp(i phase)."""
        change = self._device.empty(phases.shape, self._propagator.dtype)
        np.cos(phases, out=change.real)
        np.sin(phases, out=change.imag)
        return change

    def _leave(self, change: Array, kept: Array | None) -> Array:
        """Compute the spectra of the leaving waves; ``kept`` receives the waves behind all slabs."""
        wave = self._device.empty((len(change), *self.geometry.wave), change.dtype)
        wave[...] = 1  # the incident wave
        for m in range(change.shape[1]):
            if m:
                spectrum = _to_spectrum(wave)
                spectrum *= self._propagator
                wave = _to_wave(spectrum)
            inside = wave[self._volume]
            inside *= change[:, m]
            if kept is not None:
                kept[:, m] = inside
        return _to_spectrum(wave)

    def _waves_in_images(self, leaving: Array, transfers: Array) -> Array:
        """Compute the waves in the images."""
        return _to_wave(leaving[:, np.newaxis] * transfers * self._scale)[self._image]


def _part(at: tuple[int, int], size: tuple[int, int]) -> tuple[Any, ...]:
    """Return the index of a part of waves."""
    return ..., *(slice(first, first + n) for first, n in zip(at, size, strict=True))


def _compared(waves: Array, images: Array, likelihood: int) -> tuple[Array, Array]:
    """Return the gradient of the misfit with respect to waves in images, and ``Σ (√Î - √I)²`` of each."""
    expected = waves.real**2 + waves.imag**2
    root, seen = np.sqrt(expected), np.sqrt(np.maximum(images, 0))
    costs = ((root - seen) ** 2).sum(axis=(2, 3), dtype=np.float64)
    if likelihood == POISSON:
        return waves * (1 - images / np.maximum(expected, FEWEST)), costs
    return np.where(root > 0, waves * (1 - seen / np.where(root > 0, root, 1)), -seen), costs


def _to_spectrum(waves: Array) -> Array:
    """Transform waves, which are overwritten."""
    return fft.fft2(waves, overwrite_x=True) if isinstance(waves, np.ndarray) else np.fft.fft2(waves)


def _to_wave(spectra: Array) -> Array:
    """Transform spectra, which are overwritten, without division by the number of pixels."""
    if isinstance(spectra, np.ndarray):
        return fft.ifft2(spectra, norm="forward", overwrite_x=True)
    return np.fft.ifft2(spectra, norm="forward")
