"""Loops over a volume of several channels: steps of the prior's dual variable and of the volume.

Volumes are (channel, z, x, y), dual variables (channel, direction, z, x, y) with the directions z, x, y. The
last axis may be longer than the volume, up to a multiple of 16; the voxels beyond it are zero and stay so.
Differences are forward differences, and zero across the border.
"""

import numpy as np

from etcli.core.fusion._eigenvalues import GRAM, LANES, ZERO, limiting_matrix
from etcli.core.jit import inline, jit

DIRECTIONS = 3
ONE = np.float32(1)


@inline
def _ascend(ahead, dual, c, z, x, start, n, last, step, g, base):  # type: ignore[no-untyped-def]
    """Set rows ``base`` to ``base + 2`` of g to the dual variable plus ``step`` times the gradient."""
    here = ahead[c, z, x, start:]
    old = dual[c, :, z, x, start:]
    rows = g[base * LANES : (base + DIRECTIONS) * LANES]
    if z + 1 < ahead.shape[1]:
        above = ahead[c, z + 1, x, start:]
        for y in range(n):
            rows[y] = old[0, y] + step * (above[y] - here[y])
    else:
        for y in range(n):
            rows[y] = ZERO
    if x + 1 < ahead.shape[2]:
        beside = ahead[c, z, x + 1, start:]
        for y in range(n):
            rows[LANES + y] = old[1, y] + step * (beside[y] - here[y])
    else:
        for y in range(n):
            rows[LANES + y] = ZERO
    inner = min(n, here.size - 1)
    for y in range(inner):
        rows[2 * LANES + y] = old[2, y] + step * (here[y + 1] - here[y])
    for y in range(max(last - start, 0), n):
        rows[2 * LANES + y] = ZERO


@jit
def ascend_alone(ahead, dual, step, radius, relax, z0, z1, last):  # type: ignore[no-untyped-def]
    """Step up the dual variable of one channel's total variation, and project it onto |p| <= radius.

    Parameters
    ----------
    ahead : ndarray of shape (1, z, x, y), float32
        Extrapolated volume.
    dual : ndarray of shape (1, 3, z, x, y), float32
        Overwritten in sections z0 to z1 - 1.
    step, radius, relax : float32
        Step, radius of the ball, and how far to go towards the projection: 1 is all the way.
    z0, z1, last : int
        Range of sections; index of the last row of the volume.
    """
    _, _, nx, ny = ahead.shape
    g = np.empty(DIRECTIONS * LANES, np.float32)
    for z in range(z0, z1):
        for x in range(nx):
            for start in range(0, ny, LANES):
                n = min(LANES, ny - start)
                _ascend(ahead, dual, 0, z, x, start, n, last, step, g, 0)
                for y in range(n):
                    p, q, r = g[y], g[LANES + y], g[2 * LANES + y]
                    size = np.sqrt(p * p + q * q + r * r)
                    factor = radius / size if size > radius else ONE
                    g[y], g[LANES + y], g[2 * LANES + y] = p * factor, q * factor, r * factor
                for d in range(DIRECTIONS):
                    row = dual[0, d, z, x, start:]
                    for y in range(n):
                        row[y] += relax * (g[d * LANES + y] - row[y])


@jit
def ascend_jointly(ahead, dual, channels, steps, radius, relax, nuclear, z0, z1, last):  # type: ignore[no-untyped-def]
    """Step up the dual variable of a joint prior, and limit its Jacobian at each voxel.

    Parameters
    ----------
    ahead : ndarray of shape (channels, z, x, y), float32
        Extrapolated volume.
    dual : ndarray of shape (channels, 3, z, x, y), float32
        Overwritten in sections z0 to z1 - 1 of the chosen channels.
    channels : ndarray of int64
        The channels that share the prior.
    steps : ndarray of float32
        Step of each of them, with its factor in the prior.
    radius, relax : float32
        Largest singular value of the Jacobian, or its largest Frobenius norm; and how far to go towards the
        projection.
    nuclear : bool
        Whether singular values are limited, not the norm.
    z0, z1, last : int
        Range of sections; index of the last row of the volume.
    """
    _, _, nx, ny = ahead.shape
    g = np.empty(channels.size * DIRECTIONS * LANES, np.float32)
    gram, large = np.empty(GRAM * LANES, np.float32), np.zeros(GRAM * LANES, np.float32)
    place = np.empty(LANES, np.int64)
    for z in range(z0, z1):
        for x in range(nx):
            for start in range(0, ny, LANES):
                n = min(LANES, ny - start)
                gram[:] = ZERO
                for k in range(channels.size):
                    _ascend(ahead, dual, channels[k], z, x, start, n, last, steps[k], g, DIRECTIONS * k)
                    rows = g[DIRECTIONS * k * LANES : DIRECTIONS * (k + 1) * LANES]
                    for y in range(n):
                        p, q, r = rows[y], rows[LANES + y], rows[2 * LANES + y]
                        gram[y] += p * p
                        gram[LANES + y] += q * q
                        gram[2 * LANES + y] += r * r
                        gram[3 * LANES + y] += p * q
                        gram[4 * LANES + y] += p * r
                        gram[5 * LANES + y] += q * r
                n_large = 0
                for y in range(n):
                    n_large += gram[y] + gram[LANES + y] + gram[2 * LANES + y] > radius * radius
                if n_large == 0:
                    for k in range(channels.size):
                        for d in range(DIRECTIONS):
                            row = dual[channels[k], d, z, x, start:]
                            base = (DIRECTIONS * k + d) * LANES
                            for y in range(n):
                                row[y] += relax * (g[base + y] - row[y])
                    continue
                if nuclear:
                    limiting_matrix(gram, radius, n, large, place)
                else:
                    _limiting_factor(gram, radius, n)
                for k in range(channels.size):
                    rows = g[DIRECTIONS * k * LANES : DIRECTIONS * (k + 1) * LANES]
                    _combine(rows, gram, 0, 3, 4, dual[channels[k], 0, z, x, start:], relax, n)
                    _combine(rows, gram, 3, 1, 5, dual[channels[k], 1, z, x, start:], relax, n)
                    _combine(rows, gram, 4, 5, 2, dual[channels[k], 2, z, x, start:], relax, n)


