"""Shift between two volumes, or images, of the same specimen."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.registration.spectra import fade

TAPER = 0.1
"""Fraction of a side over which an image fades out."""
MOST_PASSES = 4
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
    The highest value of the circular correlation, found to a pixel and then on a grid of 0.05 px by a Fourier
    transform of its neighbourhood, and by a parabola. Both fade out at their sides to the mean value there,
    because sides that cut through a specimen correlate best unshifted. What then overlaps is correlated
    again.

    References
    ----------
    M. Guizar-Sicairos, S. T. Thurman, J. R. Fienup, Opt. Lett. 33, 156 (2008), doi:10.1364/OL.33.000156.
    """
    for each in (image, reference):
        if each.min() == each.max():
            raise DataError("a volume that is the same everywhere has no place; leave --align out")
    whole = np.zeros(reference.ndim, int)
    for _ in range(MOST_PASSES):
        shift = whole + _correlate(*_overlap(image, reference, whole), threads=threads)
        before, whole = whole, np.rint(shift).astype(int)
        if (whole == before).all() or (2 * np.abs(whole) > reference.shape).any():
            break
    return shift


def _correlate(image: NDArray[Any], reference: NDArray[Any], *, threads: int) -> NDArray[np.float64]:
    """Return the shift with the highest correlation."""
    shape = reference.shape
    cross, second = (scipy.fft.rfftn(_faded(each), workers=threads) for each in (image, reference))
    np.conj(cross, out=cross)
    cross *= second
    del second  # now two volumes, their product, and what its transform takes are in memory
    correlation = scipy.fft.irfftn(cross, s=shape, workers=threads)
    peak = np.unravel_index(int(np.argmax(correlation)), shape)
    del correlation
    shift = np.array([p - n if p > n // 2 else p for p, n in zip(peak, shape, strict=True)], np.float64)
    has_extent = np.array(shape) > 1  # along the others the correlation is flat
    return np.asarray(np.where(has_extent, shift + _fine_shift(cross, shape, shift), 0.0))


def _faded(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return an image relative to the mean of its sides, faded out there."""
    faded = np.array(image, np.float32)
    sides = [faded.take(end, axis).mean(dtype=np.float64) for axis in range(faded.ndim) for end in (0, -1)]
    faded -= np.float32(np.mean(sides))
    for axis, n in enumerate(faded.shape):
        others = [other for other in range(faded.ndim) if other != axis]
        faded *= np.expand_dims(fade(n, TAPER).astype(np.float32), others)
    return faded


def _fine_shift(
    cross: NDArray[np.complexfloating], shape: tuple[int, ...], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what is missing to the highest correlation, within a pixel along every axis; change `cross`."""
    n_steps = round(1 / FINE_STEP_PX)
    fine = np.arange(-n_steps, n_steps + 1) * FINE_STEP_PX
    frequencies = [scipy.fft.fftfreq(n) for n in shape[:-1]] + [scipy.fft.rfftfreq(shape[-1])]
    multiplicity = np.full(cross.shape[-1], 2, np.float32)
    multiplicity[0] = 1
    if shape[-1] % 2 == 0:
        multiplicity[-1] = 1
    height = cross
    height *= multiplicity
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
        The image may be overwritten.
    shift_px : ndarray of shape (ndim,)
        As from `find_shift`.

    Returns
    -------
    image, reference : ndarray, float32
        Interpolated by cubic splines, but for whole shifts.
    """
    whole = np.rint(shift_px).astype(int)
    rest = shift_px - whole
    moved, part = _overlap(image, reference, whole)
    if np.abs(rest).max() > WHOLE_PX:
        _interpolate(moved, rest)
    return np.ascontiguousarray(moved), np.ascontiguousarray(part)


def _overlap(
    image: NDArray[Any], reference: NDArray[Any], whole_px: NDArray[np.int_]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the parts of two images that overlap after the first has been moved by whole pixels."""
    steps = list(zip(whole_px.tolist(), reference.shape, strict=True))
    source = tuple(slice(max(-step, 0), n - max(step, 0)) for step, n in steps)
    part = tuple(slice(max(step, 0), n + min(step, 0)) for step, n in steps)
    return image[source], reference[part]


def _interpolate(image: NDArray[np.float32], shift_px: NDArray[np.float64]) -> None:
    """Shift an image, or a volume plane by plane, in place; cubic splines allow one axis after the other."""
    if image.ndim == 2:
        image[:] = ndimage.shift(image, shift_px, order=3, mode="nearest")
        return
    for section in image:
        section[:] = ndimage.shift(section, shift_px[1:], order=3, mode="nearest")
    for plane in image.swapaxes(0, 1):
        plane[:] = ndimage.shift(plane, (shift_px[0], 0), order=3, mode="nearest")
