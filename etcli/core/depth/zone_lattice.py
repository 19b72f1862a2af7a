"""Atomic columns of a crystal along a zone axis: lattice in projection and heights of the atoms."""

from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError

Doubles = NDArray[np.float64]

SAME_A = 0.05
"""Distance in projection below which atoms are of one column."""
EVEN_A = 0.02
"""Difference of the distances of neighbouring atoms in a column that are equal."""


@dataclass(frozen=True, eq=False)
class ZoneLattice:
    """Columns of a crystal along a zone axis.

    Column (i, j, b) lies at i vectors[0] + j vectors[1] + column[b], and its atoms at heights
    i rise[0] + j rise[1] + height[b] + any multiple of the spacing.

    Parameters
    ----------
    element : str
        Chemical symbol of all atoms.
    spacing_A : float
        Distance between neighbouring atoms of a column in Å.
    vectors_A : ndarray of shape (2, 2), float64
        Edges (x, y) of the cell in projection in Å, one per row.
    rise_A : ndarray of shape (2,), float64
        Heights along the zone axis that belong to the edges, in Å.
    column_A : ndarray of shape (n_columns, 2), float64
        Positions (x, y) of the columns of one cell in Å.
    height_A : ndarray of shape (n_columns,), float64
        Height of one atom of each of them in Å.
    neighbour_A : float
        Distance in Å that separates nearest neighbours in the crystal from others.
    n_neighbours : int
        Nearest neighbours of an atom inside the crystal.
    """

    element: str
    spacing_A: float
    vectors_A: Doubles
    rise_A: Doubles
    column_A: Doubles
    height_A: Doubles
    neighbour_A: float
    n_neighbours: int

    @property
    def column_spacing_A(self) -> float:
        """Smallest distance of two columns in projection in Å."""
        corners = np.array(list(product((-1, 0, 1), repeat=2))) @ self.vectors_A
        there = (self.column_A[:, np.newaxis] + corners).reshape(-1, 2)
        distance = np.linalg.norm(self.column_A[:, np.newaxis] - there, axis=-1)
        return float(distance[distance > SAME_A].min())


