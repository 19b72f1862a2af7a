"""The loops of the slab projector: one projection and one back-projection for every interpolation.

Both work tile by tile. A tile of the volume is small enough for the first-level cache and meets all views
before the next one, so that memory traffic is small against arithmetic; it lives in a contiguous scratch
array with zeros around it, so that no loop asks where the volume ends.
"""

from functools import lru_cache
from math import ceil, floor
from typing import Any

import numba
import numpy as np

from etcli.core.jit import jit
from etcli.core.projectors._simd import add_rows, copy

LINES, ALONG = 4, 16
"""Tile of the projection: lines that a ray meets in one step, voxels along each."""
REACH = 2
"""Voxels around the tile that its rays touch: half the shear of its lines at 45 degrees, rounded up."""
PITCH = ALONG + 2 * REACH + 1
TILE_Z, TILE_X = 4, 16
"""Tile of the back-projection."""
RAYS = TILE_X + TILE_Z + 4
"""Detector pixels that a tile touches in one view, at most."""

BLOCK = 16
"""Pixels that are transposed at a time: a cache line of every slice."""

f4 = np.float32


@numba.njit(error_model="numpy")
def _pair(position, weight):  # type: ignore[no-untyped-def]
    """Return the first of two neighbours of a non-negative position and their linear weights."""
    first = int(position)
    upper = f4(position - first) * weight
    return first, (weight - upper, upper)


@lru_cache(maxsize=None)
def projection(width: int) -> Any:
    """Return the kernel of Joseph's projection for rows of ``width`` slices."""

    @jit
    def project(volume, n_v, n_u, v_stride, u_stride, views, along, across, centre, n_detector, tile, sino):  # type: ignore[no-untyped-def]
        mid_v, mid_u = (n_v - 1) / 2, (n_u - 1) / 2
        for u0 in range(-REACH - 1, n_u + REACH, ALONG):
            u1 = u0 + ALONG
            low, high = max(u0 - REACH, 0), min(u1 + REACH + 1, n_u)
            for v0 in range(0, n_v, LINES):
                tile[:] = 0
                for v in range(v0, min(v0 + LINES, n_v)):
                    for u in range(low, high):
                        at = ((v - v0) * PITCH + u - u0 + REACH) * width
                        copy(tile, at, volume, (v * v_stride + u * u_stride) * width, width)
                for k in range(views.size):
                    step = 1 / along[k]
                    shear = -across[k] * step
                    weight = f4(abs(step))
                    # where ray 0 passes the middle of the tile's lines
                    start = mid_u - centre * step + (v0 + (LINES - 1) / 2 - mid_v) * shear
                    edge0, edge1 = (u0 - start) * along[k], (u1 - start) * along[k]
                    first = max(ceil(min(edge0, edge1)), 0)
                    last = min(ceil(max(edge0, edge1)), n_detector)
                    start -= u0 - REACH
                    row = views[k] * n_detector
                    for i in range(first, last):
                        p = start + i * step
                        j0, w0 = _pair(p - 1.5 * shear, weight)
                        j1, w1 = _pair(p - 0.5 * shear, weight)
                        j2, w2 = _pair(p + 0.5 * shear, weight)
                        j3, w3 = _pair(p + 1.5 * shear, weight)
                        offsets = (
                            j0 * width,
                            (PITCH + j1) * width,
                            (2 * PITCH + j2) * width,
                            (3 * PITCH + j3) * width,
                        )
                        add_rows(
                            sino,
                            (row + i) * width,
                            (tile, tile, tile, tile),
                            offsets,
                            (w0, w1, w2, w3),
                            width,
                        )

    return project


@numba.njit(error_model="numpy")
def _taps(position, reach, slope, scale):  # type: ignore[no-untyped-def]
    """Return the first of the two pixels around ``position + reach - 1`` and the weights of both."""
    first = int(position)
    distance = f4((1 - reach) - (position - first))
    lower = scale * (f4(1) - abs(distance) * slope)
    upper = scale * max(f4(0), f4(1) - (distance + f4(1)) * slope)
    return first, (lower, upper)


