"""Atomic model: positions, elements and further properties of each atom."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError

UNKNOWN = "X"
"""Species of an atom whose element is unknown."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """Atoms of one specimen.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
        x, y and z in Å from the rotation centre, along the axes of the volume.
    species : ndarray of shape (n_atoms,), str
        Chemical symbols; ``X`` where unknown.
    columns : mapping of str to ndarray of shape (n_atoms,), float64
        Further properties by name, with the unit in the name, as in ``sigma_A``. NaN where unknown.

    Raises
    ------
    DataError
        When the arrays do not fit together or a position is not finite.
    """

    position_A: NDArray[np.float64]
    species: NDArray[np.str_]
    columns: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        position_A = np.asarray(self.position_A, np.float64).reshape(-1, 3)
        species = np.asarray(self.species, np.str_)
        columns = {name: np.asarray(values, np.float64) for name, values in self.columns.items()}
        shapes = {values.shape for values in (species, *columns.values())}
        if shapes != {(len(position_A),)}:
            raise DataError(f"{len(position_A)} atoms need as many numbers in every column, not {shapes}")
        if not np.isfinite(position_A).all():
            raise DataError("the position of an atom is not finite")
        object.__setattr__(self, "position_A", position_A)
        object.__setattr__(self, "species", species)
        object.__setattr__(self, "columns", MappingProxyType(columns))

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.position_A)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Atoms":
        """Return a subset of the atoms, given by indices (from 0) or by a mask."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Atoms(self.position_A[chosen], self.species[chosen], columns)

    def with_columns(self, **columns: NDArray[np.float64]) -> "Atoms":
        """Return the atoms with columns added; a column of the same name is replaced."""
        return replace(self, columns={**self.columns, **columns})
