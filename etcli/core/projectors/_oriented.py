"""Loops of the oriented projector, over boxes of a volume and the groups of rays that cross them.

A box is copied to a buffer with zeros around it, in the layout that `_rays` needs. Its axes are named by
their roles: planes (p) lie across the beam and consist of rows (a) and columns (b). Neighbouring pixels (l)
of the detector are traced together; they form lines (m).
"""

from functools import cache
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit
from etcli.core.projectors._rays import DEPTH, PAIR, trace
from etcli.core.projectors._simd import LANES, clear, copy

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Three = tuple[int, int, int]

BOX = (DEPTH, 256, 128)
"""Largest size of a box in voxels: it stays in the cache while one view after another is traced."""
BLOCK = 16
"""Columns copied before the next plane, so that whole cache lines are used whichever axis is contiguous."""


def pitches(shape: Three) -> tuple[int, int]:
    """Return the pitches, in floats, from plane to plane and from row to row of a box with its margin."""
    vectors = -(-PAIR * (shape[2] + 3) // LANES)
    row = (vectors | 1) * LANES  # odd, or the rows would compete for the same lines of the cache
    return row * (shape[1] + 2), row


@jit
def load_box(
    volume: Floats, at: int, strides: Three, shape: Three, pitch: tuple[int, int], box: Floats
) -> None:
    """Copy voxels of a volume, from element ``at``, to a box of zeros: each as upper and lower of a pair."""
    for a in range(shape[1]):
        for block in range(0, shape[2], BLOCK):
            for p in range(shape[0]):
                for b in range(block, min(block + BLOCK, shape[2])):
                    value = volume[at + p * strides[0] + a * strides[1] + b * strides[2]]
                    place = p * pitch[0] + a * pitch[1] + (b + 1) * PAIR
                    box[place + 1] = value
                    box[place + pitch[1]] = value


@jit
def unload_box(
    volume: Floats, at: int, strides: Three, shape: Three, pitch: tuple[int, int], box: Floats
) -> None:
    """Add a box to a volume: the transpose of `load_box`."""
    for a in range(shape[1]):
        for block in range(0, shape[2], BLOCK):
            for p in range(shape[0]):
                for b in range(block, min(block + BLOCK, shape[2])):
                    place = p * pitch[0] + a * pitch[1] + (b + 1) * PAIR
                    target = at + p * strides[0] + a * strides[1] + b * strides[2]
                    volume[target] += box[place + 1] + box[place + pitch[1]]


@inline
def _meeting(
    first: float, ray: float, line: float, plane: float, n_planes: int, last: int, lines: tuple[int, int]
) -> tuple[int, int]:
    """Return the range of those ``lines`` m, first and end, that have a point between 0 and ``last``."""
    low = first + min((LANES - 1) * ray, 0.0) + min((n_planes - 1) * plane, 0.0)
    high = first + max((LANES - 1) * ray, 0.0) + max((n_planes - 1) * plane, 0.0)
    if abs(line) < 1e-9:
        return lines if low < last and high > 0 else (0, 0)
    # low + m line < last and high + m line > 0
    enter, leave = -high / line, (last - low) / line
    return (
        max(lines[0], floor(min(enter, leave)) + 1),
        min(lines[1], ceil(max(enter, leave))),
    )


@cache
def tracing(transposed: int) -> Any:
    """Return the kernel that projects a box, or the kernel of the transpose."""

    @jit
    def trace_box(
        box: Floats,
        shape: Three,
        pitch: tuple[int, int],
        start: Three,
        views: Ints,
        frames: Doubles,
        n_neighbours: Ints,
        scale: Doubles,
        images: Floats,
        n_pixels: int,
    ) -> None:
        """Add the projections of a box, whose first voxel is ``start``, to images.

        A frame has a row for a and one for b: the change from neighbour to neighbour, from line to line and
        from plane to plane, and the value for the first neighbour, line and plane.
        """
        border = np.empty(LANES, np.float32)
        last_a, last_b = shape[1] + 1, shape[2] + 1
        for k in range(views.size):
            n_l = n_neighbours[k]
            (ray_a, line_a, plane_a, a0), (ray_b, line_b, plane_b, b0) = frames[k]
            a0 += start[0] * plane_a - start[1] + 1
            b0 += start[0] * plane_b - start[2] + 1
            for first in range(0, n_l, LANES):
                a1, b1 = a0 + first * ray_a, b0 + first * ray_b
                lines = _meeting(a1, ray_a, line_a, plane_a, shape[0], last_a, (0, n_pixels // n_l))
                lines = _meeting(b1, ray_b, line_b, plane_b, shape[0], last_b, lines)
                for m in range(*lines):
                    a, b = a1 + m * line_a, b1 + m * line_b
                    pixel = views[k] * n_pixels + m * n_l + first
                    if first + LANES <= n_l:
                        trace(
                            box, pitch[0], pitch[1], shape[0], a, b, ray_a, ray_b, plane_a, plane_b,
                            last_a, last_b, scale[k], images, pixel, transposed,
                        )  # fmt: skip
                        continue
                    clear(border, 0, LANES)
                    copy(border, 0, images, pixel, n_l - first)
                    trace(
                        box, pitch[0], pitch[1], shape[0], a, b, ray_a, ray_b, plane_a, plane_b,
                        last_a, last_b, scale[k], border, 0, transposed,
                    )  # fmt: skip
                    if not transposed:
                        copy(images, pixel, border, 0, n_l - first)

    return trace_box
