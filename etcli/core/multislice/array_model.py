"""Multislice model of the images of a tilt in plain array operations, for NumPy and CuPy alike.

It computes the same as the kernels of `etcli.core.multislice._waves`, in single or in double precision. It is
what they are tested against, and what runs on a GPU and where FFTW is not installed.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from etcli.core.multislice._waves import FEWEST, POISSON
from etcli.core.multislice.wave_workspace import WaveGeometry

Array = Any
"""An array of NumPy or CuPy."""


class ArrayModel:
    """Images of a tilt from the phases of its slabs, and the gradient of a misfit.

    Parameters
    ----------
    geometry : WaveGeometry
    propagator : array of shape ``geometry.wave``, complex
        Propagator from the centre of a slab to the next; its precision is that of the model.
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, geometry: WaveGeometry, propagator: Array, *, xp: Any = np) -> None:
        self.geometry, self._xp = geometry, xp
        self._propagator = xp.asarray(propagator)
        self._volume, self._image = (
            tuple(slice(first, first + n) for first, n in zip(at, size, strict=True))
            for at, size in (
                (geometry.volume_at, geometry.volume),
                (geometry.image_at, geometry.image),
            )
        )

    def exit_wave(self, phases: Array, kept: list[Array] | None = None) -> Array:
        """Compute the spectrum of the wave in the centre plane of the last slab.

        Parameters
        ----------
        phases : array of shape (n_slabs, *geometry.volume), float
            Phase shifts in rad.
        kept : list, optional
            Receives the waves that leave the slabs, within the volume.

        Returns
        -------
        array of shape ``geometry.wave``, complex
        """
        xp = self._xp
        spectrum = xp.zeros(self.geometry.wave, self._propagator.dtype)
        spectrum[0, 0] = spectrum.size  # the wave 1; propagation does not change it
        for phase in phases:
            wave = xp.fft.ifft2(spectrum * self._propagator)
            wave[self._volume] *= xp.exp(1j * phase)
            if kept is not None:
                kept.append(wave[self._volume].copy())
            spectrum = xp.fft.fft2(wave)
        return spectrum

    def image(self, leaving: Array, transfer: Array) -> Array:
        """Compute the wave in an image, of shape ``geometry.image``, from that of the leaving wave."""
        return self._xp.fft.ifft2(leaving * transfer)[self._image]

    def gradient(
        self, phases: Array, transfers: Sequence[Array], images: Sequence[Array], likelihood: int
    ) -> tuple[Array, list[float], float]:
        """Compute the derivatives of the misfit with respect to the phases of the slabs.

        Parameters
        ----------
        phases : array of shape (n_slabs, *geometry.volume), float
        transfers, images : sequence of array
            Transfer function from the last slab, and intensities, of each image.
        likelihood : int
            ``POISSON`` or ``AMPLITUDE``.

        Returns
        -------
        derivatives : array of the shape of phases
        costs : list of float
            ``Σ (√Î - √I)²`` of each image.
        misfit : float
            What the derivatives belong to.
        """
        xp = self._xp
        kept: list[Array] = []
        leaving = self.exit_wave(phases, kept)
        back, costs, misfit = xp.zeros_like(leaving), [], 0.0
        for transfer, image in zip(transfers, images, strict=True):
            wave = self.image(leaving, transfer)
            expected = wave.real**2 + wave.imag**2
            amplitude = xp.sqrt(expected)
            difference = amplitude - xp.sqrt(image)
            costs.append(float((difference**2).sum(dtype=np.float64)))
            residual = xp.zeros_like(leaving)
            if likelihood == POISSON:
                known = xp.maximum(expected, FEWEST)
                residual[self._image] = wave * (1 - image / known)
                log = xp.log(xp.where(image > 0, image, 1) / known)
                misfit += float((expected - image + image * log).sum(dtype=np.float64)) / 2
            else:
                phase = xp.where(amplitude > 0, wave / xp.where(amplitude > 0, amplitude, 1), 1)
                residual[self._image] = difference * phase
                misfit += costs[-1] / 2
            back += xp.fft.fft2(residual) * transfer.conj()
        derivatives = xp.empty_like(phases)
        for m in range(len(phases) - 1, -1, -1):
            wave = xp.fft.ifft2(back)
            derivatives[m] = (kept[m].conj() * wave[self._volume]).imag
            if m:
                wave[self._volume] *= xp.exp(-1j * phases[m])
                back = xp.fft.fft2(wave) * self._propagator.conj()
        return derivatives, costs, misfit
