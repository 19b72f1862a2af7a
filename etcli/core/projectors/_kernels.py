"""Loops of the slab projector: one projection and one back-projection kernel, for all footprints.

Both work tile by tile. A tile of the volume fits into the first-level cache and is combined with all views
before the next one, so that there is little memory traffic per operation. It is kept in a contiguous scratch
array with zeros around it, so that no loop has to check where the volume ends. The weights of a tile in a
view are tabulated by vector instructions, then applied to rows of neighbouring slices.
"""

from functools import cache
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit
from etcli.core.projectors._footprints import AREA, TAPS
from etcli.core.projectors._simd import (
    GROUP,
    LANES,
    add_rows,
    address,
    clear,
    copy,
    tabulate,
    transpose_block,
)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

SPAN = LANES - 1
"""Voxels per line of a projection's tile of ``GROUP`` lines, so that at most ``LANES`` rays belong to it."""

TILE_Z, TILE_X = 4, LANES
"""Size of a back-projection's tile, in voxels."""
VOXELS = TILE_Z * TILE_X
PIXELS = TILE_Z + TILE_X
"""Largest number of detector pixels that the tile covers in a view: its diagonal and the widest footprint."""


def aligned_empty(shape: tuple[int, ...]) -> Floats:
    """Return an uninitialised array that starts on a cache line, so that vectors do not straddle two lines.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.

    Returns
    -------
    ndarray of shape `shape`, float32
        C-contiguous, at an address that is a multiple of 64 bytes.
    """
    size = int(np.prod(shape))
    raw = np.empty(size + LANES, np.float32)
    start = -raw.ctypes.data // 4 % LANES
    return raw[start : start + size].reshape(shape)


def _margin(formula: int) -> int:
    """Return how far the rays of a tile reach beyond it: half the shear of its lines at 45°, and the taps."""
    return 1 + TAPS[formula] // 2


def projection_scratch(formula: int, width: int) -> tuple[Floats, Ints, Floats]:
    """Return the scratch arrays of a projection: a tile, and the table of a view."""
    taps = TAPS[formula]
    tile = aligned_empty((GROUP * (SPAN + 2 * _margin(formula) + 1) * width,))
    return tile, np.empty(GROUP * LANES, np.int64), aligned_empty((taps * GROUP * LANES,))


def backprojection_scratch(formula: int, width: int) -> tuple[Floats, Floats, Ints, Floats]:
    """Return the scratch arrays of a back-projection: a tile, border pixels, and the table of a group."""
    taps = TAPS[formula]
    tile, border = aligned_empty((VOXELS * width,)), aligned_empty((GROUP * PIXELS * width,))
    return tile, border, np.empty(GROUP * VOXELS, np.int64), aligned_empty((taps * GROUP * VOXELS,))


@cache
def projection(formula: int, width: int) -> Any:
    """Return the projection kernel for rows of ``width`` slices."""
    taps, fewer = TAPS[formula], TAPS[formula] - 1
    margin = _margin(formula)
    pitch = SPAN + 2 * margin + 1

    @jit
    def project(
        volume: Floats,
        shape: tuple[int, int],
        strides: tuple[int, int],
        views: Ints,
        along: Doubles,
        across: Doubles,
        parameters: Doubles,
        centre: Doubles,
        n_detector: int,
        tile: Floats,
        addresses: Ints,
        weights: Floats,
        sinogram: Floats,
    ) -> None:
        """Add the projection to views whose rays cross the lines of the volume.

        The lines are its rows, or its columns if it is transposed. Voxel u of line v, both counted from the
        centre, is at the detector position ``u along + v across + centre``.
        """
        n_lines, n_u = shape
        for u0 in range(-margin - 1, n_u + margin, SPAN):
            low, high = max(u0 - margin, 0), min(u0 - margin + pitch, n_u)
            for v0 in range(0, n_lines, GROUP):
                if high - low < pitch or n_lines - v0 < GROUP:
                    clear(tile, 0, GROUP * pitch * width)
                for v in range(min(GROUP, n_lines - v0)):
                    for u in range(low, high):
                        source = ((v0 + v) * strides[0] + u * strides[1]) * width
                        copy(tile, (v * pitch + u - u0 + margin) * width, volume, source, width)
                for k in range(views.size):
                    step = 1 / along[k]
                    shear = -across[k] * step
                    # position of ray 0 between the two middle lines: it decides which tile a ray belongs to
                    lines = v0 + (GROUP - 1) / 2 - (n_lines - 1) / 2
                    middle = (n_u - 1) / 2 - centre[k] * step + lines * shear
                    edge, next_edge = (u0 - middle) * along[k], (u0 + SPAN - middle) * along[k]
                    first = max(ceil(min(edge, next_edge)), 0)
                    last = min(ceil(max(edge, next_edge)), n_detector)
                    if first >= last:
                        continue
                    start = middle + first * step - (GROUP - 1) / 2 * shear - u0 + margin
                    for v in range(GROUP):
                        line = address(tile, v * pitch * width)
                        tabulate(
                            addresses, weights, v * LANES, start + v * shear, step, line, parameters, k,
                            formula, taps, width, LANES,
                        )  # fmt: skip
                    row = views[k] * n_detector
                    narrow = formula == AREA and parameters[k, 0] >= -0.5  # below 37 degrees
                    for i in range(first, last):
                        at, entry = (row + i) * width, i - first
                        if narrow:
                            add_rows(sinogram, at, addresses, weights, entry, GROUP, fewer, width, LANES)
                        else:
                            add_rows(sinogram, at, addresses, weights, entry, GROUP, taps, width, LANES)

    return project