@inline
def _limiting_factor(gram, radius, n):  # type: ignore[no-untyped-def]
    """Replace JᵀJ by the multiple of the unit matrix that limits the Frobenius norm of J."""
    for y in range(n):
        size = np.sqrt(gram[y] + gram[LANES + y] + gram[2 * LANES + y])
        factor = radius / size if size > radius else ONE
        gram[y], gram[LANES + y], gram[2 * LANES + y] = factor, factor, factor
        gram[3 * LANES + y], gram[4 * LANES + y], gram[5 * LANES + y] = ZERO, ZERO, ZERO


@inline
def _combine(rows, gram, first, second, third, out, relax, n):  # type: ignore[no-untyped-def]
    """Move a row towards the sum of a channel's three, each times a row of the symmetric matrix."""
    for y in range(n):
        target = (
            rows[y] * gram[first * LANES + y]
            + rows[LANES + y] * gram[second * LANES + y]
            + rows[2 * LANES + y] * gram[third * LANES + y]
        )
        out[y] += relax * (target - out[y])


@jit
def descend(volume, ahead, back, counted, shared, share, dual, scale, step, relax, z0, z1, last):  # type: ignore[no-untyped-def]
    """Step a channel down its gradient, keep it above zero, and extrapolate.

    Parameters
    ----------
    volume : ndarray of shape (z, x, y), float32
        Sections z0 to z1 - 1 move towards w = max(0, v - step (counted back + share shared + scale ∇ᵀ dual)).
    ahead : ndarray of the same shape, float32
        Becomes 2 w - v.
    back, shared : ndarray of the same shape, float32
        Back-projected dual variables of the channel's counts, and of the images that all channels share.
    counted, share, scale, step, relax : float32
        The last is how far v goes towards w.
    dual : ndarray of shape (3, z, x, y), float32
    z0, z1, last : int
        Range of sections; index of the last row of the volume.

    Returns
    -------
    change, size : float
        Squared norm of the change, and of the new sections.
    """
    _, nx, _ = volume.shape
    g = np.empty(LANES, np.float32)
    changes, sizes = np.zeros(LANES, np.float32), np.zeros(LANES, np.float32)
    change, size = 0.0, 0.0
    for z in range(z0, z1):
        changes[:] = ZERO
        sizes[:] = ZERO
        for x in range(nx):
            for start in range(0, last + 1, LANES):
                n = min(LANES, last + 1 - start)
                _transpose_gradient(dual, z, x, start, n, g)
                b, o = back[z, x, start:], shared[z, x, start:]
                for y in range(n):
                    g[y] = counted * b[y] + share * o[y] + scale * g[y]
                v, w = volume[z, x, start:], ahead[z, x, start:]
                for y in range(n):
                    old = v[y]
                    new = old - step * g[y]
                    new = new if new > ZERO else ZERO
                    g[y] = relax * (new - old)
                    v[y] = old + g[y]
                    w[y] = new + (new - old)
                for y in range(n):
                    changes[y] += g[y] * g[y]
                for y in range(n):
                    sizes[y] += v[y] * v[y]
        for y in range(LANES):
            change += changes[y]
            size += sizes[y]
    return change, size


@inline
def _transpose_gradient(dual, z, x, start, n, g):  # type: ignore[no-untyped-def]
    """Set g to a row of the transposed gradient of the dual variable."""
    a, b, c = dual[0, z, x, start:], dual[1, z, x, start:], dual[2, z, x, start:]
    for y in range(n):
        g[y] = -(a[y] + b[y] + c[y])
    if z > 0:
        below = dual[0, z - 1, x, start:]
        for y in range(n):
            g[y] += below[y]
    if x > 0:
        beside = dual[1, z, x - 1, start:]
        for y in range(n):
            g[y] += beside[y]
    before = dual[2, z, x, start - 1 :] if start else dual[2, z, x]
    if start:
        for y in range(n):
            g[y] += before[y]
    else:
        for y in range(1, n):
            g[y] += before[y - 1]