def zone_lattice(cell: Atoms, lattice_A: Doubles, zone: tuple[int, int, int]) -> ZoneLattice:
    """Project a crystal along a zone axis.

    Parameters
    ----------
    cell : Atoms
        Atoms of one unit cell.
    lattice_A : ndarray of shape (3, 3), float64
        Edges of the unit cell as vectors (x, y, z), one per row.
    zone : tuple of int
        Direction [u v w] of the electron beam.

    Returns
    -------
    ZoneLattice

    Raises
    ------
    UsageError
        If the zone is [0 0 0], or the columns hold several elements or uneven distances.
    """
    divisor = gcd(*zone)
    if divisor == 0:
        raise UsageError("[0 0 0] is no zone axis")
    integers = _unimodular(np.array(zone) // divisor)
    crystal: Doubles = integers.astype(np.float64) @ np.asarray(lattice_A, np.float64)
    axis = _axes(crystal[2])
    edges, positions = np.asarray(crystal @ axis.T, np.float64), cell.position_A @ axis.T
    vectors, rise = _reduced(edges[:2, :2], edges[:2, 2])
    inside = positions[:, :2] @ np.linalg.inv(vectors)
    whole = np.floor(inside + 1e-6)
    column, height = (inside - whole) @ vectors, positions[:, 2] - whole @ rise
    return _columns(cell.species, column, height, edges[2, 2], vectors, rise)


def _columns(
    species: NDArray[np.str_],
    column: Doubles,
    height: Doubles,
    period: float,
    vectors: Doubles,
    rise: Doubles,
) -> ZoneLattice:
    """Collect the atoms of a cell, which repeat after a period, into columns."""
    inverse = np.linalg.inv(vectors)
    members: list[list[int]] = []
    lifted = height.copy()
    for atom in range(len(column)):
        for of in members:
            cells = np.rint((column[atom] - column[of[0]]) @ inverse)
            if np.linalg.norm(column[atom] - column[of[0]] - cells @ vectors) < SAME_A:
                lifted[atom] -= cells @ rise
                of.append(atom)
                break
        else:
            members.append([atom])
    elements = {str(species[atom]) for of in members for atom in of}
    if len(elements) > 1:
        raise UsageError(
            f"the lattice holds several elements, {', '.join(sorted(elements))}: the brightness of a column "
            "then does not tell its atoms; depth sectioning takes lattices of one element"
        )
    distances: list[float] = []
    for of in members:
        heights = np.sort(np.mod(lifted[of], period))
        distances.extend(np.diff(np.append(heights, heights[0] + period)))
    if np.ptp(distances) > EVEN_A:
        raise UsageError(
            f"atoms of the columns of this lattice along this zone axis are {min(distances):.3g} to "
            f"{max(distances):.3g} Å apart; depth sectioning takes columns with equal distances"
        )
    first = [of[0] for of in members]
    spacing = float(np.mean(distances))
    neighbour, count = _neighbours(column[first], lifted[first], spacing, vectors, rise)
    return ZoneLattice(
        elements.pop(),
        spacing,
        vectors,
        rise,
        column[first],
        np.mod(lifted[first], spacing),
        neighbour,
        count,
    )


def _neighbours(
    column: Doubles, height: Doubles, spacing: float, vectors: Doubles, rise: Doubles
) -> tuple[float, int]:
    """Find the nearest neighbours of the first atom: the limit of their distances, and their number."""
    cells = np.array(list(product(range(-3, 4), repeat=2)))
    flat = (column + (cells @ vectors)[:, np.newaxis]).reshape(-1, 2) - column[0]
    level = (height + (cells @ rise)[:, np.newaxis]).ravel() - height[0]
    steps = np.arange(-3, 4) * spacing
    level = level - spacing * np.rint(level / spacing)
    distance = np.sort(
        np.hypot(np.linalg.norm(flat, axis=1)[:, np.newaxis], level[:, np.newaxis] + steps).ravel()
    )
    nearest = distance[1]
    count = int((distance[1:] < 1.1 * nearest).sum())
    return float((nearest + distance[count + 1]) / 2), count


def _unimodular(zone: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find an integer matrix of determinant ±1 whose last row is the zone axis, with short other rows."""
    short = sorted(product(range(-2, 3), repeat=3), key=lambda row: (sum(abs(number) for number in row), row))
    reach = int(np.abs(zone).max()) + 1
    wide = (
        short
        if reach <= 3
        else sorted(
            product(range(-reach, reach + 1), repeat=3),
            key=lambda row: (sum(abs(number) for number in row), row),
        )
    )
    for first in wide:
        cross = np.cross(first, zone)
        if not cross.any() or gcd(*(int(number) for number in cross)) != 1:
            continue
        for second in wide:
            determinant = int(np.dot(np.cross(zone, first), second))
            if abs(determinant) == 1:
                return np.array([first, second, zone]) if determinant > 0 else np.array([second, first, zone])
    raise UsageError(f"the zone axis [{' '.join(map(str, zone))}] has indices that are too large")


def _axes(along: Doubles) -> Doubles:
    """Make rows x, y, z of a right-handed system with z along a direction."""
    z = along / np.linalg.norm(along)
    start = np.eye(3)[np.abs(z).argmin()] if np.abs(z).max() < 1 - 1e-9 else np.roll(z, 1)
    x = start - z * (start @ z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z])


def _reduced(vectors: Doubles, rise: Doubles) -> tuple[Doubles, Doubles]:
    """Reduce two vectors in the plane (Lagrange and Gauss): the shortest ones of the same lattice."""
    (a, b), (a_rise, b_rise) = vectors, rise
    while True:
        if a @ a > b @ b:
            a, b, a_rise, b_rise = b, a, b_rise, a_rise
        times = np.rint(a @ b / (a @ a))
        if times == 0:
            return np.stack([a, b]), np.array([a_rise, b_rise])
        b, b_rise = b - times * a, b_rise - times * a_rise
