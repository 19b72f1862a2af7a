"""Kernels for Gaussians in a volume: their sum, and least-squares fits to the voxels around each.

An atom is a row of numbers, whose columns are named below. Lengths are in voxels, places are indices, x
first. The density of an atom at the displacement d is ``height exp(-dᵀ P d / 2)``, where the symmetric matrix
P has six numbers.
"""

from math import ceil, exp, floor, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import inline, jit

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

X, Y, Z, HEIGHT, P_XX, P_YY, P_ZZ, P_XY, P_XZ, P_YZ = range(10)
COLUMNS = 10
MOST = COLUMNS
REACH = 4.0
"""Radius of a Gaussian in standard deviations; beyond, it is zero."""
TOLERANCE = 1e-4
"""Step in voxels at which a fit has converged."""


@inline
def _spread(precision: float) -> float:
    """Return the standard deviation for an element of the diagonal of P."""
    return 1 / sqrt(precision)


@inline
def _table(at: float, precision: float, first: int, last: int, values: Doubles) -> None:
    """Write a Gaussian of height 1 at voxels from ``first`` to ``last``, each from the value before."""
    distance = first - at
    value = exp(-0.5 * precision * distance * distance)
    ratio, change = exp(-precision * (distance + 0.5)), exp(-precision)
    for i in range(first, last + 1):
        values[i] = value
        value *= ratio
        ratio *= change


@jit
def add_gaussians(volume: Floats, atoms: Doubles, sign: float, z0: int, z1: int) -> None:
    """Add ``sign`` times all Gaussians to the sections from z0 to before z1."""
    ny, nx = volume.shape[1:]
    row, column, depth = np.empty(nx), np.empty(ny), np.empty(len(volume))
    for n in range(len(atoms)):
        atom = atoms[n]
        least = min(atom[P_XX], atom[P_YY], atom[P_ZZ])
        reach = REACH * _spread(least)
        first_z, last_z = max(ceil(atom[Z] - reach), z0), min(floor(atom[Z] + reach), z1 - 1)
        first_y, last_y = max(ceil(atom[Y] - reach), 0), min(floor(atom[Y] + reach), ny - 1)
        first_x, last_x = max(ceil(atom[X] - reach), 0), min(floor(atom[X] + reach), nx - 1)
        round_ = atom[P_XY] == 0 and atom[P_XZ] == 0 and atom[P_YZ] == 0
        if round_:
            _table(atom[X], atom[P_XX], first_x, last_x, row)
            _table(atom[Y], atom[P_YY], first_y, last_y, column)
            _table(atom[Z], atom[P_ZZ], first_z, last_z, depth)
        for z in range(first_z, last_z + 1):
            dz = z - atom[Z]
            for y in range(first_y, last_y + 1):
                dy = y - atom[Y]
                if round_:
                    factor = sign * atom[HEIGHT] * depth[z] * column[y]
                    for x in range(first_x, last_x + 1):
                        volume[z, y, x] += factor * row[x]
                else:
                    for x in range(first_x, last_x + 1):
                        volume[z, y, x] += sign * atom[HEIGHT] * _shape(atom, x - atom[X], dy, dz)


@inline
def _shape(atom: Doubles, dx: float, dy: float, dz: float) -> float:
    """Return the value of a Gaussian of height 1."""
    square: float = (
        atom[P_XX] * dx * dx
        + atom[P_YY] * dy * dy
        + atom[P_ZZ] * dz * dz
        + 2 * (atom[P_XY] * dx * dy + atom[P_XZ] * dx * dz + atom[P_YZ] * dy * dz)
    )
    return exp(-0.5 * square)