@numba.njit(error_model="numpy")
def _extract(sino, view, first, n_detector, width, pad):  # type: ignore[no-untyped-def]
    """Copy some pixels of a view, zero outside the detector."""
    for r in range(RAYS):
        if 0 <= first + r < n_detector:
            copy(pad, r * width, sino, (view * n_detector + first + r) * width, width)
        else:
            pad[r * width : (r + 1) * width] = 0


@lru_cache(maxsize=None)
def backprojection(width: int) -> Any:
    """Return the kernel of the voxel-driven back-projection for rows of ``width`` slices.

    In each view a voxel at the detector position t takes from the pixels i near it with the weight
    ``scale * max(0, 1 - |i - t| / reach)``.
    """

    @jit
    def backproject(sino, cos, sin, reach, scale, centre, n_detector, nz, nx, tile, pad_a, pad_b, volume):  # type: ignore[no-untyped-def]
        mid_z, mid_x = (nz - 1) / 2, (nx - 1) / 2
        n_views = cos.size
        for x0 in range(0, nx, TILE_X):
            for z0 in range(0, nz, TILE_Z):
                tile[:] = 0
                for a in range(0, n_views, 2):
                    b = min(a + 1, n_views - 1)
                    scale_a, slope_a = f4(scale[a]), f4(1 / reach[a])
                    scale_b, slope_b = f4(scale[b] if b > a else 0), f4(1 / reach[b])
                    ta = (x0 - mid_x) * cos[a] + (z0 - mid_z) * sin[a] + centre + 1 - reach[a]
                    tb = (x0 - mid_x) * cos[b] + (z0 - mid_z) * sin[b] + centre + 1 - reach[b]
                    first_a = floor(ta + min(0, (TILE_X - 1) * cos[a]) + min(0, (TILE_Z - 1) * sin[a]))
                    first_b = floor(tb + min(0, (TILE_X - 1) * cos[b]) + min(0, (TILE_Z - 1) * sin[b]))
                    ta -= first_a
                    tb -= first_b
                    source_a, base_a = sino, (a * n_detector + first_a) * width
                    source_b, base_b = sino, (b * n_detector + first_b) * width
                    if first_a < 0 or first_a + RAYS > n_detector:
                        _extract(sino, a, first_a, n_detector, width, pad_a)
                        source_a, base_a = pad_a, 0
                    if first_b < 0 or first_b + RAYS > n_detector:
                        _extract(sino, b, first_b, n_detector, width, pad_b)
                        source_b, base_b = pad_b, 0
                    for z in range(TILE_Z):
                        for x in range(TILE_X):
                            i, wa = _taps(ta + x * cos[a] + z * sin[a], reach[a], slope_a, scale_a)
                            j, wb = _taps(tb + x * cos[b] + z * sin[b], reach[b], slope_b, scale_b)
                            add_rows(
                                tile,
                                (z * TILE_X + x) * width,
                                (source_a, source_b),
                                (base_a + i * width, base_b + j * width),
                                (wa, wb),
                                width,
                            )
                for z in range(min(TILE_Z, nz - z0)):
                    n = min(TILE_X, nx - x0) * width
                    copy(volume, ((z0 + z) * nx + x0) * width, tile, z * TILE_X * width, n)

    return backproject


@jit
def slices_innermost(rows, slab):  # type: ignore[no-untyped-def]
    """Copy (n, n_slices, nx) to (n, nx, width), with zeros for the slices that are missing."""
    n, n_slices, nx = rows.shape
    for k in range(n):
        for x0 in range(0, nx, BLOCK):
            for x in range(x0, min(x0 + BLOCK, nx)):
                for j in range(n_slices):
                    slab[k, x, j] = rows[k, j, x]
                slab[k, x, n_slices:] = 0


@jit
def slices_outward(slab, rows):  # type: ignore[no-untyped-def]
    """Copy (n, nx, width) to (n, n_slices, nx)."""
    n, n_slices, nx = rows.shape
    for k in range(n):
        for x0 in range(0, nx, BLOCK):
            for j in range(n_slices):
                for x in range(x0, min(x0 + BLOCK, nx)):
                    rows[k, j, x] = slab[k, x, j]
