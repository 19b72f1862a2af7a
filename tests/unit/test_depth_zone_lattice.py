"""Columns of crystals along zone axes: known spacings and coordinations, and the crystal itself."""

from itertools import product

import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.core.depth.zone_lattice import ZoneLattice, zone_lattice
from etcli.core.errors import UsageError
from tests.crystals import crystal

A = 4.0
ROOT_2, ROOT_3 = np.sqrt(2), np.sqrt(3)


@pytest.mark.parametrize(
    ("kind", "zone", "spacing", "between", "neighbours"),
    [
        ("fcc", (1, 0, 0), A, A / 2, 12),
        ("fcc", (1, 1, 0), A / ROOT_2, A * np.sqrt(6) / 4, 12),
        ("fcc", (1, 1, 1), A * ROOT_3, A / np.sqrt(6), 12),
        ("fcc", (2, 1, 1), A * np.sqrt(6) / 2, A / (2 * ROOT_2), 12),
        ("fcc", (-4, 1, 3), A * np.sqrt(26) / 2, None, 12),
        ("bcc", (0, 0, 1), A, A / ROOT_2, 8),
        ("bcc", (1, 1, 1), A * ROOT_3 / 2, A * np.sqrt(2 / 3), 8),
        ("bcc", (1, 1, 0), A * ROOT_2, A / 2, 8),
        ("diamond", (1, 1, 0), A / ROOT_2, A / 4, 4),
        ("diamond", (1, 0, 0), A, A / (2 * ROOT_2), 4),
        ("hcp", (0, 0, 1), A * np.sqrt(8 / 3), A / ROOT_3, 12),
        ("hcp", (1, 0, 0), A, None, 12),
    ],
)
def test_columns_of_known_crystals(
    kind: str, zone: tuple[int, int, int], spacing: float, between: float | None, neighbours: int
) -> None:
    cell, edges = crystal(kind, A)
    lattice = zone_lattice(cell, edges, zone)
    assert lattice.spacing_A == pytest.approx(spacing)
    if between is not None:
        assert lattice.column_spacing_A == pytest.approx(between)
    assert lattice.n_neighbours == neighbours and lattice.element == "Au"
    volume = abs(np.linalg.det(edges)) / len(cell)
    area = abs(np.linalg.det(lattice.vectors_A)) / len(lattice.column_A)
    assert area * lattice.spacing_A == pytest.approx(volume)


def atoms_around(lattice: ZoneLattice, column: int, reach_A: float) -> np.ndarray:
    """Vectors from an atom of a column to all atoms in a ball."""
    cells = np.array(list(product(range(-9, 10), repeat=2)))[:, np.newaxis]
    flat = (cells @ lattice.vectors_A + lattice.column_A - lattice.column_A[column]).reshape(-1, 2)
    level = (cells @ lattice.rise_A + lattice.height_A - lattice.height_A[column]).ravel()
    near = np.linalg.norm(flat, axis=1) < reach_A
    flat, level = flat[near], np.mod(level[near], lattice.spacing_A)
    steps = lattice.spacing_A * np.arange(-8, 8)
    vectors = np.column_stack([np.repeat(flat, len(steps), axis=0), np.add.outer(level, steps).ravel()])
    return vectors[np.linalg.norm(vectors, axis=1) < reach_A]


def around_in_crystal(cell: Atoms, edges: np.ndarray, atom: int, reach_A: float) -> np.ndarray:
    shifts = np.array(list(product(range(-6, 7), repeat=3))) @ edges
    vectors = (cell.position_A + shifts[:, np.newaxis]).reshape(-1, 3) - cell.position_A[atom]
    return vectors[np.linalg.norm(vectors, axis=1) < reach_A]


