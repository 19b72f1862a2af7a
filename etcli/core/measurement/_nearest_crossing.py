"""Kernels that find the nearest point where the grey surface crosses an edge of the voxel grid.

The crossings are the vertices that marching cubes would place: on every grid edge between a voxel of the
solid and one outside it, where linear interpolation reaches the threshold. A crossing has the code
``3 * voxel + axis``, with the flat index of the edge's first voxel.
"""

from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit

Floats = NDArray[np.float32]
Labels = NDArray[np.uint16]
Codes = NDArray[np.integer]


@inline
def crossing_fraction(first: float, second: float, level: float) -> float:
    """Compute where on an edge the values cross a level, from 0 to 1; half where they do not."""
    if first == second:
        return 0.5
    return min(max((level - first) / (second - first), 0.0), 1.0)


@jit
def nearest_in_rows(
    labels: Labels, volume: Floats, levels: Floats, strides: tuple[int, int, int], axis: int,
    squared: Floats, codes: Codes, first: int, last: int,
) -> None:  # fmt: skip
    """Find the nearest crossing of each row's own edges, for the rows of several planes.

    Parameters
    ----------
    labels : ndarray of shape (n0, n1, n), uint16
        0 outside the solid. Axes in any order; the rows are along the last one.
    volume : ndarray of shape (n0, n1, n), float32
    levels : ndarray of shape (n_labels + 1,), float32
        Threshold of each label.
    strides : tuple of int
        Flat index of a voxel in the order (z, y, x), for a step along each axis.
    axis : int
        Which of z, y, x the rows are along.
    squared, codes : ndarray of shape (n0, n1, n), float32 and integer
        Squared distance and code of the crossing, written; inf and -1 in rows without any.
    first, last : int
        Planes of the first axis to do.
    """
    n = labels.shape[2]
    place, code = np.empty(n + 1), np.empty(n + 1, np.int64)
    for a in range(first, last):
        for b in range(labels.shape[1]):
            count = 0
            for i in range(n - 1):
                here, there = labels[a, b, i], labels[a, b, i + 1]
                if (here > 0) != (there > 0):
                    level = levels[max(here, there)]
                    place[count] = i + crossing_fraction(volume[a, b, i], volume[a, b, i + 1], level)
                    code[count] = 3 * (a * strides[0] + b * strides[1] + i * strides[2]) + axis
                    count += 1
            k = 0
            for i in range(n):
                if count == 0:
                    squared[a, b, i], codes[a, b, i] = inf, -1
                    continue
                while k + 1 < count and abs(place[k + 1] - i) <= abs(place[k] - i):
                    k += 1
                squared[a, b, i], codes[a, b, i] = (place[k] - i) ** 2, code[k]


@jit
def nearest_across_rows(
    squared: Floats, codes: Codes, best_squared: Floats, best_codes: Codes, first: int, last: int
) -> None:
    """Extend the search for the nearest crossing along one more axis: lower envelope of parabolas.

    Parameters
    ----------
    squared, codes : ndarray of shape (n0, n1, n), float32 and integer
        Squared distance within the axes done so far, and code of the crossing. The search is along the last
        axis.
    best_squared, best_codes : ndarray of the same shape
        Take what is nearer than they hold; may be `squared` and `codes` themselves.
    first, last : int
        Planes of the first axis to do.

    References
    ----------
    P. F. Felzenszwalb and D. P. Huttenlocher, Theory of Computing 8, 415 (2012), algorithm 1.
    """
    n = squared.shape[2]
    height, code = np.empty(n), np.empty(n, np.int64)
    place, start = np.empty(n), np.empty(n + 1)
    for a in range(first, last):
        for b in range(squared.shape[1]):
            count = 0
            for i in range(n):
                own = squared[a, b, i]
                if own == inf:
                    continue
                while count > 0:
                    top = count - 1
                    cut = (own + i * i - height[top] - place[top] ** 2) / (2 * (i - place[top]))
                    if cut > start[top]:
                        start[count] = cut
                        break
                    count -= 1
                if count == 0:
                    start[0] = -inf
                place[count], height[count], code[count] = i, own, codes[a, b, i]
                count += 1
            if count == 0:
                continue
            start[count] = inf
            k = 0
            for i in range(n):
                while start[k + 1] < i:
                    k += 1
                value = (i - place[k]) ** 2 + height[k]
                if value < best_squared[a, b, i]:
                    best_squared[a, b, i], best_codes[a, b, i] = value, code[k]