@inline
def _row_of_pixels(
    sinogram: Floats, view: int, first: int, n_detector: int, border: Floats, at: int, width: int
) -> int:
    """Return the address of pixels of a view: in place, or of a copy with zeros beyond the detector."""
    place: int = address(sinogram, (view * n_detector + first) * width)
    if first >= 0 and first + PIXELS <= n_detector:
        return place
    clear(border, at, PIXELS * width)
    low, high = max(first, 0), min(first + PIXELS, n_detector)
    if low < high:
        source = (view * n_detector + low) * width
        copy(border, at + (low - first) * width, sinogram, source, (high - low) * width)
    place = address(border, at)
    return place


@cache
def backprojection(formula: int, width: int) -> Any:
    """Return the back-projection kernel for rows of ``width`` slices."""
    taps = TAPS[formula]

    @jit
    def backproject(
        sinogram: Floats,
        shape: tuple[int, int],
        middle: tuple[float, float],
        cos: Doubles,
        sin: Doubles,
        parameters: Doubles,
        centre: Doubles,
        n_detector: int,
        tile: Floats,
        border: Floats,
        addresses: Ints,
        weights: Floats,
        volume: Floats,
    ) -> None:
        """Sum, for every voxel, the weighted pixels near its detector position ``x cos + z sin + centre``.

        x and z are relative to ``middle`` (z, x), which is relative to the first voxel.
        """
        nz, nx = shape
        for x0 in range(0, nx, TILE_X):
            for z0 in range(0, nz, TILE_Z):
                clear(tile, 0, VOXELS * width)
                k = 0  # views in the table
                for view in range(cos.size):
                    c, s = cos[view], sin[view]
                    t = (x0 - middle[1]) * c + (z0 - middle[0]) * s + centre[view]
                    lowest = t + min(0, (TILE_X - 1) * c) + min(0, (TILE_Z - 1) * s)
                    pixel = floor(lowest + parameters[view, 0])
                    if pixel >= n_detector or pixel + PIXELS <= 0:
                        continue
                    row = _row_of_pixels(sinogram, view, pixel, n_detector, border, k * PIXELS * width, width)
                    for z in range(TILE_Z):
                        tabulate(
                            addresses, weights, k * VOXELS + z * TILE_X, t + z * s - pixel, c, row,
                            parameters, view, formula, taps, width, VOXELS,
                        )  # fmt: skip
                    k += 1
                    if k == GROUP:
                        for i in range(VOXELS):
                            add_rows(tile, i * width, addresses, weights, i, GROUP, taps, width, VOXELS)
                        k = 0
                for n in range(k):
                    for i in range(VOXELS):
                        entry = n * VOXELS + i
                        add_rows(tile, i * width, addresses, weights, entry, 1, taps, width, VOXELS)
                for z in range(min(TILE_Z, nz - z0)):
                    count = min(TILE_X, nx - x0) * width
                    copy(volume, ((z0 + z) * nx + x0) * width, tile, z * TILE_X * width, count)

    return backproject


@jit
def transpose(
    source: int,
    strides: tuple[int, int],
    target: int,
    target_strides: tuple[int, int],
    shape: tuple[int, int, int],
) -> None:
    """Swap the last two axes, of at least 16 x 16 floats, given addresses and strides in bytes."""
    n, n_rows, n_columns = shape
    for k in range(n):
        for first in range(0, n_columns, LANES):
            column = min(first, n_columns - LANES)  # the last block overlaps its neighbour
            for r in range(0, n_rows, LANES):
                row = min(r, n_rows - LANES)
                transpose_block(
                    source + k * strides[0] + row * strides[1] + column * 4,
                    strides[1],
                    target + k * target_strides[0] + column * target_strides[1] + row * 4,
                    target_strides[1],
                )
