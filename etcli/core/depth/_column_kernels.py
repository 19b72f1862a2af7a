"""Kernels for sums of round Gaussians in an image, each cut to a box of pixels.

A column n has the value ``height[n] bell_x[n, x - x0] bell_y[n, y - y0]`` at the pixels x0 <= x < x1,
y0 <= y < y1 of its box ``boxes[n] = (x0, x1, y0, y1)`` and 0 elsewhere. Derivatives are by x, y, width and
height, in this order.
"""

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]

X, Y, WIDTH, HEIGHT = range(4)


@jit
def add_columns(boxes: Integers, bell_x: Doubles, bell_y: Doubles, height: Doubles, image: Doubles) -> None:
    """Add all columns to an image."""
    for n in range(len(boxes)):
        x0, x1, y0, y1 = boxes[n]
        for y in range(y0, y1):
            factor = height[n] * bell_y[n, y - y0]
            for x in range(x0, x1):
                image[y, x] += factor * bell_x[n, x - x0]


@jit
def project(boxes: Integers, bell_x: Doubles, bell_y: Doubles, image: Doubles, out: Doubles) -> None:
    """Write the sum of an image times each column of height 1."""
    for n in range(len(boxes)):
        x0, x1, y0, y1 = boxes[n]
        total = 0.0
        for y in range(y0, y1):
            row = 0.0
            for x in range(x0, x1):
                row += bell_x[n, x - x0] * image[y, x]
            total += bell_y[n, y - y0] * row
        out[n] = total


@jit
def overlaps(
    pairs: Integers, boxes: Integers, bell_x: Doubles, bell_y: Doubles, weight: Doubles, out: Doubles
) -> None:
    """Write the weighted sum of the products of both columns of each pair, both of height 1."""
    for p in range(len(pairs)):
        i, j = pairs[p]
        x0, x1 = max(boxes[i, 0], boxes[j, 0]), min(boxes[i, 1], boxes[j, 1])
        y0, y1 = max(boxes[i, 2], boxes[j, 2]), min(boxes[i, 3], boxes[j, 3])
        total = 0.0
        for y in range(y0, y1):
            row = 0.0
            for x in range(x0, x1):
                row += weight[y, x] * bell_x[i, x - boxes[i, 0]] * bell_x[j, x - boxes[j, 0]]
            total += row * bell_y[i, y - boxes[i, 2]] * bell_y[j, y - boxes[j, 2]]
        out[p] = total


@inline
def _derivatives(place: Doubles, x: int, y: int, shape: float, out: Doubles) -> None:
    """Write the derivatives of a column (x, y, width, height) at a pixel where its bell is ``shape``."""
    dx, dy, width, height = x - place[X], y - place[Y], place[WIDTH], place[HEIGHT]
    value = height * shape / (width * width)
    out[X] = value * dx
    out[Y] = value * dy
    out[WIDTH] = value * (dx * dx + dy * dy) / width
    out[HEIGHT] = shape


@jit
def project_derivatives(
    boxes: Integers, bell_x: Doubles, bell_y: Doubles, columns: Doubles, image: Doubles, out: Doubles
) -> None:
    """Write the sums of an image times the four derivatives of each column."""
    row = np.empty(4)
    out[:] = 0
    for n in range(len(boxes)):
        x0, x1, y0, y1 = boxes[n]
        for y in range(y0, y1):
            for x in range(x0, x1):
                _derivatives(columns[n], x, y, bell_x[n, x - x0] * bell_y[n, y - y0], row)
                for a in range(4):
                    out[n, a] += row[a] * image[y, x]


@jit
def derivative_products(
    pairs: Integers, boxes: Integers, bell_x: Doubles, bell_y: Doubles, columns: Doubles, weight: Doubles,
    out: Doubles,
) -> None:  # fmt: skip
    """Write the weighted sums of the products of the derivatives of both columns of each pair, 4 by 4."""
    first, second = np.empty(4), np.empty(4)
    out[:] = 0
    for p in range(len(pairs)):
        i, j = pairs[p]
        x0, x1 = max(boxes[i, 0], boxes[j, 0]), min(boxes[i, 1], boxes[j, 1])
        y0, y1 = max(boxes[i, 2], boxes[j, 2]), min(boxes[i, 3], boxes[j, 3])
        for y in range(y0, y1):
            bell_i, bell_j = bell_y[i, y - boxes[i, 2]], bell_y[j, y - boxes[j, 2]]
            for x in range(x0, x1):
                _derivatives(columns[i], x, y, bell_i * bell_x[i, x - boxes[i, 0]], first)
                _derivatives(columns[j], x, y, bell_j * bell_x[j, x - boxes[j, 0]], second)
                for a in range(4):
                    weighted = weight[y, x] * first[a]
                    for b in range(4):
                        out[p, a, b] += weighted * second[b]
