"""Singular values of many small Jacobians, limited with vector instructions.

Arrays are flat scratch memory of rows of ``LANES`` voxels, so the compiler sees that rows do not overlap.
"""

import numpy as np

from etcli.core.jit import inline, jit

LANES, VECTOR = 64, 16
"""Voxels that are processed together, along y; and a number of them that fills vectors."""
GRAM = 6
"""Rows of a symmetric matrix of 3 × 3: zz, xx, yy, zx, zy, xy."""
DIAGONAL = 3
TINY = np.float32(1e-30)
ZERO, ONE, TWO, FOUR = np.float32(0), np.float32(1), np.float32(2), np.float32(4)


@inline
def _rotation(p, q, off):  # type: ignore[no-untyped-def]
    """Return cosine and sine of the rotation that makes ((p, off), (off, q)) diagonal; by at most 45°."""
    gap = q - p
    root = np.sqrt(gap * gap + FOUR * off * off) + TINY
    tangent = TWO * off / (gap + root if gap >= ZERO else gap - root)
    cosine = ONE / np.sqrt(ONE + tangent * tangent)
    return cosine, cosine * tangent


@inline
def _turned(p, q, off, cos, sin):  # type: ignore[no-untyped-def]
    """Return the diagonal of ((p, off), (off, q)) after the rotation."""
    return (
        cos * (cos * p - TWO * sin * off) + sin * sin * q,
        sin * (sin * p + TWO * cos * off) + cos * cos * q,
    )


@inline
def _mixed(p, q, cos, sin):  # type: ignore[no-untyped-def]
    """Return two components after the rotation."""
    return cos * p - sin * q, sin * p + cos * q


@inline
def _sweep(a, b, c, ab, ac, bc, u0, u1, u2, v0, v1, v2, w0, w1, w2):  # type: ignore[no-untyped-def]
    """Rotate in each of the three planes; off-diagonal elements shrink, u, v and w become the axes."""
    cos, sin = _rotation(a, b, ab)
    a, b = _turned(a, b, ab, cos, sin)
    ab = ZERO
    ac, bc = _mixed(ac, bc, cos, sin)
    u0, v0 = _mixed(u0, v0, cos, sin)
    u1, v1 = _mixed(u1, v1, cos, sin)
    u2, v2 = _mixed(u2, v2, cos, sin)
    cos, sin = _rotation(a, c, ac)
    a, c = _turned(a, c, ac, cos, sin)
    ac = ZERO
    ab, bc = _mixed(ab, bc, cos, sin)
    u0, w0 = _mixed(u0, w0, cos, sin)
    u1, w1 = _mixed(u1, w1, cos, sin)
    u2, w2 = _mixed(u2, w2, cos, sin)
    cos, sin = _rotation(b, c, bc)
    b, c = _turned(b, c, bc, cos, sin)
    bc = ZERO
    ab, ac = _mixed(ab, ac, cos, sin)
    v0, w0 = _mixed(v0, w0, cos, sin)
    v1, w1 = _mixed(v1, w1, cos, sin)
    v2, w2 = _mixed(v2, w2, cos, sin)
    return a, b, c, ab, ac, bc, u0, u1, u2, v0, v1, v2, w0, w1, w2


@inline
def _limit(eigenvalue, radius):  # type: ignore[no-untyped-def]
    """Return the factor that brings a singular value, the root of the eigenvalue, down to the radius."""
    size = np.sqrt(eigenvalue if eigenvalue > ZERO else ZERO) + TINY
    return radius / size if size > radius else ONE


@jit
def limiting_matrix(gram, radius, n, large, place):  # type: ignore[no-untyped-def]
    """Replace JᵀJ by the matrix T for which J T is J with no singular value above the radius.

    Parameters
    ----------
    gram : ndarray of shape (GRAM * LANES,), float32
        JᵀJ = V diag(s²) Vᵀ of each voxel; overwritten by T = V diag(min(1, radius / s)) Vᵀ.
    radius : float32
    n : int
        Voxels of the row to process, at most ``LANES``.
    large : ndarray of the same shape, float32
        Scratch memory: voxels with a large trace are collected, as the others have T = 1.
    place : ndarray of shape (LANES,), int64
        Scratch memory.
    """
    n_large = 0
    for y in range(n):
        if gram[y] + gram[LANES + y] + gram[2 * LANES + y] > radius * radius:
            place[n_large] = y
            for j in range(GRAM):
                large[j * LANES + n_large] = gram[j * LANES + y]
            n_large += 1
    _limiting_matrices(large, radius, min(LANES, (n_large + VECTOR - 1) // VECTOR * VECTOR))
    for j in range(GRAM):
        gram[j * LANES : (j + 1) * LANES] = ONE if j < DIAGONAL else ZERO
    for k in range(n_large):
        for j in range(GRAM):
            gram[j * LANES + place[k]] = large[j * LANES + k]


@jit
def _limiting_matrices(gram, radius, n):  # type: ignore[no-untyped-def]
    """Do the work of `limiting_matrix`, for all voxels: a loop without branches, which is vectorised."""
    for y in range(n):
        axes = (
            gram[y], gram[LANES + y], gram[2 * LANES + y],
            gram[3 * LANES + y], gram[4 * LANES + y], gram[5 * LANES + y],
            ONE, ZERO, ZERO, ZERO, ONE, ZERO, ZERO, ZERO, ONE,
        )  # fmt: skip
        # two sweeps are wrong by up to 10 %, a fourth adds nothing to the precision of float32
        axes = _sweep(*_sweep(*_sweep(*axes)))
        a, b, c, _, _, _, u0, u1, u2, v0, v1, v2, w0, w1, w2 = axes
        f, g, h = _limit(a, radius), _limit(b, radius), _limit(c, radius)
        gram[y] = u0 * u0 * f + v0 * v0 * g + w0 * w0 * h
        gram[LANES + y] = u1 * u1 * f + v1 * v1 * g + w1 * w1 * h
        gram[2 * LANES + y] = u2 * u2 * f + v2 * v2 * g + w2 * w2 * h
        gram[3 * LANES + y] = u0 * u1 * f + v0 * v1 * g + w0 * w1 * h
        gram[4 * LANES + y] = u0 * u2 * f + v0 * v2 * g + w0 * w2 * h
        gram[5 * LANES + y] = u1 * u2 * f + v1 * v2 * g + w1 * w2 * h