@jit
def fit(
    residual: Floats,
    atoms: Doubles,
    radius: float,
    freedom: int,
    widths: tuple[float, float],
    most_steps: int,
    out: Doubles,
) -> None:
    """Fit every atom to the voxels within a radius of its place, after subtraction of all other atoms.

    ``residual`` is the volume minus the Gaussians of all atoms. ``freedom`` is 0 to fit place and height, 1
    to fit also a width, 2 to fit also width and direction of three axes.
    """
    nz, ny, nx = residual.shape
    reach = ceil(radius) + 1
    values = np.empty((2 * reach + 1) ** 3)
    places = np.empty(((2 * reach + 1) ** 3, 3))
    for n in range(len(atoms)):
        atom = atoms[n].copy()
        cx, cy, cz = atom[X], atom[Y], atom[Z]
        count = 0
        for z in range(max(ceil(cz - radius), 0), min(floor(cz + radius), nz - 1) + 1):
            for y in range(max(ceil(cy - radius), 0), min(floor(cy + radius), ny - 1) + 1):
                for x in range(max(ceil(cx - radius), 0), min(floor(cx + radius), nx - 1) + 1):
                    dx, dy, dz = x - cx, y - cy, z - cz
                    if dx * dx + dy * dy + dz * dz <= radius * radius:
                        places[count, 0], places[count, 1], places[count, 2] = x, y, z
                        values[count] = residual[z, y, x] + atom[HEIGHT] * _shape(atom, dx, dy, dz)
                        count += 1
        _minimise(values, places, count, atom, radius, freedom, widths, most_steps)
        out[n] = atom


@inline
def _n_free(freedom: int) -> int:
    """Return the number of fitted parameters."""
    return (4, 5, 10)[freedom]


@inline
def _derivatives(atom: Doubles, place: Doubles, freedom: int, row: Doubles) -> float:
    """Write the derivatives of the model at a voxel by the fitted parameters; return the model's value."""
    dx, dy, dz = place[0] - atom[X], place[1] - atom[Y], place[2] - atom[Z]
    shape = _shape(atom, dx, dy, dz)
    value: float = atom[HEIGHT] * shape
    row[0] = value * (atom[P_XX] * dx + atom[P_XY] * dy + atom[P_XZ] * dz)
    row[1] = value * (atom[P_XY] * dx + atom[P_YY] * dy + atom[P_YZ] * dz)
    row[2] = value * (atom[P_XZ] * dx + atom[P_YZ] * dy + atom[P_ZZ] * dz)
    row[3] = shape
    if freedom == 1:  # by the logarithm of the width
        row[4] = value * atom[P_XX] * (dx * dx + dy * dy + dz * dz)
    elif freedom == 2:
        row[4], row[5], row[6] = -0.5 * value * dx * dx, -0.5 * value * dy * dy, -0.5 * value * dz * dz
        row[7], row[8], row[9] = -value * dx * dy, -value * dx * dz, -value * dy * dz
    return value


@jit
def _moved(
    atom: Doubles, step: Doubles, start: Doubles, radius: float, freedom: int, widths: tuple[float, float]
) -> Doubles:
    """Return the atom after a step, within bounds."""
    new = atom.copy()
    length = sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
    shorten = min(1.0, 0.5 / max(length, 1e-30))
    for i in range(3):
        new[i] += shorten * step[i]
    # beyond the fitted voxels only its tail would be fitted, and its height could grow without limit
    away = sqrt((new[0] - start[0]) ** 2 + (new[1] - start[1]) ** 2 + (new[2] - start[2]) ** 2)
    if away > radius:
        for i in range(3):
            new[i] = start[i] + (new[i] - start[i]) * radius / away
    # never zero, where all derivatives by the other parameters vanish
    new[HEIGHT] = max(atom[HEIGHT] + step[3], 0.1 * atom[HEIGHT])
    narrow, wide = 1 / widths[0] ** 2, 1 / widths[1] ** 2
    if freedom == 1:
        precision = atom[P_XX] * exp(-2 * min(max(step[4], -0.3), 0.3))
        precision = min(max(precision, wide), narrow)
        new[P_XX] = new[P_YY] = new[P_ZZ] = precision
    elif freedom == 2:
        for i in range(6):
            new[P_XX + i] = atom[P_XX + i] + step[4 + i]
        for i in range(3):
            new[P_XX + i] = min(max(new[P_XX + i], wide), narrow)
    return new


@jit
def _positive(atom: Doubles) -> bool:
    """Check whether the matrix P is positive definite."""
    xx, yy, zz = atom[P_XX], atom[P_YY], atom[P_ZZ]
    xy, xz, yz = atom[P_XY], atom[P_XZ], atom[P_YZ]
    minor = xx * yy - xy * xy
    determinant = zz * minor - xx * yz * yz - yy * xz * xz + 2 * xy * xz * yz
    return bool(xx > 0 and minor > 0 and determinant > 0)