@inline
def crossing_place(code: int, labels: Labels, volume: Floats, levels: Floats) -> tuple[float, float, float]:
    """Compute the place (z, y, x) of a crossing from its code."""
    _, ny, nx = labels.shape
    voxel, axis = code // 3, code % 3
    z, y, x = voxel // (ny * nx), voxel // nx % ny, voxel % nx
    dz, dy, dx = int(axis == 0), int(axis == 1), int(axis == 2)
    level = levels[max(labels[z, y, x], labels[z + dz, y + dy, x + dx])]
    part = crossing_fraction(volume[z, y, x], volume[z + dz, y + dy, x + dx], level)
    return z + dz * part, y + dy * part, x + dx * part


@inline
def nearest_of_corners(
    z: float, y: float, x: float, codes: Codes, labels: Labels, volume: Floats, levels: Floats
) -> tuple[float, int]:
    """Find the nearest among the crossings that are nearest to the eight voxels around a point."""
    nz, ny, nx = labels.shape
    best, best_code = inf, -1
    for corner in range(8):
        k = min(max(int(z) + (corner & 1), 0), nz - 1)
        j = min(max(int(y) + (corner >> 1 & 1), 0), ny - 1)
        i = min(max(int(x) + (corner >> 2), 0), nx - 1)
        code = codes[k, j, i]
        if code >= 0 and code != best_code:
            w, v, u = crossing_place(code, labels, volume, levels)
            distance = (w - z) ** 2 + (v - y) ** 2 + (u - x) ** 2
            if distance < best:
                best, best_code = distance, code
    return best, best_code


@inline
def nearest_around(
    z: float, y: float, x: float, best: float, best_code: int, labels: Labels, volume: Floats, levels: Floats
) -> tuple[float, int]:
    """Improve the nearest crossing among those on edges near it, as long as that brings it nearer."""
    nz, ny, nx = labels.shape
    found = True
    while found:
        found = False
        voxel = best_code // 3
        z0, y0, x0 = voxel // (ny * nx), voxel // nx % ny, voxel % nx
        for k in range(max(z0 - 1, 0), min(z0 + 2, nz)):
            for j in range(max(y0 - 1, 0), min(y0 + 2, ny)):
                for i in range(max(x0 - 1, 0), min(x0 + 2, nx)):
                    here = labels[k, j, i] > 0
                    for axis in range(3):
                        k1, j1, i1 = k + int(axis == 0), j + int(axis == 1), i + int(axis == 2)
                        if k1 == nz or j1 == ny or i1 == nx or (labels[k1, j1, i1] > 0) == here:
                            continue
                        code = 3 * ((k * ny + j) * nx + i) + axis
                        w, v, u = crossing_place(code, labels, volume, levels)
                        distance = (w - z) ** 2 + (v - y) ** 2 + (u - x) ** 2
                        if distance < best:
                            best, best_code, found = distance, code, True
    return best, best_code


@jit
def nearest_crossing(
    z: float, y: float, x: float, least: float, codes: Codes, labels: Labels, volume: Floats, levels: Floats
) -> tuple[float, int]:
    """Find the distance and the code of the crossing nearest to any point.

    Parameters
    ----------
    z, y, x : float
        The point in voxels.
    least : float
        The search ends as soon as a crossing is nearer than this.
    codes : ndarray of shape (nz, ny, nx), integer
        Crossing nearest to each voxel, -1 without any.
    labels, volume, levels
        As in `nearest_in_rows`, with axes (z, y, x).
    """
    best, code = nearest_of_corners(z, y, x, codes, labels, volume, levels)
    if code >= 0 and best > least * least:
        best, code = nearest_around(z, y, x, best, code, labels, volume, levels)
    return sqrt(best), code
