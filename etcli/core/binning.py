"""Binning: fewer, larger pixels about the same centre.

A pixel of the result is a box of ``factor`` pixels of the input, and the boxes lie edge to edge and
symmetric about the centre: box ``i`` of ``m`` spans, in edge coordinates of the input,
``n/2 + (i - m/2) factor`` to ``n/2 + (i + 1 - m/2) factor``. So the centre ``(n - 1)/2`` becomes the centre
``(m - 1)/2`` for every size and factor, and pixels that a box cuts count by their share of it.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import ceil
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.sparse import csr_array

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map

METHODS = ("mean", "sum", "fourier")
EVEN = 1e-9  # rounding tolerance: factors such as 10 / 3 are not exact in floating point


def binned_size(n: int, factor: float) -> int:
    """Return the number of pixels after binning ``n`` pixels: ``n / factor``, rounded down.

    Parameters
    ----------
    n : int
        Pixels of the input along an axis.
    factor : float
        Pixels of the input in one of the output, at least 1.

    Returns
    -------
    int

    Raises
    ------
    UsageError
        When the factor is below 1 or leaves nothing.
    """
    if not (np.isfinite(factor) and factor >= 1):
        raise UsageError(f"a binning factor of {factor:g} is no reduction; use a number of at least 1")
    m = int(n / factor + EVEN)
    if m < 1:
        raise UsageError(f"binning by {factor:g} leaves nothing of {n} pixels; use at most {n}")
    return m


def bin_weights(n: int, factor: float) -> csr_array:
    """Compute the matrix of weights that averages along one axis.

    Parameters
    ----------
    n : int
        Pixels of the input.
    factor : float
        Pixels of the input in one of the output, at least 1.

    Returns
    -------
    scipy.sparse.csr_array of shape (binned_size(n, factor), n), float64
        Row ``i`` holds the shares of the input pixels in output pixel ``i`` and sums to 1.

    Raises
    ------
    UsageError
        As `binned_size`.

    Notes
    -----
    A pixel is taken as constant over its area. For whole factors the weights are centred on their box; for
    others, the weights of a box that holds a share ``l`` of its first pixel and ``r`` of its last are centred
    ``(r(1 - r) - l(1 - l)) / (2 factor)`` pixels higher: at most 1/(8 factor), and zero on average. The
    Fourier crop is free of this shift.
    """
    m = binned_size(n, factor)
    lower = n / 2 + (np.arange(m)[:, None] - m / 2) * factor
    pixel = np.floor(lower).astype(int) + np.arange(ceil(factor) + 1)
    share = np.minimum(lower + factor, pixel + 1) - np.maximum(lower, pixel)
    kept = (share > EVEN) & (pixel >= 0) & (pixel < n)
    share = np.where(kept, share, 0)
    share /= share.sum(axis=1, keepdims=True)
    row = np.broadcast_to(np.arange(m)[:, None], pixel.shape)
    return csr_array((share[kept], (row[kept], pixel[kept])), shape=(m, n))


def bin_axis(
    image: NDArray[Any], factor: float, *, axis: int, method: str = "mean"
) -> NDArray[np.floating[Any]]:
    """Bin an array along one axis.

    Parameters
    ----------
    image : ndarray
        Real numbers of any type.
    factor : float
        Pixels of the input in one of the output, at least 1.
    axis : int
        The axis that becomes shorter.
    method : {"mean", "sum", "fourier"}
        As in `bin_image`.

    Returns
    -------
    ndarray
        float64 for the mean and the sum, at least float32 for the Fourier crop.

    Raises
    ------
    UsageError
        When the method is unknown or the factor is invalid.
    """
    if method not in METHODS:
        raise UsageError(f"unknown binning method {method!r}; use one of {', '.join(METHODS)}")
    if method == "fourier":
        return np.moveaxis(_fourier_last_axis(np.moveaxis(image, axis, -1), factor), -1, axis)
    moved = np.moveaxis(image, axis, 0)
    m = binned_size(len(moved), factor)
    step = round(factor)
    if step * m == len(moved) and step == factor:
        total = moved[::step].astype(np.float64)
        for k in range(1, step):
            total += moved[k::step]
        total *= 1 if method == "sum" else 1 / factor
    else:
        weights = bin_weights(len(moved), factor)
        total = (weights @ moved.reshape(len(moved), -1)).reshape(m, *moved.shape[1:])
        total *= factor if method == "sum" else 1
    return np.moveaxis(total, 0, axis)


def _fourier_last_axis(values: NDArray[Any], factor: float) -> NDArray[np.floating[Any]]:
    """Sample the trigonometric interpolant, cut at the new Nyquist frequency, at the centres of the boxes."""
    n = values.shape[-1]
    m = binned_size(n, factor)
    n_kept = int(n / (2 * factor) + EVEN) + 1
    first = centre(n) - centre(m) * factor
    spectrum = scipy.fft.rfft(values, axis=-1)[..., :n_kept]
    spectrum *= np.exp(2j * np.pi * first / n * np.arange(n_kept)) / n
    if abs(n - m * factor) < EVEN * n:
        return np.asarray(scipy.fft.irfft(spectrum, m, axis=-1, norm="forward"))
    from scipy.signal import czt  # slow to import, and rarely needed

    spectrum[..., 1:] *= 2
    return np.asarray(czt(spectrum, m, np.exp(2j * np.pi * factor / n)).real)


def bin_image(image: NDArray[Any], factor: float, *, method: str = "mean") -> NDArray[np.float32]:
    """Bin an image along its last two axes.

    Parameters
    ----------
    image : ndarray of shape (..., ny, nx)
        Real numbers of any type.
    factor : float
        Pixels of the input in one of the output, along each axis; at least 1, not necessarily an integer.
    method : {"mean", "sum", "fourier"}
        Mean or sum over the area of a pixel, or the sampled band-limited image: frequencies above the new
        Nyquist frequency are cut off sharply, those below pass unchanged. The latter treats the image as
        periodic, so opposite borders of different intensity cause ringing.

    Returns
    -------
    ndarray of shape (..., ny // factor, nx // factor), float32
        Each method except "sum" keeps the intensity level of the image.

    Raises
    ------
    UsageError
        When the method is unknown, or the factor is below 1 or leaves nothing.
    """
    image = _require_real(image, at_least=2)
    rows = bin_axis(image, factor, axis=-2, method=method)
    return bin_axis(rows, factor, axis=-1, method=method).astype(np.float32)


def bin_volume(volume: NDArray[Any], factor: float, *, method: str = "mean") -> NDArray[np.float32]:
    """Bin a volume along all three axes.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Real numbers of any type; a memory map is read section by section.
    factor : float
        Voxels of the input in one of the output, along each axis.
    method : {"mean", "sum", "fourier"}
        As in `bin_image`.

    Returns
    -------
    ndarray of shape (nz // factor, ny // factor, nx // factor), float32

    Raises
    ------
    UsageError
        As `bin_image`.
    """
    nz, ny, nx = _require_real(volume, at_least=3).shape
    return np.stack(list(binned_sections(volume.__getitem__, (nz, ny, nx), factor, method=method)))


def binned_sections(
    read_section: Callable[[int], NDArray[Any]],
    shape: tuple[int, int, int],
    factor: float,
    *,
    method: str = "mean",
    threads: int = 1,
) -> Iterator[NDArray[np.float32]]:
    """Bin a volume that is read and returned one section at a time.

    Parameters
    ----------
    read_section : callable
        Returns section ``k``, an ndarray of shape (ny, nx).
    shape : tuple of int
        nz, ny, nx of the input.
    factor : float
        Voxels of the input in one of the output, along each axis.
    method : {"mean", "sum", "fourier"}
        As in `bin_image`. Mean and sum keep a few sections in memory; the Fourier crop keeps all of them,
        binned along y and x.
    threads : int
        Number of sections read and binned at the same time.

    Yields
    ------
    ndarray of shape (ny // factor, nx // factor), float32

    Raises
    ------
    UsageError
        As `bin_image`.
    """
    if method not in METHODS:
        raise UsageError(f"unknown binning method {method!r}; use one of {', '.join(METHODS)}")
    weights = bin_weights(shape[0], factor)
    reduce = partial(bin_image, factor=factor, method=method)
    sections = ordered_map(lambda k: reduce(read_section(k)), range(shape[0]), threads=threads)
    if method != "fourier":
        yield from _weighted_sums(sections, weights * factor if method == "sum" else weights)
        return
    stack = np.stack(list(sections))
    for y in range(stack.shape[1]):  # one row at a time: the complex spectrum of all would fill three volumes
        stack[: weights.shape[0], y] = bin_axis(stack[:, y], factor, axis=0, method=method)
    yield from stack[: weights.shape[0]]


def _weighted_sums(
    sections: Iterable[NDArray[np.float32]], weights: csr_array
) -> Iterator[NDArray[np.float32]]:
    """Yield the weighted sums of sections, each as soon as its last section has been read."""
    by_section = weights.T.tocsr()
    last = weights.indices[weights.indptr[1:] - 1]
    sums: dict[int, NDArray[np.float64]] = {}
    for k, section in enumerate(sections):
        for entry in range(by_section.indptr[k], by_section.indptr[k + 1]):
            i = int(by_section.indices[entry])
            part = by_section.data[entry] * section.astype(np.float64)
            sums[i] = sums[i] + part if i in sums else part
        for i in sorted(i for i in sums if last[i] == k):
            yield sums.pop(i).astype(np.float32)


def _require_real(image: NDArray[Any], *, at_least: int) -> NDArray[Any]:
    """Return the array if it is real and has enough axes; raise DataError otherwise."""
    if image.ndim < at_least or image.dtype.kind not in "iuf":
        raise DataError(
            f"binning needs real numbers in {at_least} dimensions or more, "
            f"not an array of {image.dtype} with shape {image.shape}"
        )
    return image
