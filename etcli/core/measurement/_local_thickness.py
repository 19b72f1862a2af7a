"""Kernels of local thickness: centres of the largest balls, and the voxels that they cover."""

from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit
from etcli.core.measurement._nearest_crossing import crossing_place, nearest_crossing

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Labels = NDArray[np.uint16]
Mask = NDArray[np.bool_]
Codes = NDArray[np.integer]

LEAST_GAIN = 1e-4
"""Gain of radius in voxels for which a centre is moved."""


@jit
def mark_ridge(squared: Floats, mask: Mask, slope: float, ridge: Mask, first: int, last: int) -> None:
    """Mark the voxels whose ball no neighbour's contains, in the sections `first` to `last` - 1.

    Parameters
    ----------
    squared : ndarray of shape (nz, ny, nx), float32
        Squared distance to the surface.
    mask : ndarray of shape (nz, ny, nx), bool
        Where centres may be.
    slope : float
        A neighbour at a distance s contains the ball when it is farther from the surface by `slope` s;
        exactly so where `slope` is 1.
    ridge : ndarray of shape (nz, ny, nx), bool
        The marks, written.
    """
    nz, ny, nx = squared.shape
    for k in range(first, last):
        for j in range(ny):
            for i in range(nx):
                is_ridge = mask[k, j, i]
                if is_ridge:
                    own = sqrt(squared[k, j, i])
                    for c in range(27):
                        dz, dy, dx = c // 9 - 1, c // 3 % 3 - 1, c % 3 - 1
                        z, y, x = k + dz, j + dy, i + dx
                        if c == 13 or z < 0 or y < 0 or x < 0 or z >= nz or y >= ny or x >= nx:
                            continue
                        if not mask[z, y, x]:
                            continue
                        least = own + slope * sqrt(dz * dz + dy * dy + dx * dx)
                        if squared[z, y, x] >= least * least:
                            is_ridge = False
                            break
                ridge[k, j, i] = is_ridge


