"""Kernels of exact Euclidean distances: the lower envelope of parabolas, one axis after the other."""

import numpy as np

from etcli.core.jit import jit

TILE = 16
"""Neighbouring lines that are copied together, so that whole cache lines are read."""


@jit
def squared_along_rows(labels, squared, outside):  # type: ignore[no-untyped-def]
    """Square the distance along x to the nearest voxel of another label, in each row ``(z, y)``."""
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            start = 0
            while start < nx:
                value = labels[z, y, start]
                stop = start + 1
                while stop < nx and labels[z, y, stop] == value:
                    stop += 1
                for x in range(start, stop):
                    best = np.inf
                    if value == 0:
                        best = 0.0
                    else:
                        if start > 0 or outside:
                            best = (x - start + 1.0) ** 2
                        if stop < nx or outside:
                            best = min(best, (stop - x + 0.0) ** 2)
                    squared[z, y, x] = best
                start = stop


@jit
def squared_along_columns(labels, squared, outside):  # type: ignore[no-untyped-def]
    """Add the squared distance along the middle axis of arrays ``(m, n, nx)``, in place."""
    m, n, nx = labels.shape
    values = np.empty((TILE, n), labels.dtype)
    below = np.empty((TILE, n), np.float64)
    centres = np.empty(n, np.int64)
    borders = np.empty(n, np.float64)
    line = np.empty(n, np.float64)
    for k in range(m):
        for x0 in range(0, nx, TILE):
            width = min(TILE, nx - x0)
            for p in range(n):
                for j in range(width):
                    values[j, p] = labels[k, p, x0 + j]
                    below[j, p] = squared[k, p, x0 + j]
            for j in range(width):
                start = 0
                while start < n:
                    stop = start + 1
                    while stop < n and values[j, stop] == values[j, start]:
                        stop += 1
                    if values[j, start] != 0:
                        left, right = start > 0 or outside, stop < n or outside
                        _run_minimum(below[j], start, stop, left, right, centres, borders, line)
                        below[j, start:stop] = line[start:stop]
                    start = stop
            for p in range(n):
                for j in range(width):
                    squared[k, p, x0 + j] = below[j, p]


@jit
def _run_minimum(below, start, stop, left, right, centres, borders, line):  # type: ignore[no-untyped-def]
    """Minimum over q of below[q] + (p - q)² within one run, and of the distances to what is beside it."""
    count = lower_envelope(below, start, stop, centres, borders)
    k = 0
    for p in range(start, stop):
        best = np.inf
        if count:
            while k + 1 < count and borders[k + 1] < p:
                k += 1
            best = below[centres[k]] + (p - centres[k]) ** 2
        if left:
            best = min(best, (p - start + 1.0) ** 2)
        if right:
            best = min(best, (stop - p + 0.0) ** 2)
        line[p] = best


@jit
def lower_envelope(below, start, stop, centres, borders):  # type: ignore[no-untyped-def]
    """Find the parabolas that form the lower envelope, and from where on each does; return their number."""
    count = 0
    for q in range(start, stop):
        if below[q] == np.inf:
            continue
        crossing = -np.inf
        while count:
            r = centres[count - 1]
            crossing = ((below[q] + q * q) - (below[r] + r * r)) / (2.0 * (q - r))
            if crossing > borders[count - 1]:
                break
            count -= 1
        if count == 0:
            crossing = -np.inf
        centres[count], borders[count] = q, crossing
        count += 1
    return count


@jit
def nearest_along_columns(owner, squared):  # type: ignore[no-untyped-def]
    """Carry the owner of the nearest voxel along the middle axis of arrays ``(m, n, nx)``, in place."""
    m, n, nx = owner.shape
    values = np.empty((TILE, n), owner.dtype)
    below = np.empty((TILE, n), np.float64)
    centres = np.empty(n, np.int64)
    borders = np.empty(n, np.float64)
    for k in range(m):
        for x0 in range(0, nx, TILE):
            width = min(TILE, nx - x0)
            for p in range(n):
                for j in range(width):
                    values[j, p] = owner[k, p, x0 + j]
                    below[j, p] = squared[k, p, x0 + j]
            for j in range(width):
                count = lower_envelope(below[j], 0, n, centres, borders)
                i = 0
                for p in range(n if count else 0):
                    while i + 1 < count and borders[i + 1] < p:
                        i += 1
                    q = centres[i]
                    owner[k, p, x0 + j] = values[j, q]
                    squared[k, p, x0 + j] = below[j, q] + (p - q) ** 2


@jit
def grow(labels, offsets, squares, owner, nearest):  # type: ignore[no-untyped-def]
    """Give background voxels within reach to the nearest label.

    ``owner`` begins as a copy of the labels and ``nearest`` with 255 outside of them, 0 inside; it holds
    squared distances. Only voxels with a background voxel among their six neighbours, the rim, reach out.
    """
    nz, ny, nx = labels.shape
    for k in range(nz):
        for j in range(ny):
            for i in range(nx):
                label = labels[k, j, i]
                if label == 0:
                    continue
                if not (
                    (k > 0 and labels[k - 1, j, i] == 0)
                    or (k < nz - 1 and labels[k + 1, j, i] == 0)
                    or (j > 0 and labels[k, j - 1, i] == 0)
                    or (j < ny - 1 and labels[k, j + 1, i] == 0)
                    or (i > 0 and labels[k, j, i - 1] == 0)
                    or (i < nx - 1 and labels[k, j, i + 1] == 0)
                ):
                    continue
                for q in range(len(squares)):
                    z, y, x = k + offsets[q, 0], j + offsets[q, 1], i + offsets[q, 2]
                    if z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                        continue
                    if squares[q] < nearest[z, y, x]:
                        nearest[z, y, x] = squares[q]
                        owner[z, y, x] = label
