"""Kernels of the polynomial fit: values between voxels, and Newton steps from fixed sums of them."""

from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@jit
def _spline(at: float, n: int, index: Any, weight: Any) -> None:
    """Write indices and weights of the four spline coefficients at a place on an axis; mirror at the ends."""
    first = floor(at)
    t = at - first
    s = 1 - t
    weight[0], weight[3] = s * s * s / 6, t * t * t / 6
    weight[1], weight[2] = 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2
    for k in range(4):
        i = abs(first - 1 + k)
        if i > n - 1:
            i = 2 * (n - 1) - i
        index[k] = min(max(i, 0), n - 1)


@jit
def newton(
    spline: Floats, place: Doubles, offsets: Doubles, fit: Doubles, scale: float, most_step: float,
    small: float, n_small: int, most_steps: int, converged: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Move every place to the maximum of the polynomial around it.

    ``fit`` is the matrix from the values at the offsets, in units of ``1 / scale`` voxels, to the gradient
    (x, y, z) and the Hessian (xx, yy, zz, xy, xz, yz).
    """
    nz, ny, nx = spline.shape
    index, weight = np.empty((3, 4), np.int64), np.empty((3, 4))
    d = np.empty(9)
    for n in range(len(place)):
        now = place[n].copy()
        n_good = 0
        for _ in range(most_steps):
            d[:] = 0
            for m in range(len(offsets)):
                _spline(now[0] + offsets[m, 0] / scale, nx, index[0], weight[0])
                _spline(now[1] + offsets[m, 1] / scale, ny, index[1], weight[1])
                _spline(now[2] + offsets[m, 2] / scale, nz, index[2], weight[2])
                value = 0.0
                for k in range(4):
                    for j in range(4):
                        row = 0.0
                        for i in range(4):
                            row += weight[0, i] * spline[index[2, k], index[1, j], index[0, i]]
                        value += weight[2, k] * weight[1, j] * row
                for c in range(9):
                    d[c] += fit[c, m] * value
            xx, yy, zz, xy, xz, yz = -d[3], -d[4], -d[5], -d[6], -d[7], -d[8]
            minor = xx * yy - xy * xy
            whole = zz * minor - xx * yz * yz - yy * xz * xz + 2 * xy * xz * yz
            if not (xx > 0 and minor > 0 and whole > 0):
                break  # no maximum
            a, b, c_ = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
            e, f = xx * zz - xz * xz, xy * xz - xx * yz
            step_x = (a * d[0] + b * d[1] + c_ * d[2]) / whole
            step_y = (b * d[0] + e * d[1] + f * d[2]) / whole
            step_z = (c_ * d[0] + f * d[1] + minor * d[2]) / whole
            length = max(abs(step_x), abs(step_y), abs(step_z))
            now[0] += min(max(step_x, -most_step), most_step) / scale
            now[1] += min(max(step_y, -most_step), most_step) / scale
            now[2] += min(max(step_z, -most_step), most_step) / scale
            n_good = n_good + 1 if length < small else 0
            if n_good == n_small:
                break
        converged[n] = n_good == n_small
        if converged[n]:
            place[n] = now
