"""Search for a part of a volume in the whole of it."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError

LEAST_VARIANCE = 1e-6
"""Variance of a place, relative to the greatest, below which it shows nothing."""


def find_part(part: NDArray[Any], whole: NDArray[Any], *, threads: int = 1) -> tuple[int, ...]:
    """Find where in a volume a part of it lies, whatever the scale and the level of its values.

    Parameters
    ----------
    part : ndarray of shape (nz, ny, nx)
        Not larger than the whole along any axis, finite.
    whole : ndarray of shape (mz, my, mx)
        Finite.
    threads : int
        Number of threads.

    Returns
    -------
    tuple of int
        Index (z, y, x) of the first voxel of the part in the whole.

    Raises
    ------
    DataError
        When one of them is constant.

    Notes
    -----
    The place with the highest normalised correlation, among those where the part is entirely in the whole.
    Nothing is assumed of what is outside, so that a part that is cut out of a specimen has no wrong edges.

    References
    ----------
    J. P. Lewis, Fast normalized cross-correlation, Vision Interface 120 (1995).
    """
    for each in (part, whole):
        if each.min() == each.max():
            raise DataError("a volume that is the same everywhere has no place; leave --align out")
    mean = whole.mean(dtype=np.float64)
    values = np.asarray(whole - np.float32(mean), np.float32)  # without cancellation in the variance below
    spectrum = scipy.fft.rfftn(part - np.float32(part.mean(dtype=np.float64)), values.shape, workers=threads)
    np.conj(spectrum, out=spectrum)
    spectrum *= scipy.fft.rfftn(values, workers=threads)
    correlation = scipy.fft.irfftn(spectrum, values.shape, workers=threads)
    del spectrum
    sizes = list(zip(part.shape, values.shape, strict=True))
    middle = tuple(slice(n // 2, n // 2 + m - n + 1) for n, m in sizes)
    local_mean = ndimage.uniform_filter(values, part.shape, mode="constant")[middle]
    np.square(values, out=values)
    variance = ndimage.uniform_filter(values, part.shape, mode="constant")[middle]
    variance -= local_mean**2
    shows = variance > LEAST_VARIANCE * variance.max()
    height = np.full(variance.shape, -np.inf, np.float32)
    inside = correlation[tuple(slice(m - n + 1) for n, m in sizes)]
    np.divide(inside, np.sqrt(variance, where=shows, out=variance), where=shows, out=height)
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(height)), height.shape))
