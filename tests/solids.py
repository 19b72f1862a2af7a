"""Atoms of crystals, and of solids without a lattice."""

import numpy as np
from ase.build import bulk

from etcli.core.atomic_model import Atoms

LATTICES = {  # bonds of an atom, bond length in edges of the cube, atoms in the cube
    "fcc": (bulk("Au", cubic=True, a=4.078), 12, np.sqrt(0.5), 4),
    "diamond": (bulk("Si", cubic=True, a=5.431), 4, np.sqrt(3) / 4, 8),
    "bcc": (bulk("W", cubic=True, a=3.165), 8, np.sqrt(3) / 2, 2),
}


def lattice(name: str, shape: str = "sphere", *, size_A: float = 13.0, jitter_A: float = 0.0) -> Atoms:
    """Cut a sphere or a film out of a crystal."""
    cell = LATTICES[name][0]
    n = int(np.ceil(2 * size_A / cell.cell[0, 0])) + 1
    crystal = cell * (n, n, n)
    place = crystal.positions - crystal.positions.mean(axis=0)
    if shape == "sphere":
        kept = np.linalg.norm(place, axis=1) < size_A
    else:
        kept = (np.abs(place) < [size_A, size_A, 6]).all(axis=1)
    place = place[kept] + np.random.default_rng(1).normal(size=(kept.sum(), 3)) * jitter_A
    return Atoms(place, np.array(crystal.get_chemical_symbols())[kept])


def solid(n: int = 12, *, spread: float = 0.35, seed: int = 0) -> np.ndarray:
    """Places at which no two atoms are near each other, about the centre."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return (grid - (n - 1) / 2) * 2.6 + rng.normal(size=grid.shape) * spread
