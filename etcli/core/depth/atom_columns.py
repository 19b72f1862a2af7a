"""Atomic columns of a model in zone axis: from the atoms to columns, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from etcli.core.atomic_model import Atoms
from etcli.core.errors import DataError

Doubles = NDArray[np.float64]

SAME_COLUMN_A = 0.3
"""Distance in projection up to which atoms overlap: beyond the relaxation of surfaces, below any bond."""
UNEVEN = 0.25
"""Relative difference of the distances in a column: more than relaxation, less than a vacancy."""
NEAREST_COLUMNS_A = 0.7
"""Distance of columns in projection that is not resolved: those of silicon along [112] are 0.78 Å apart."""
MOSTLY, THICK = 0.8, 5.0
"""Share of columns of one atom, and thickness in bonds, above which a crystal is not in zone axis."""
LONGEST_BOND_A = 4.0
"""Distance of nearest neighbours above which they are no crystal."""


@dataclass(frozen=True, eq=False)
class AtomColumns:
    """Columns of atoms along the beam, z, each of one element with equal distances.

    Parameters
    ----------
    position_A : ndarray of shape (n_columns, 2), float64
        x and y in Å from the rotation centre.
    count : ndarray of shape (n_columns,), int64
        Atoms of each column.
    depth_A : ndarray of shape (n_columns,), float64
        Mean z of the atoms of each column in Å, positive away from the source.
    spacing_A : ndarray of shape (n_columns,), float64
        Mean distance of neighbouring atoms in Å; NaN for columns of one atom.
    element : ndarray of shape (n_columns,), str
        Chemical symbols.

    Raises
    ------
    DataError
        If the arrays do not fit together, or a column has no atom.
    """

    position_A: Doubles
    count: NDArray[np.int64]
    depth_A: Doubles
    spacing_A: Doubles
    element: NDArray[np.str_]

    def __post_init__(self) -> None:
        n_columns = len(self.count)
        shapes = {values.shape for values in (self.count, self.depth_A, self.spacing_A, self.element)}
        if self.position_A.shape != (n_columns, 2) or shapes != {(n_columns,)}:
            raise DataError(f"{n_columns} columns need as many positions, depths, spacings and elements")
        if n_columns and self.count.min() < 1:
            raise DataError(f"column {int(self.count.argmin()) + 1} has no atom; leave it out")

    def __len__(self) -> int:
        return len(self.count)


def columns_of_atoms(atoms: Atoms) -> AtomColumns:
    """Collect the atoms of a model into columns along z.

    Atoms up to 0.3 Å apart in projection are of one column. Its distances may differ from their median by a
    quarter, as at relaxed surfaces.

    Parameters
    ----------
    atoms : Atoms
        Positions with the zone axis along z.

    Returns
    -------
    AtomColumns
        In the order of their first atoms.

    Raises
    ------
    DataError
        If the model is not in zone axis: its atoms overlap in projection without being above each other, or
        most columns are less than 0.7 Å from another one, or have one atom though the model is thick; or if
        a column holds several elements, or uneven distances, as with a vacancy.
    """
    if not len(atoms):
        raise DataError("a model without atoms has no columns")
    flat, height = atoms.position_A[:, :2], atoms.position_A[:, 2]
    column = _overlapping(flat)
    count = np.bincount(column)
    position = np.stack([np.bincount(column, values) / count for values in flat.T], axis=1)
    _check_zone_axis(atoms.position_A, position, column, count)
    order = np.lexsort((height, column))
    first = np.cumsum(count) - count
    element = atoms.species[order[first]]
    _check_elements(atoms.species, element, position, column)
    span = height[order[first + count - 1]] - height[order[first]]
    spacing = np.divide(span, count - 1, out=np.full(len(count), np.nan), where=count > 1)
    _check_distances(height[order], position, first, count)
    return AtomColumns(position, count, np.bincount(column, height) / count, spacing, element)


def atoms_of_columns(
    position_A: Doubles,
    count: NDArray[np.int64],
    depth_A: Doubles,
    spacing_A: ArrayLike,
    element: ArrayLike,
    **columns: Doubles,
) -> Atoms:
    """Place the atoms of columns: z_i = depth + (i − (N − 1)/2) spacing.

    Parameters
    ----------
    position_A : ndarray of shape (n_columns, 2), float64
        x and y in Å.
    count : ndarray of shape (n_columns,), int64
        Atoms N of each column.
    depth_A : ndarray of shape (n_columns,), float64
        Mean z of the atoms of each column in Å.
    spacing_A : float or array_like of shape (n_columns,)
        Distance of neighbouring atoms in Å; it may be NaN for columns of one atom.
    element : str or array_like of shape (n_columns,)
        Chemical symbols.
    **columns : ndarray of shape (n_columns,), float64
        Further properties of the columns by name, which their atoms receive.

    Returns
    -------
    Atoms
        Column by column, with increasing z; the property ``column`` is the number of the column, from 0.

    Raises
    ------
    DataError
        If a position is not finite.
    """
    column = np.repeat(np.arange(len(count)), count)
    level = np.arange(len(column)) - np.repeat(np.cumsum(count) - count, count)
    spacing = np.where(count > 1, spacing_A, 0.0)
    z = depth_A[column] + (level - (count[column] - 1) / 2) * spacing[column]
    species = np.broadcast_to(np.asarray(element, np.str_), (len(count),))[column]
    properties = {name: np.asarray(values, np.float64)[column] for name, values in columns.items()}
    return Atoms(
        np.column_stack([position_A[column], z]), species, {**properties, "column": column.astype(np.float64)}
    )


def _overlapping(flat: Doubles) -> NDArray[np.intp]:
    """Number the groups of points that are connected by overlaps, in the order of their first points."""
    pairs = KDTree(flat).query_pairs(SAME_COLUMN_A, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(flat),) * 2)
    group = connected_components(links, directed=False)[1]
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[group], np.intp)


def _check_zone_axis(
    atoms_A: Doubles, position: Doubles, column: NDArray[np.intp], count: NDArray[np.int64]
) -> None:
    """Check that atoms are above each other, and columns apart."""
    off = np.linalg.norm(atoms_A[:, :2] - position[column], axis=1)
    if off.max() > SAME_COLUMN_A:
        where = column[off.argmax()]
        raise DataError(
            "the model is not in zone axis: its atoms overlap along z without being above each other, as "
            f"{count[where]} atoms {_place(position[where])}; turn a zone axis along z"
        )
    if len(count) == 1:
        return
    nearest = float(np.median(KDTree(position).query(position, k=2)[0][:, 1]))
    if nearest < NEAREST_COLUMNS_A:
        raise DataError(
            f"the model is not in zone axis: its atoms form {len(count)} columns that are only {nearest:.2g} "
            "Å apart; turn a zone axis along z"
        )
    thickness = np.ptp(atoms_A[:, 2])
    bond = np.median(KDTree(atoms_A).query(atoms_A, k=2)[0][:, 1])
    single = int((count == 1).sum())
    # Thin layers, and single atoms that are far apart, are columns of one atom in any direction
    if single > MOSTLY * len(count) and thickness > THICK * bond and bond < LONGEST_BOND_A:
        raise DataError(
            f"the model is not in zone axis: {single} of its {len(count)} columns have one atom, though it "
            f"is {thickness:.0f} Å thick; turn a zone axis along z"
        )


def _check_elements(
    species: NDArray[np.str_], element: NDArray[np.str_], position: Doubles, column: NDArray[np.intp]
) -> None:
    other = np.flatnonzero(species != element[column])
    if other.size:
        where = column[other[0]]
        raise DataError(
            f"the column {_place(position[where])} holds {element[where]} and {species[other[0]]}; columns "
            "of several elements cannot be used"
        )


def _check_distances(
    height: Doubles, position: Doubles, first: NDArray[np.int64], count: NDArray[np.int64]
) -> None:
    """Check that the atoms of each column, given one column after the other from below, are equally far."""
    for where in np.flatnonzero(count > 2):
        distance = np.diff(height[first[where] : first[where] + count[where]])
        usual = np.median(distance)
        if np.abs(distance - usual).max() > UNEVEN * usual:
            raise DataError(
                f"the atoms of the column {_place(position[where])} are {distance.min():.3g} to "
                f"{distance.max():.3g} Å apart; columns with vacancies or uneven distances cannot be used"
            )


def _place(position: Doubles) -> str:
    return f"at x = {position[0]:.2f}, y = {position[1]:.2f} Å"


def surface_atoms(position_A: Doubles, *, neighbour_A: float, n_neighbours: int) -> NDArray[np.bool_]:
    """Find the atoms at the surface: those with fewer neighbours than inside the crystal.

    Parameters
    ----------
    position_A : ndarray of shape (n_atoms, 3), float64
        x, y and z in Å.
    neighbour_A : float
        Largest distance of a nearest neighbour in Å.
    n_neighbours : int
        Nearest neighbours of an atom inside the crystal.

    Returns
    -------
    ndarray of shape (n_atoms,), bool
    """
    tree = KDTree(position_A)
    found = tree.query_ball_point(position_A, neighbour_A, return_length=True)
    return np.asarray(found - 1 < n_neighbours)
