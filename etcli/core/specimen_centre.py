"""Centre of mass of the specimen in a volume."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_VOXELS = 4_000_000
BINS = 256
LEAST_MASS = 0.5
"""Mass of a slice worth showing, relative to the mean of those that hold any."""


def specimen_centre(volume: NDArray[Any]) -> tuple[int, int, int]:
    """Find a point through which slices show the specimen: its centre of mass, or one close to it.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Density; a large volume is sampled.

    Returns
    -------
    tuple of int
        Indices (z, y, x); the middle of a volume without contrast.

    Notes
    -----
    The specimen is what differs from the surroundings more than the threshold between two classes (Otsu),
    brighter or darker; its weight is the difference. The surroundings are the median of the outer faces.
    Where the centre of mass lies between particles, slices that hold less than half the mean are passed over.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979), doi:10.1109/TSMC.1979.4310076.
    """
    step = max(1, int(np.ceil((volume.size / MOST_VOXELS) ** (1 / 3))))
    starts = [(n - 1) % step // 2 for n in volume.shape]
    sampled = volume[tuple(slice(start, None, step) for start in starts)].astype(np.float32)
    faces = [sampled.take(end, axis).ravel() for axis, end in product(range(3), (0, -1))]
    difference = np.abs(np.nan_to_num(sampled - np.nanmedian(np.concatenate(faces)), posinf=0.0, neginf=0.0))
    weight = np.where(difference > _otsu(difference), difference, 0.0)
    if not weight.any():
        return volume.shape[0] // 2, volume.shape[1] // 2, volume.shape[2] // 2
    z, y, x = (
        round(start + step * _central_slice(weight.sum(tuple(k for k in range(3) if k != axis), np.float64)))
        for axis, start in enumerate(starts)
    )
    return z, y, x


def _central_slice(mass: NDArray[np.float64]) -> float:
    """Return the centre of mass, or the slice closest to it where slices there are nearly empty."""
    index = np.arange(len(mass))
    centre = float(mass @ index) / float(mass.sum())
    has_mass = mass >= LEAST_MASS * mass.sum() / np.count_nonzero(mass)
    closest = float(index[has_mass][np.abs(index[has_mass] - centre).argmin()])
    return centre if abs(closest - centre) <= 0.5 else closest


def _otsu(values: NDArray[np.float32]) -> float:
    """Return the threshold that leaves the least variance within two classes."""
    counts, edges = np.histogram(values, BINS)
    middle = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts)[:-1], np.cumsum(counts * middle)
    above = counts.sum() - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass[:-1] / below - (mass[-1] - mass[:-1]) / above) ** 2
    return float(edges[1 + np.nan_to_num(between).argmax()])