@jit
def walk_uphill(
    voxels: Codes, codes: Codes, labels: Labels, volume: Floats, levels: Floats, mask: Mask, steps: Doubles,
    centres: Doubles, radii: Doubles,
) -> None:  # fmt: skip
    """Move points away from their nearest point of the surface as long as the distance grows.

    Parameters
    ----------
    voxels : ndarray of shape (n,), int64
        Flat indices of the voxels to start from.
    codes, labels, volume, levels
        As in `nearest_crossing`.
    mask : ndarray of shape (nz, ny, nx), bool
        The points stay in its voxels.
    steps : ndarray of float64
        Lengths of the steps to try, one after the other.
    centres : ndarray of shape (n, 3), float64
        Places (z, y, x) reached, written.
    radii : ndarray of shape (n,), float64
        Distances from the surface there, written.
    """
    nz, ny, nx = labels.shape
    for q in range(len(voxels)):
        voxel = voxels[q]
        z, y, x = float(voxel // (ny * nx)), float(voxel // nx % ny), float(voxel % nx)
        code = codes.flat[voxel]
        w, v, u = crossing_place(code, labels, volume, levels)
        radius = sqrt((w - z) ** 2 + (v - y) ** 2 + (u - x) ** 2)
        for step in steps:
            w, v, u = crossing_place(code, labels, volume, levels)
            share = step / max(radius, 1e-9)
            z1, y1, x1 = z + share * (z - w), y + share * (y - v), x + share * (x - u)
            k, j, i = round(z1), round(y1), round(x1)
            if k < 0 or j < 0 or i < 0 or k >= nz or j >= ny or i >= nx or not mask[k, j, i]:
                continue
            least = radius + LEAST_GAIN
            further, its_code = nearest_crossing(z1, y1, x1, least, codes, labels, volume, levels)
            if further > least:
                z, y, x, radius, code = z1, y1, x1, further, its_code
        centres[q, 0], centres[q, 1], centres[q, 2] = z, y, x
        radii[q] = radius


@jit
def drop_contained(centres: Doubles, radii: Doubles, slack: float, first_at: Codes, kept: Mask) -> None:
    """Drop balls that a larger ball near them contains.

    Parameters
    ----------
    centres : ndarray of shape (n, 3), float64
    radii : ndarray of shape (n,), float64
        Falling.
    slack : float
        How far a ball may stand out of the one that contains it.
    first_at : ndarray of shape (nz, ny, nx), integer
        Filled with -1; work space.
    kept : ndarray of shape (n,), bool
        Written.
    """
    nz, ny, nx = first_at.shape
    for q in range(len(radii)):
        z, y, x = centres[q]
        k0, j0, i0 = round(z), round(y), round(x)
        kept[q] = True
        for c in range(27):
            k, j, i = k0 + c // 9 - 1, j0 + c // 3 % 3 - 1, i0 + c % 3 - 1
            if min(k, j, i) < 0 or k >= nz or j >= ny or i >= nx or first_at[k, j, i] < 0:
                continue
            w, v, u = centres[first_at[k, j, i]]
            room = radii[first_at[k, j, i]] + slack - radii[q]
            if (w - z) ** 2 + (v - y) ** 2 + (u - x) ** 2 <= room * room:
                kept[q] = False
                break
        if kept[q] and first_at[k0, j0, i0] < 0:
            first_at[k0, j0, i0] = q


@jit
def paint_balls(
    centres: Doubles, radii: Doubles, margin: float, mask: Mask, thickness: Floats, first: int, last: int
) -> None:
    """Give each voxel the diameter of the largest ball that covers it, in the sections `first` to `last` - 1.

    Parameters
    ----------
    centres : ndarray of shape (n, 3), float64
    radii : ndarray of shape (n,), float64
        Falling, so that the first ball to cover a voxel is the largest.
    margin : float
        How much farther than its radius a ball reaches.
    mask : ndarray of shape (nz, ny, nx), bool
        Which voxels to paint.
    thickness : ndarray of shape (nz, ny, nx), float32
        Filled with 0; written.
    """
    _, ny, nx = mask.shape
    for q in range(len(radii)):
        z, y, x = centres[q]
        reach = radii[q] + margin
        diameter = np.float32(2 * radii[q])
        for k in range(max(ceil(z - reach), first), min(floor(z + reach) + 1, last)):
            in_plane = reach * reach - (k - z) * (k - z)
            half = sqrt(in_plane)
            for j in range(max(ceil(y - half), 0), min(floor(y + half) + 1, ny)):
                half_row = sqrt(max(in_plane - (j - y) * (j - y), 0.0))
                for i in range(max(ceil(x - half_row), 0), min(floor(x + half_row) + 1, nx)):
                    if mask[k, j, i] and thickness[k, j, i] == 0:
                        thickness[k, j, i] = diameter


@jit
def spread(thickness: Floats, voxels: Codes, values: Floats) -> int:
    """Find the value of the nearest painted neighbour of voxels that no ball covers.

    Parameters
    ----------
    thickness : ndarray of shape (nz, ny, nx), float32
        0 where no ball has painted.
    voxels : ndarray of shape (n,), int64
        Flat indices of the voxels.
    values : ndarray of shape (n,), float32
        Mean of the nearest painted neighbours, written; 0 without any.

    Returns
    -------
    int
        Number of voxels that have a value.
    """
    nz, ny, nx = thickness.shape
    found = 0
    for q in range(len(voxels)):
        k, j, i = voxels[q] // (ny * nx), voxels[q] // nx % ny, voxels[q] % nx
        values[q] = 0
        for length in range(1, 4):
            total, count = 0.0, 0
            for c in range(27):
                dz, dy, dx = c // 9 - 1, c // 3 % 3 - 1, c % 3 - 1
                z, y, x = k + dz, j + dy, i + dx
                if dz * dz + dy * dy + dx * dx != length or min(z, y, x) < 0 or z >= nz or y >= ny or x >= nx:
                    continue
                if thickness[z, y, x] > 0:
                    total += thickness[z, y, x]
                    count += 1
            if count > 0:
                values[q] = total / count
                found += 1
                break
    return found