def cylindrical(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Height along an axis and distance from it, sorted."""
    height = vectors @ axis / np.linalg.norm(axis)
    distance = np.sqrt(np.maximum((vectors**2).sum(axis=1) - height**2, 0))
    table = np.round(np.column_stack([height, distance]), 4) + 0.0
    return table[np.lexsort(table.T)]


@pytest.mark.parametrize("kind", ["fcc", "bcc", "diamond", "hcp"])
@pytest.mark.parametrize("zone", [(1, 0, 0), (1, 1, 0), (0, 1, 2), (3, -1, 2)])
def test_the_columns_are_the_crystal(kind: str, zone: tuple[int, int, int]) -> None:
    cell, edges = crystal(kind, A)
    try:
        lattice = zone_lattice(cell, edges, zone)
    except UsageError as error:
        assert "equal distances" in str(error)
        return
    expected = {
        tuple(map(tuple, cylindrical(around_in_crystal(cell, edges, atom, 6.3), np.array(zone) @ edges)))
        for atom in range(len(cell))
    }
    for column in range(len(lattice.column_A)):
        found = cylindrical(atoms_around(lattice, column, 6.3), np.array([0.0, 0.0, 1.0]))
        closest = min(np.abs(found - np.array(other)).max() for other in expected if len(other) == len(found))
        assert closest < 1e-3


def test_the_columns_are_not_mirrored() -> None:
    """Three atoms of a triclinic crystal, found by their heights and distances, keep their handedness."""
    edges = np.array([[3.0, 0.1, 0.2], [0.7, 3.4, -0.3], [0.5, -0.9, 4.1]])
    cell, zone = Atoms(np.zeros((1, 3)), np.array(["Au"])), (1, 2, 1)
    lattice = zone_lattice(cell, edges, zone)
    axis = zone @ edges / np.linalg.norm(zone @ edges)
    here, there = atoms_around(lattice, 0, 9.0), around_in_crystal(cell, edges, 0, 9.0)
    keys = [
        np.column_stack([vectors @ along, np.linalg.norm(vectors, axis=1)])
        for vectors, along in ((here, np.array([0.0, 0.0, 1.0])), (there, axis))
    ]
    for chosen in ((0, 1, 0), (1, 1, 0)), ((0, 0, 1), (1, 0, 0)), ((0, 1, 1), (1, 0, -1)):
        wanted = np.array([*chosen, (1, -1, 0)]) @ edges
        same = [
            int(np.abs(keys[0] - [vector @ axis, np.linalg.norm(vector)]).sum(axis=1).argmin())
            for vector in wanted
        ]
        assert np.linalg.det(here[same]) == pytest.approx(np.linalg.det(wanted), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("zone", [(1, 0, 0), (1, 1, 1), (1, 1, 2)])
def test_any_cell_of_a_crystal_gives_the_same_columns(zone: tuple[int, int, int]) -> None:
    cell, edges = crystal("fcc", A)
    primitive = A / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    direction = np.array(zone) @ edges
    indices = np.linalg.solve(primitive.T, direction)
    doubled = np.array([[2.0, 0, 0], [0, 1, 0], [1, 0, 1]]) @ edges
    sites = np.concatenate([cell.position_A, cell.position_A + edges[0]])
    in_doubled = np.linalg.solve(doubled.T, 2 * direction)
    one = zone_lattice(cell, edges, zone)
    for other in (
        zone_lattice(
            Atoms(np.zeros((1, 3)), np.array(["Au"])), primitive, tuple(np.rint(indices).astype(int))
        ),
        zone_lattice(Atoms(sites, np.full(8, "Au")), doubled, tuple(np.rint(in_doubled).astype(int))),
        zone_lattice(Atoms(cell.position_A + np.array([0.3, -9.1, 2.2]), cell.species), edges, zone),
    ):
        assert other.spacing_A == pytest.approx(one.spacing_A)
        assert other.column_spacing_A == pytest.approx(one.column_spacing_A)
        assert (other.n_neighbours, other.neighbour_A) == (12, pytest.approx(one.neighbour_A))
        np.testing.assert_allclose(
            cylindrical(atoms_around(other, 0, 6.3), np.array([0.0, 0.0, 1.0])),
            cylindrical(atoms_around(one, 0, 6.3), np.array([0.0, 0.0, 1.0])),
            atol=1e-3,
        )


def test_what_is_no_lattice_of_countable_columns() -> None:
    cell, edges = crystal("fcc", A)
    with pytest.raises(UsageError, match=r"\[0 0 0\] is no zone axis"):
        zone_lattice(cell, edges, (0, 0, 0))
    mixed = Atoms(cell.position_A, np.array(["Au", "Au", "Cu", "Au"]))
    with pytest.raises(UsageError, match="several elements, Au, Cu"):
        zone_lattice(mixed, edges, (1, 0, 0))
    cell, edges = crystal("diamond", A)
    with pytest.raises(UsageError, match=r"1\.73 to 5\.2 Å apart"):
        zone_lattice(cell, edges, (1, 1, 1))
