"""Compiled parts of the molecular dynamics of silica: pairs of neighbours, and forces from a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.jit import jit


@jit
def wrapped(difference: float, length: float) -> float:
    """Return the shortest of the periodic images of a difference of coordinates that is below 3/2 lengths."""
    return difference + length * (difference < -length / 2) - length * (difference > length / 2)


@jit
def pairs(position_A: NDArray[np.float64], box_A: NDArray[np.float64], reach_A: float) -> Any:
    """Find the pairs of atoms within a distance of each other in a periodic box.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
        Within the box, whose corner is the origin.
    box_A : ndarray of shape (3,), float64
        At least twice the reach.
    reach_A : float

    Returns
    -------
    first : ndarray of shape (n_atoms + 1,), int64
        The partners of atom i are ``partner[first[i] : first[i + 1]]``; a pair stands with one of its atoms.
    partner : ndarray of shape (n_pairs,), int32
    """
    n = len(position_A)
    n_cells = np.maximum(1, np.floor(box_A / reach_A)).astype(np.int64)
    head = np.full((n_cells[0], n_cells[1], n_cells[2]), -1, np.int32)
    following = np.empty(n, np.int32)
    cell = np.empty((n, 3), np.int64)
    for i in range(n):
        for k in range(3):
            cell[i, k] = min(int(position_A[i, k] / box_A[k] * n_cells[k]), n_cells[k] - 1)
        following[i] = head[cell[i, 0], cell[i, 1], cell[i, 2]]
        head[cell[i, 0], cell[i, 1], cell[i, 2]] = i
    # with fewer than three cells along an axis, a neighbour on one side is also that on the other
    low, high = -np.minimum(1, (n_cells - 1) // 2), np.minimum(1, n_cells // 2)
    first = np.zeros(n + 1, np.int64)
    partner = np.empty(n * 32, np.int32)
    found = 0
    for i in range(n):
        for a in range(low[0], high[0] + 1):
            for b in range(low[1], high[1] + 1):
                for c in range(low[2], high[2] + 1):
                    j = head[
                        (cell[i, 0] + a) % n_cells[0],
                        (cell[i, 1] + b) % n_cells[1],
                        (cell[i, 2] + c) % n_cells[2],
                    ]
                    while j >= 0:
                        if j > i:
                            dx = wrapped(position_A[j, 0] - position_A[i, 0], box_A[0])
                            dy = wrapped(position_A[j, 1] - position_A[i, 1], box_A[1])
                            dz = wrapped(position_A[j, 2] - position_A[i, 2], box_A[2])
                            if dx * dx + dy * dy + dz * dz < reach_A * reach_A:
                                if found == len(partner):
                                    longer = np.empty(2 * found, np.int32)
                                    longer[:found] = partner
                                    partner = longer
                                partner[found] = j
                                found += 1
                        j = following[j]
        first[i + 1] = found
    return first, partner[:found]


@jit
def forces(
    position_A: NDArray[np.float64],
    kind: NDArray[np.int64],
    box_A: NDArray[np.float64],
    neighbours: tuple[NDArray[np.int64], NDArray[np.int32]],
    table: NDArray[np.float64],
    cutoff_A: float,
) -> Any:
    """Add up the forces between pairs.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
    kind : ndarray of shape (n_atoms,), int64
        0 or 1.
    box_A : ndarray of shape (3,), float64
    neighbours : tuple of ndarray
        Of `pairs`.
    table : ndarray of shape (3, n_entries), float64
        Force divided by distance, in eV/Å², at even steps of the squared distance from 0 to the cutoff; the
        row is the sum of the kinds.
    cutoff_A : float

    Returns
    -------
    ndarray of shape (n_atoms, 3), float64
        In eV/Å.
    """
    first, partner = neighbours
    result = np.zeros_like(position_A)
    steps = (table.shape[1] - 1) / cutoff_A**2
    for i in range(len(position_A)):
        x, y, z = position_A[i]
        fx = fy = fz = 0.0
        for p in range(first[i], first[i + 1]):
            j = partner[p]
            dx = wrapped(position_A[j, 0] - x, box_A[0])
            dy = wrapped(position_A[j, 1] - y, box_A[1])
            dz = wrapped(position_A[j, 2] - z, box_A[2])
            place = (dx * dx + dy * dy + dz * dz) * steps
            entry = int(place)
            if entry < table.shape[1] - 1:
                row = kind[i] + kind[j]
                low = table[row, entry]
                strength = low + (place - entry) * (table[row, entry + 1] - low)
                fx -= strength * dx
                fy -= strength * dy
                fz -= strength * dz
                result[j, 0] += strength * dx
                result[j, 1] += strength * dy
                result[j, 2] += strength * dz
        result[i, 0] += fx
        result[i, 1] += fy
        result[i, 2] += fz
    return result
