"""Where atoms may be: maxima of a volume, smoothed as an atom is wide."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms import _peaks

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

DOG_RATIO = 2.0
"""Widths of the two Gaussians of a difference of Gaussians (Ren et al.: 0.5 and 1 voxel)."""


def smoothed(volume: Array, sigma_px: float, *, out: Array | None = None) -> Array:
    """Convolve with a Gaussian; zeros lie beyond the border.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    sigma_px : float
        Standard deviation in voxels; 0 changes nothing.
    out : ndarray of shape (nz, ny, nx), float32, optional
        Overwritten and returned; it may be the volume itself.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
    """
    out = np.empty_like(volume) if out is None else out
    if sigma_px > 0:
        ndimage.gaussian_filter(volume, sigma_px, output=out, mode="constant")
    elif out is not volume:
        out[:] = volume
    return out


def difference_of_gaussians(volume: Array, sigma_px: float) -> Array:
    """Return the volume smoothed with a Gaussian less the same with one twice as wide.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    sigma_px : float
        Standard deviation of the narrower one in voxels.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32

    References
    ----------
    D. Ren et al., Acta Cryst. A 76 (2020) 687, and arXiv:1807.03886 (2018): tracing of atoms.
    """
    narrow = smoothed(volume, sigma_px)
    narrow -= smoothed(volume, DOG_RATIO * sigma_px)
    return narrow


def find_peaks(volume: Array, threshold: float) -> tuple[Doubles, Doubles]:
    """Find the maxima over 26 neighbours, between voxels, the highest first.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Finite. Beyond the border nothing is higher.
    threshold : float
        What a maximum has to exceed.

    Returns
    -------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices, from a parabola through the neighbours along each axis.
    height : ndarray of shape (n,), float64
        Values of the voxels.

    Notes
    -----
    Of neighbours that are equal, one counts.
    """
    room = max(1024, volume.size >> 10)
    found = np.empty((room, 3), np.int32)
    n = _peaks.maxima(volume, np.float32(threshold), found)
    if n > room:
        found = np.empty((n, 3), np.int32)
        _peaks.maxima(volume, np.float32(threshold), found)
    found = found[:n]
    height = volume[tuple(found.T)].astype(np.float64)
    place = found[:, ::-1].astype(np.float64)
    for axis in range(3):
        place[:, axis] += _parabola(volume, found, height, 2 - axis)
    order = np.argsort(-height, kind="stable")
    return place[order], height[order]


def _parabola(volume: Array, found: NDArray[np.int32], height: Doubles, axis: int) -> Doubles:
    """Return how far from its voxel each maximum is along an axis, half a voxel at most."""
    n = volume.shape[axis]
    at = found[:, axis]
    inner = (at > 0) & (at < n - 1)
    sides = []
    for step in (-1, 1):
        beside = found.copy()
        beside[:, axis] = np.clip(at + step, 0, n - 1)
        sides.append(volume[tuple(beside.T)].astype(np.float64))
    curvature = sides[0] - 2 * height + sides[1]
    offset = np.divide(
        (sides[0] - sides[1]) / 2, curvature, out=np.zeros_like(height), where=inner & (curvature < 0)
    )
    return np.clip(offset, -0.5, 0.5)


def spaced(place: Doubles, least: float, *, taken: Doubles | None = None) -> NDArray[np.intp]:
    """Choose places so that no two are close, the first ones first.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        In the order of preference.
    least : float
        Least distance, in the same units.
    taken : ndarray of shape (m, 3), optional
        Places that are taken before.

    Returns
    -------
    ndarray of int
        Numbers of those chosen, ascending.
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
