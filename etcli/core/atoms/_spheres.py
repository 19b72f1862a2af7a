"""Kernel that renders spheres."""

from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@jit
def render(
    place: Doubles, radius: Doubles, order: NDArray[np.int64], depth: Floats, nearest: NDArray[np.int32]
) -> None:
    """Write for every pixel the height of the nearest sphere, and its index.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        Column, row and height of the centres in pixels; the largest height is the nearest to the viewer.
    radius : ndarray of shape (n,), float64
        Radii in pixels.
    order : ndarray of shape (n,), int64
        Order in which the spheres are drawn; the nearest first is the fastest.
    depth : ndarray of shape (ny, nx), float32
        Heights so far, changed; -inf where there is nothing.
    nearest : ndarray of shape (ny, nx), int32
        Indices so far, changed.
    """
    ny, nx = depth.shape
    for n in order:
        x, y, z = place[n]
        r = radius[n]
        for row in range(max(ceil(y - r), 0), min(floor(y + r), ny - 1) + 1):
            half2 = r * r - (row - y) * (row - y)
            half = sqrt(max(half2, 0.0))
            for column in range(max(ceil(x - half), 0), min(floor(x + half), nx - 1) + 1):
                height = z + sqrt(max(half2 - (column - x) * (column - x), 0.0))
                if height > depth[row, column]:
                    depth[row, column] = height
                    nearest[row, column] = n
