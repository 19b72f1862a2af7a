"""Kernels of the rotation of a volume about the tilt axis, as sparse matrices on planes across the axis."""

from math import cos, floor, sin

import numpy as np

from etcli.core.jit import jit
from etcli.core.multislice._row_sums import add_1, add_8, add_32, add_64


@jit
def _axis_weights(position, taps, kind, weights):  # type: ignore[no-untyped-def]
    """Fill the weights of ``taps`` neighbours of a position, with the sum 1; return the first neighbour."""
    first = floor(position) - taps // 2 + 1
    total = 0.0
    for k in range(taps):
        d = abs(position - (first + k))
        if kind == 0:  # linear
            w = max(1.0 - d, 0.0)
        elif kind == 1:  # cubic convolution, a = -1/2
            w = (1.5 * d - 2.5) * d * d + 1.0 if d < 1 else ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
            w = w if d < 2 else 0.0
        elif d < 1e-9:
            w = 1.0
        else:  # Lanczos with as many lobes as half of the taps
            lobes = taps / 2
            x = np.pi * d
            w = lobes * sin(x) * sin(x / lobes) / (x * x) if d < lobes else 0.0
        weights[k] = w
        total += w
    for k in range(taps):
        weights[k] /= total
    return first


@jit
def slab_matrix(tilt_rad, n_z, n_x, n_across, n_slabs, n_binned, taps, kind):  # type: ignore[no-untyped-def]
    """Return the sparse matrix from planes (z, x) to the slabs (slab, x') of the rotated plane.

    Row ``slab * n_across + x'`` adds up ``n_binned`` slices. The three arrays are those of the compressed
    sparse row format.
    """
    c, s = cos(tilt_rad), sin(tilt_rad)
    wx, wz = np.empty(taps), np.empty(taps)
    side = n_binned + taps + 2
    patch = np.zeros((side, side))
    n_rows = n_slabs * n_across
    starts = np.zeros(n_rows + 1, np.int64)
    room = n_rows * taps * taps
    columns, weights = np.empty(room, np.int32), np.empty(room, np.float32)
    filled = 0
    for slab in range(n_slabs):
        for across in range(n_across):
            x = across - (n_across - 1) / 2
            low_x = low_z = 1 << 30
            for b in range(n_binned):
                z = slab * n_binned + b - (n_slabs * n_binned - 1) / 2
                low_x = min(low_x, floor(x * c - z * s + (n_x - 1) / 2) - taps // 2 + 1)
                low_z = min(low_z, floor(x * s + z * c + (n_z - 1) / 2) - taps // 2 + 1)
            for b in range(n_binned):
                z = slab * n_binned + b - (n_slabs * n_binned - 1) / 2
                first_x = _axis_weights(x * c - z * s + (n_x - 1) / 2, taps, kind, wx)
                first_z = _axis_weights(x * s + z * c + (n_z - 1) / 2, taps, kind, wz)
                for i in range(taps):
                    for j in range(taps):
                        patch[first_z - low_z + i, first_x - low_x + j] += wz[i] * wx[j]
            while filled + side * side > columns.size:
                columns, weights = _longer(columns), _longer(weights)
            for i in range(side):
                for j in range(side):
                    w = patch[i, j]
                    patch[i, j] = 0.0
                    if abs(w) > 1e-7 and 0 <= low_z + i < n_z and 0 <= low_x + j < n_x:
                        columns[filled] = (low_z + i) * n_x + low_x + j
                        weights[filled] = w
                        filled += 1
            starts[slab * n_across + across + 1] = filled
    return starts, columns[:filled].copy(), weights[:filled].copy()


@jit
def _longer(array):  # type: ignore[no-untyped-def]
    """Return a copy of an array with twice the length."""
    longer = np.empty(2 * array.size, array.dtype)
    longer[: array.size] = array
    return longer


@jit
def transposed(starts, columns, weights, n_columns):  # type: ignore[no-untyped-def]
    """Return the transpose of a sparse matrix."""
    new_starts = np.zeros(n_columns + 1, np.int64)
    for k in range(columns.size):
        new_starts[columns[k] + 1] += 1
    for n in range(n_columns):
        new_starts[n + 1] += new_starts[n]
    rows, new_weights = np.empty(columns.size, np.int32), np.empty(columns.size, np.float32)
    at = new_starts[:-1].copy()
    for row in range(starts.size - 1):
        for k in range(starts[row], starts[row + 1]):
            n = columns[k]
            rows[at[n]], new_weights[at[n]] = row, weights[k]
            at[n] += 1
    return new_starts, rows, new_weights


@jit
def add_product(starts, columns, weights, source, scale, target, low, high):  # type: ignore[no-untyped-def]
    """Add ``scale`` times the product of a matrix and ``source`` to columns ``low`` to ``high`` of a target.

    Both arrays are (n, ny) and contiguous; a row of the matrix is applied to rows of the source.
    """
    at_columns, at_weights, pitch = columns.ctypes.data, weights.ctypes.data, source.shape[1]
    for row in range(target.shape[0]):
        first, last, j = starts[row], starts[row + 1], low
        if first == last:
            continue
        while j < high:
            a, b = source.ctypes.data + 4 * j, target.ctypes.data + 4 * (row * pitch + j)
            if j + 64 <= high:
                add_64(at_columns, at_weights, first, last, a, pitch, scale, b)
                j += 64
            elif j + 32 <= high:
                add_32(at_columns, at_weights, first, last, a, pitch, scale, b)
                j += 32
            elif j + 8 <= high:
                add_8(at_columns, at_weights, first, last, a, pitch, scale, b)
                j += 8
            else:
                add_1(at_columns, at_weights, first, last, a, pitch, scale, b)
                j += 1


@jit
def multiply(starts, columns, weights, source, scale, target, low, high):  # type: ignore[no-untyped-def]
    """Set columns ``low`` to ``high`` of ``target`` to ``scale`` times the product of `add_product`."""
    for row in range(target.shape[0]):
        target[row, low:high] = 0
    add_product(starts, columns, weights, source, scale, target, low, high)
