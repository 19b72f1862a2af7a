"""Kernels over voxels: local maxima, and sums over subsets of the voxels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit

Floats = NDArray[np.float32]


@inline
def _is_highest(volume: Any, z: int, y: int, x: int) -> bool:
    """Check that none of the 26 neighbours exceeds a voxel, and none before it in memory equals it."""
    nz, ny, nx = volume.shape
    value = volume[z, y, x]
    for k in range(max(z - 1, 0), min(z + 2, nz)):
        for j in range(max(y - 1, 0), min(y + 2, ny)):
            for i in range(max(x - 1, 0), min(x + 2, nx)):
                other = volume[k, j, i]
                if other > value or (other == value and (k, j, i) < (z, y, x)):
                    return False
    return True


@jit
def maxima(volume: Floats, threshold: float, found: NDArray[np.int32]) -> int:
    """Write (z, y, x) of voxels above a threshold that none of 26 neighbours exceeds; return their number.

    Of equal neighbours the first in memory counts. Voxels at the border have fewer neighbours. No more are
    written than the array can hold.
    """
    nz, ny, nx = volume.shape
    n = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if volume[z, y, x] > threshold and _is_highest(volume, z, y, x):
                    if n < len(found):
                        found[n, 0], found[n, 1], found[n, 2] = z, y, x
                    n += 1
    return n


@jit
def squares(volume: Floats, sums: NDArray[np.float64]) -> None:
    """Write the number of negative voxels, the sum of their squares, and the same for voxels other than 0."""
    n_below = n_other = 0
    below = other = 0.0
    for value in volume.ravel():
        square = np.float64(value) * np.float64(value)
        if value != 0:
            n_other += 1
            other += square
        if value < 0:
            n_below += 1
            below += square
    sums[0], sums[1], sums[2], sums[3] = n_below, below, n_other, other


@jit
def spread_above(volume: Floats, residual: Floats, level: float) -> float:
    """Return the standard deviation of the residual where the volume minus the residual exceeds a level."""
    n = 0
    first = second = 0.0
    for z in range(len(volume)):
        for y in range(volume.shape[1]):
            for x in range(volume.shape[2]):
                value = residual[z, y, x]
                if volume[z, y, x] - value > level:
                    n += 1
                    first += value
                    second += np.float64(value) * np.float64(value)
    return np.sqrt(max(second / n - (first / n) ** 2, 0.0)) if n else 0.0
