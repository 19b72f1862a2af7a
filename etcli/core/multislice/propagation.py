"""Propagation of electron waves through slices of a potential (multislice), and their images."""

from collections.abc import Iterable
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2, irfft2, rfft2, rfftfreq

from etcli.core.multislice.optics import PhaseContrastOptics, WaveGrid

ANTI_ALIASING = 2 / 3
"""Highest frequency of a wave, over the Nyquist frequency, whose product with a slice is not aliased."""


def exit_wave(
    slices: Iterable[NDArray[np.floating[Any]]],
    spacing_A: float,
    optics: PhaseContrastOptics,
    grid: WaveGrid,
    *,
    band_limit: float = inf,
) -> NDArray[np.complexfloating[Any]]:
    """Propagate a plane wave through the slices of a specimen by multislice.

    Each slice is a thin phase object exp(iσv) in its centre plane, and there is free space between.

    Parameters
    ----------
    slices : iterable of ndarray of shape ``grid.shape``, float32 or float64
        Projected potentials v of the slices in V Å, in the order in which the beam passes them.
    spacing_A : float
        Distance of the centre planes of neighbouring slices in Å.
    optics : PhaseContrastOptics
        Its voltage is used.
    grid : WaveGrid
    band_limit : float
        Highest spatial frequency that is propagated, as a fraction of the Nyquist frequency; `ANTI_ALIASING`
        keeps the products of wave and slice free of aliasing if the potential has no higher ones either.

    Returns
    -------
    ndarray of shape ``grid.shape``, complex64 or complex128
        Wave in the centre plane of the last slice; 1 in vacuum. Its precision is that of the slices.

    References
    ----------
    Kirkland, Advanced Computing in Electron Microscopy (2010), section 6.4.
    """
    propagator = optics.propagator(grid, spacing_A, band_limit=band_limit)
    wave: Any = None
    for potential in slices:
        transmission = _transmission(potential, optics.interaction_rad_per_V_A)
        if wave is None:
            wave, propagator = transmission, propagator.astype(transmission.dtype)
        else:
            spectrum = fft2(wave, overwrite_x=True)
            spectrum *= propagator
            wave = ifft2(spectrum, overwrite_x=True)
            wave *= transmission
    return np.asarray(np.ones(grid.shape, np.complex64) if wave is None else wave)


def image(
    spectrum: NDArray[np.complexfloating[Any]], transfer: NDArray[np.complexfloating[Any]]
) -> NDArray[np.floating[Any]]:
    """Compute the intensity of a wave in the image plane.

    Parameters
    ----------
    spectrum : ndarray of shape (ny, nx), complex64 or complex128
        Fourier transform of the wave in the plane that the defocus is measured from.
    transfer : ndarray of shape (ny, nx), complex
        Transfer function; see `PhaseContrastOptics.transfer`.

    Returns
    -------
    ndarray of shape (ny, nx), float32 or float64
        1 in vacuum.
    """
    wave = ifft2(spectrum * transfer.astype(spectrum.dtype, copy=False), overwrite_x=True)
    return np.asarray(wave.real**2 + wave.imag**2)


def integrated(intensity: NDArray[np.floating[Any]], n: int) -> NDArray[np.floating[Any]]:
    """Compute the mean intensity in detector pixels.

    Parameters
    ----------
    intensity : ndarray of shape (n rows, n columns), float32 or float64
        Samples of a periodic intensity that has no frequency above the Nyquist frequency.
    n : int
        Samples along the side of a pixel. The centre of a pixel is that of its samples.

    Returns
    -------
    ndarray of shape (rows, columns), float32 or float64
        Exact means over the pixels, not those of their samples.
    """
    # the centre of an even number of samples is half a sample before sample n / 2
    before = 0.5 if n % 2 == 0 else 0.0
    spectrum = rfft2(intensity)
    qy, qx = np.fft.fftfreq(intensity.shape[0])[:, np.newaxis], rfftfreq(intensity.shape[1])
    for q in (qy, qx):
        spectrum *= (np.sinc(n * q) * np.exp(-2j * np.pi * before * q)).astype(spectrum.dtype)
    return np.asarray(irfft2(spectrum, intensity.shape, overwrite_x=True)[n // 2 :: n, n // 2 :: n])


def _transmission(
    potential: NDArray[np.floating[Any]], interaction_rad_per_V_A: float
) -> NDArray[np.complexfloating[Any]]:
    """Compute exp(iσv) in the precision of v."""
    phase = np.multiply(potential, interaction_rad_per_V_A, dtype=potential.dtype)
    transmission = np.empty(phase.shape, np.result_type(phase.dtype, np.complex64))
    # the cosine and the sine of real numbers take much less time than an exponential of complex ones
    np.cos(phase, out=transmission.real)
    np.sin(phase, out=transmission.imag)
    return transmission
