"""Peaks: smoothing of a volume, percentiles, noise, and local maxima."""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms import _peaks
from etcli.core.parallel import ordered_map

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

DOG_RATIO = 2.0
"""Ratio of the widths of the two Gaussians of a difference of Gaussians (Ren et al.: 0.5 and 1 voxel)."""
SAMPLES = 1 << 18
"""Number of voxels from which a percentile is estimated."""


def smoothed(volume: Array, sigma_px: float, *, out: Array | None = None, threads: int = 1) -> Array:
    """Convolve a volume with a Gaussian; outside, the volume is taken as zero.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    sigma_px : float
        Standard deviation in voxels; 0 changes nothing.
    out : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned; it may be the volume itself.
    threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
    """
    out = np.empty_like(volume) if out is None else out
    if sigma_px > 0:
        _convolve(volume, out, sigma_px, along=0, split=1, threads=threads)
        _convolve(out, out, sigma_px, along=1, split=0, threads=threads)
        _convolve(out, out, sigma_px, along=2, split=0, threads=threads)
    elif out is not volume:
        out[:] = volume
    return out


def _convolve(volume: Array, out: Array, sigma_px: float, *, along: int, split: int, threads: int) -> None:
    """Convolve along an axis, in parts along another."""

    def convolve_part(part: slice) -> None:
        source, target = (np.moveaxis(array, split, 0)[part] for array in (volume, out))
        axis = along if along > split else along + 1
        ndimage.gaussian_filter1d(source, sigma_px, axis, output=target, mode="constant")

    n = volume.shape[split]
    step = max(1, ceil(n / (4 * threads)))
    for _ in ordered_map(convolve_part, (slice(k, k + step) for k in range(0, n, step)), threads=threads):
        pass


def difference_of_gaussians(volume: Array, sigma_px: float, *, threads: int = 1) -> Array:
    """Compute the difference of Gaussians of a volume: smoothed narrowly minus smoothed twice as wide.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    sigma_px : float
        Standard deviation of the narrower Gaussian in voxels.
    threads : int

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32

    References
    ----------
    D. Ren et al., Ultramicroscopy 208, 112860 (2020), doi:10.1016/j.ultramic.2019.112860: tracing of atoms.
    """
    narrow = smoothed(volume, sigma_px, threads=threads)
    narrow -= smoothed(volume, DOG_RATIO * sigma_px, threads=threads)
    return narrow


def high_percentile(volume: Array, percent: float) -> float:
    """Compute a percentile near 100, like `numpy.percentile`, without a copy of the volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    percent : float

    Returns
    -------
    float
    """
    values = volume.reshape(-1)
    from_top = (values.size - 1) * (1 - percent / 100)
    bound = sampled_percentile(volume, max(0.0, 100 - 4 * (100 - percent)))
    high = np.concatenate([section[section >= bound] for section in volume])
    if len(high) < from_top + 2:  # the sample was not representative
        high = values
    rank = len(high) - 1 - from_top
    lower, upper = np.partition(high, (int(rank), ceil(rank)))[[int(rank), ceil(rank)]].astype(np.float64)
    return float(lower + (rank - int(rank)) * (upper - lower))


def sampled_percentile(volume: Array, percent: float) -> float:
    """Estimate a percentile from a sample of the voxels.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    percent : float

    Returns
    -------
    float
    """
    values = volume.reshape(-1)
    return float(np.percentile(values[:: max(1, values.size // SAMPLES)], percent))


def noise_below_zero(volume: Array) -> float:
    """Estimate the standard deviation of noise around zero from the negative voxels; 0 if they are too few.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32

    Returns
    -------
    float
    """
    sums = np.empty(4)
    _peaks.squares(volume, sums)
    return float(np.sqrt(sums[1] / sums[0])) if 4 * sums[0] > volume.size else 0.0


def root_mean_square(volume: Array) -> float:
    """Compute the root mean square of the voxels other than exact zeros, which are outside a mask.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32

    Returns
    -------
    float
    """
    sums = np.empty(4)
    _peaks.squares(volume, sums)
    return float(np.sqrt(sums[3] / max(sums[2], 1)))


def find_peaks(volume: Array, threshold: float) -> tuple[Doubles, Doubles]:
    """Find the local maxima (of 26 neighbours) of a volume with subvoxel positions, the highest first.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Finite. Voxels at the border are compared with fewer neighbours.
    threshold : float
        Value that a maximum must exceed.

    Returns
    -------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices, from a parabola through the neighbours along each axis.
    height : ndarray of shape (n,), float64
        Values of the voxels.

    Notes
    -----
    Of equal neighbours, only one counts as a maximum.
    """
    capacity = max(1024, volume.size >> 10)
    index = np.empty((capacity, 3), np.int32)
    n = _peaks.maxima(volume, np.float32(threshold), index)
    if n > capacity:
        index = np.empty((n, 3), np.int32)
        _peaks.maxima(volume, np.float32(threshold), index)
    index = index[:n]
    height = volume[tuple(index.T)].astype(np.float64)
    place = index[:, ::-1].astype(np.float64)
    for axis in range(3):
        place[:, axis] += _parabola(volume, index, height, 2 - axis)
    order = np.argsort(-height, kind="stable")
    return place[order], height[order]


def _parabola(volume: Array, index: NDArray[np.int32], height: Doubles, axis: int) -> Doubles:
    """Return the offset of each maximum from its voxel along an axis, at most half a voxel."""
    n = volume.shape[axis]
    along = index[:, axis]
    inner = (along > 0) & (along < n - 1)
    sides = []
    for step in (-1, 1):
        beside = index.copy()
        beside[:, axis] = np.clip(along + step, 0, n - 1)
        sides.append(volume[tuple(beside.T)].astype(np.float64))
    curvature = sides[0] - 2 * height + sides[1]
    offset = np.divide(
        (sides[0] - sides[1]) / 2, curvature, out=np.zeros_like(height), where=inner & (curvature < 0)
    )
    return np.asarray(np.clip(offset, -0.5, 0.5))


def spaced(place: Doubles, least: float, *, taken: Doubles | None = None) -> NDArray[np.intp]:
    """Choose places, in the order of preference, so that no two are too close to each other.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        In the order of preference.
    least : float
        Smallest distance, in the same units.
    taken : ndarray of shape (m, 3), optional
        Places that are already occupied.

    Returns
    -------
    ndarray of int
        Indices of the chosen places, ascending.
    """
    free = np.ones(len(place), bool)
    if taken is not None and len(taken) and len(place):
        free = cKDTree(taken).query(place)[0] >= least
    chosen = np.flatnonzero(free)
    if not len(chosen):
        return chosen
    pairs = cKDTree(place[chosen]).query_pairs(least, output_type="ndarray")
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    alive = np.ones(len(chosen), bool)
    for better, worse in pairs.tolist():
        if alive[better]:
            alive[worse] = False
    return chosen[alive]
