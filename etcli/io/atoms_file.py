"""Content of a file of atoms, independent of its format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.elements import NUMBERS, SYMBOLS
from etcli.core.errors import DataError

MARGIN_A = 1.0


@dataclass(frozen=True, eq=False)
class Box:
    """Box that a volume fills, as its three edges and a corner.

    Parameters
    ----------
    lattice_A : ndarray of shape (3, 3), float64
        The edges as vectors (x, y, z), one per row.
    origin_A : ndarray of shape (3,), float64
        The corner at which they begin, from the rotation centre.
    """

    lattice_A: NDArray[np.float64]
    origin_A: NDArray[np.float64]

    @classmethod
    def of_volume(
        cls, shape: tuple[int, int, int], pixel_A: float, *, centre_A: ArrayLike = (0, 0, 0)
    ) -> "Box":
        """Return the box of a volume, up to the outer faces of its voxels.

        Parameters
        ----------
        shape : (nz, ny, nx)
        pixel_A : float
        centre_A : array_like of shape (3,)
            Middle of the volume (x, y, z) from the rotation centre; not zero where it was cropped.
        """
        size_A = np.array(shape[::-1], np.float64) * pixel_A
        return cls(np.diag(size_A), np.asarray(centre_A, np.float64) - size_A / 2)

    @classmethod
    def around(cls, position_A: NDArray[np.float64]) -> "Box":
        """Return the axis-parallel box around all atoms, with `MARGIN_A` more on each side."""
        low, high = position_A.min(axis=0) - MARGIN_A, position_A.max(axis=0) + MARGIN_A
        return cls(np.diag(high - low), low)

    @property
    def is_upright(self) -> bool:
        """Whether the edges are along x, y and z."""
        return np.array_equal(self.lattice_A, np.diag(np.diag(self.lattice_A)))


@dataclass(frozen=True, eq=False)
class AtomsFile:
    """Atoms with the metadata of their file.

    Parameters
    ----------
    atoms : Atoms
    box : Box or None
        Box of the volume.
    history : tuple of str
        Processing steps, the oldest first.
    notes : mapping of str to str
        Other values of the file, by name.
    comment : str
        Words of another program about the atoms.
    """

    atoms: Atoms
    box: Box | None = None
    history: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    comment: str = ""


def element(word: str, path: Path, number: int) -> str:
    """Return the symbol of an element, given by symbol or atomic number; raise DataError if unknown."""
    is_number = word.isascii() and word.isdigit() and int(word) < len(SYMBOLS)
    symbol = SYMBOLS[int(word)] if is_number else word.capitalize()
    if symbol not in NUMBERS:
        raise DataError(
            f"{path}: line {number}: {word[:20]!r} is no element; write its symbol, or X if unknown"
        )
    return symbol
