"""Shift between two volumes, or images, of the same specimen."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError

FINE_STEP_PX = 0.05
WHOLE_PX = 0.025  # a remainder below this is not interpolated, so that whole shifts change no value
TINY = np.finfo(np.float32).tiny


def find_shift(image: NDArray[Any], reference: NDArray[Any], *, threads: int = 1) -> NDArray[np.float64]:
    """Find the shift that brings an image onto a reference, from their correlation.

    Parameters
    ----------
    image, reference : ndarray of the same shape
        Volumes (nz, ny, nx) or images, finite.
    threads : int
        Number of threads.

    Returns
    -------
    ndarray of shape (ndim,), float64
        In pixels along each axis, by which the content of the image has to be moved: at most half the size.

    Raises
    ------
    DataError
        When one of them is constant.

    Notes
    -----
    The highest value of the circular correlation without the mean, found to a pixel and then on a grid of
    0.05 px by a Fourier transform of its neighbourhood, and by a parabola.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156.
    """
    shape = reference.shape
    first, second = (
        scipy.fft.rfftn(
            np.asarray(each, np.float32) - np.float32(each.mean(dtype=np.float64)), workers=threads
        )
        for each in (image, reference)
    )
    cross = second * first.conj()
    if not cross.any():
        raise DataError("a volume that is the same everywhere has no place; leave --align out")
    correlation = scipy.fft.irfftn(cross, s=shape, workers=threads)
    peak = np.unravel_index(int(np.argmax(correlation)), shape)
    shift = np.array([p - n if p > n // 2 else p for p, n in zip(peak, shape, strict=True)], np.float64)
    return shift + _fine_shift(cross, shape, shift)


def _fine_shift(
    cross: NDArray[np.complexfloating], shape: tuple[int, ...], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what is missing to the highest correlation, within a pixel along every axis."""
    n_steps = round(1 / FINE_STEP_PX)
    fine = np.arange(-n_steps, n_steps + 1) * FINE_STEP_PX
    frequencies = [scipy.fft.fftfreq(n) for n in shape[:-1]] + [scipy.fft.rfftfreq(shape[-1])]
    multiplicity = np.full(cross.shape[-1], 2, np.float32)
    multiplicity[0] = 1
    if shape[-1] % 2 == 0:
        multiplicity[-1] = 1
    height = cross * multiplicity
    for frequency, whole in zip(reversed(frequencies), shift[::-1], strict=True):
        # the last axis is replaced by the fine shifts, which go in front, so that the next one is last
        waves = np.exp(2j * np.pi * np.outer(fine + whole, frequency)).astype(np.complex64)
        height = np.moveaxis(height @ waves.T, -1, 0)
    best = np.unravel_index(int(np.argmax(height.real)), height.shape)
    return np.array([_vertex(height.real, best, axis) for axis in range(height.ndim)]) * FINE_STEP_PX - 1


def _vertex(height: NDArray[np.floating[Any]], best: tuple[Any, ...], axis: int) -> float:
    """Return the place of the maximum along an axis, by a parabola through three values."""
    middle = int(best[axis])
    if not 0 < middle < height.shape[axis] - 1:
        return float(middle)
    low, high, top = (float(height[(*best[:axis], middle + step, *best[axis + 1 :])]) for step in (-1, 1, 0))
    bend = low - 2 * top + high
    return middle + (float(low - high) / (2 * bend) if bend < -TINY else 0.0)


def shifted_overlap(
    image: NDArray[np.float32], reference: NDArray[np.float32], shift_px: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shift an image, and return the part that both show.

    Parameters
    ----------
    image, reference : ndarray of the same shape, float32
    shift_px : ndarray of shape (ndim,)
        As from `find_shift`.

    Returns
    -------
    image, reference : ndarray, float32
        Interpolated by cubic splines, but for whole shifts.
    """
    whole = np.rint(shift_px).astype(int)
    rest = shift_px - whole
    part, source = [], []
    for step, n in zip(whole, reference.shape, strict=True):
        part.append(slice(max(step, 0), n + min(step, 0)))
        source.append(slice(max(-step, 0), n - max(step, 0)))
    moved = image[tuple(source)]
    if np.abs(rest).max() > WHOLE_PX:
        moved = ndimage.shift(moved, rest, order=3, mode="nearest")
    return np.ascontiguousarray(moved), np.ascontiguousarray(reference[tuple(part)])