@jit
def _misfit(values: Doubles, places: Doubles, count: int, atom: Doubles) -> float:
    """Return the sum of the squared residuals."""
    total = 0.0
    for k in range(count):
        dx, dy, dz = places[k, 0] - atom[X], places[k, 1] - atom[Y], places[k, 2] - atom[Z]
        total += (values[k] - atom[HEIGHT] * _shape(atom, dx, dy, dz)) ** 2
    return total


@jit
def _solve(matrix: Doubles, right: Doubles, m: int, damping: float, step: Doubles) -> bool:
    """Solve for a step by Cholesky decomposition, with a damped diagonal; return whether it succeeds."""
    lower = np.empty((m, m))
    for i in range(m):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total *= 1 + damping
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > 1e-12 * matrix[i, i]:
                    return False
                lower[i, i] = sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    for i in range(m):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * step[k]
        step[i] = total / lower[i, i]
    for i in range(m - 1, -1, -1):
        total = step[i]
        for k in range(i + 1, m):
            total -= lower[k, i] * step[k]
        step[i] = total / lower[i, i]
    return True


@jit
def _normal(
    values: Doubles, places: Doubles, count: int, atom: Doubles, freedom: int, matrix: Doubles,
    right: Doubles,
) -> None:  # fmt: skip
    """Write the matrix and the right-hand side of the normal equations."""
    m = _n_free(freedom)
    row = np.empty(MOST)
    matrix[:] = 0
    right[:] = 0
    for k in range(count):
        difference = values[k] - _derivatives(atom, places[k], freedom, row)
        for i in range(m):
            right[i] += row[i] * difference
            for j in range(i + 1):
                matrix[i, j] += row[i] * row[j]


@jit
def _minimise(
    values: Doubles, places: Doubles, count: int, atom: Doubles, radius: float, freedom: int,
    widths: tuple[float, float], most_steps: int,
) -> None:  # fmt: skip
    """Fit an atom in place by the Levenberg-Marquardt method."""
    m = _n_free(freedom)
    if count <= m:
        return
    matrix, right, step = np.empty((MOST, MOST)), np.empty(MOST), np.empty(MOST)
    start = atom[:3].copy()
    damping = 1e-3
    misfit = _misfit(values, places, count, atom)
    for _ in range(most_steps):
        _normal(values, places, count, atom, freedom, matrix, right)
        better = False
        for _ in range(6):
            if _solve(matrix, right, m, damping, step):
                new = _moved(atom, step, start, radius, freedom, widths)
                if _positive(new):
                    now = _misfit(values, places, count, new)
                    if now <= misfit:
                        better = True
                        break
            damping *= 10
        if not better:
            break
        damping = max(damping / 10, 1e-9)
        moved = abs(new[X] - atom[X]) + abs(new[Y] - atom[Y]) + abs(new[Z] - atom[Z])
        atom[:] = new
        gained, misfit = misfit - now, now
        if moved < TOLERANCE and gained <= 1e-6 * misfit:
            break


@jit
def match(residual: Floats, atoms: Doubles, radius: float, sigma: float, out: Doubles) -> None:
    """Write the height of the best Gaussian of a given width at each atom, with all others subtracted."""
    nz, ny, nx = residual.shape
    precision = 1 / (sigma * sigma)
    for n in range(len(atoms)):
        atom = atoms[n]
        cx, cy, cz = atom[X], atom[Y], atom[Z]
        above = below = 0.0
        for z in range(max(ceil(cz - radius), 0), min(floor(cz + radius), nz - 1) + 1):
            for y in range(max(ceil(cy - radius), 0), min(floor(cy + radius), ny - 1) + 1):
                for x in range(max(ceil(cx - radius), 0), min(floor(cx + radius), nx - 1) + 1):
                    dx, dy, dz = x - cx, y - cy, z - cz
                    square = dx * dx + dy * dy + dz * dz
                    if square <= radius * radius:
                        weight = exp(-0.5 * precision * square)
                        value = residual[z, y, x] + atom[HEIGHT] * _shape(atom, dx, dy, dz)
                        above += weight * value
                        below += weight * weight
        out[n] = above / below if below > 0 else 0.0
