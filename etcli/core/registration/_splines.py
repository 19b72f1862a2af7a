"""Interpolation by cubic B-splines: along an axis of an image, and at the points of another grid."""

from math import floor

import numpy as np

from etcli.core.jit import jit

POLE = 3**0.5 - 2  # of the filter: Unser, Aldroubi & Eden, IEEE Trans. Signal Process. 41, 821 (1993)
HORIZON = 28  # pixels beyond which the pole's powers are below the precision of a float64
LANES = 16  # lines filtered together


@jit
def interpolate_axis(image, first, weights, cubic, out):  # type: ignore[no-untyped-def]
    """Write the weighted sums of four pixels along the first axis, from pixel i + first on, to row i.

    The pixels are B-spline coefficients where ``cubic``, and the image is mirrored at its outermost pixels.
    """
    n, n_lines = image.shape
    lines = np.empty((n, LANES))
    for start in range(0, n_lines, LANES):
        width = min(LANES, n_lines - start)
        for i in range(n):
            for j in range(width):
                lines[i, j] = image[i, start + j]
            for j in range(width, LANES):
                lines[i, j] = 0
        if cubic and n > 1:
            _find_coefficients(lines)
        for i in range(out.shape[0]):
            a, b = lines[_mirrored(i + first, n)], lines[_mirrored(i + first + 1, n)]
            c, d = lines[_mirrored(i + first + 2, n)], lines[_mirrored(i + first + 3, n)]
            for j in range(width):
                total = weights[0] * a[j] + weights[1] * b[j] + weights[2] * c[j] + weights[3] * d[j]
                out[i, start + j] = total


@jit
def _find_coefficients(lines):  # type: ignore[no-untyped-def]
    """Replace samples along the first axis by the coefficients of the spline through them."""
    n = lines.shape[0]
    first = np.zeros(LANES)
    power = 1.0
    for i in range(HORIZON):
        mirrored = lines[_mirrored(i, n)]
        for j in range(LANES):
            first[j] += power * mirrored[j]
        power *= POLE
    lines[0] = first
    for i in range(1, n):
        for j in range(LANES):
            lines[i, j] += POLE * lines[i - 1, j]
    gain = (1 - POLE) * (1 - 1 / POLE)
    for j in range(LANES):
        lines[n - 1, j] = gain * POLE / (POLE**2 - 1) * (POLE * lines[n - 2, j] + lines[n - 1, j])
    for i in range(n - 2, -1, -1):
        for j in range(LANES):
            lines[i, j] = POLE * (lines[i + 1, j] - gain * lines[i, j])


@jit
def interpolate_points(image, inverse, offset, cubic, fill, out):  # type: ignore[no-untyped-def]
    """Write the image at inverse @ (row, column) + offset to each pixel, and ``fill`` outside the image.

    The pixels of the image are B-spline coefficients where ``cubic``; a pixel reaches half a pixel around its
    centre.
    """
    ny, nx = image.shape
    by_y, by_x = np.empty(4), np.empty(4)
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            y = inverse[0, 0] * row + inverse[0, 1] * column + offset[0]
            x = inverse[1, 0] * row + inverse[1, 1] * column + offset[1]
            if y < -0.5 or y > ny - 0.5 or x < -0.5 or x > nx - 0.5:
                out[row, column] = fill
                continue
            y0, x0 = floor(y), floor(x)
            spline_weights(y - y0, cubic, by_y)
            spline_weights(x - x0, cubic, by_x)
            inside = 1 <= y0 < ny - 2 and 1 <= x0 < nx - 2
            total = 0.0
            for i in range(4):
                line = image[y0 - 1 + i if inside else _mirrored(y0 - 1 + i, ny)]
                along = 0.0
                for j in range(4):
                    along += by_x[j] * line[x0 - 1 + j if inside else _mirrored(x0 - 1 + j, nx)]
                total += by_y[i] * along
            out[row, column] = total


@jit
def spline_weights(fraction, cubic, weights):  # type: ignore[no-untyped-def]
    """Write the weights of four pixels for a point at a fraction between the second and the third."""
    rest = 1 - fraction
    if cubic:
        weights[0], weights[3] = rest**3 / 6, fraction**3 / 6
        weights[1] = (4 - 6 * fraction**2 + 3 * fraction**3) / 6
        weights[2] = (4 - 6 * rest**2 + 3 * rest**3) / 6
    else:
        weights[0], weights[1], weights[2], weights[3] = 0.0, rest, fraction, 0.0


@jit
def _mirrored(i, n):  # type: ignore[no-untyped-def]
    """Return the pixel of a line of ``n`` that pixel ``i`` of its mirrored continuation shows."""
    if 0 <= i < n:
        return i
    if n == 1:
        return 0
    i = abs(i) % (2 * n - 2)
    return min(i, 2 * n - 2 - i)
