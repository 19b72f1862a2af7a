"""Columns of a model: crystals in zone axis, and what is no column."""

import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.core.depth.atom_columns import AtomColumns, atoms_of_columns, columns_of_atoms, surface_atoms
from etcli.core.errors import DataError

A = 4.078


def gold(radius_A: float, zone: tuple[float, float, float], *, off_deg: float = 0.0) -> Atoms:
    """A ball of gold with a zone axis along z, tilted away from it about y."""
    cells = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    ball = A * (cells[:, None] + basis).reshape(-1, 3)
    ball = ball[np.linalg.norm(ball, axis=1) < radius_A]
    z = np.array(zone) / np.linalg.norm(zone)
    x = np.cross([0.3, 0.5, 0.81], z)
    x /= np.linalg.norm(x)
    tilt = np.deg2rad(off_deg)
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    return Atoms(ball @ np.stack([x, np.cross(z, x), z]).T @ about_y.T, np.full(len(ball), "Au"))


@pytest.mark.parametrize(
    ("zone", "spacing_A", "area_A2"),
    [
        ((1, 0, 0), A, A**2 / 4),
        ((1, 1, 0), A / np.sqrt(2), A**2 / np.sqrt(8)),
        ((1, 1, 1), A * np.sqrt(3), A**2 / np.sqrt(48)),
        ((2, 1, 1), A * np.sqrt(6) / 2, A**2 / np.sqrt(24)),
    ],
)
def test_columns_of_a_ball_of_gold(
    zone: tuple[float, float, float], spacing_A: float, area_A2: float
) -> None:
    atoms = gold(15.0, zone)
    columns = columns_of_atoms(atoms)
    several = columns.count > 1
    assert columns.count.sum() == len(atoms) and set(columns.element) == {"Au"}
    np.testing.assert_allclose(columns.spacing_A[several], spacing_A)
    assert np.isnan(columns.spacing_A[~several]).all()
    # columns within a disc, and atoms along the chord of the ball at each
    inside = np.hypot(*columns.position_A.T) < 12
    assert inside.sum() == pytest.approx(np.pi * 12**2 / area_A2, rel=0.08)
    chord = 2 * np.sqrt(15.0**2 - (columns.position_A**2).sum(axis=1))
    assert np.abs(columns.count - chord / spacing_A).max() <= 1 + 1e-9
    assert np.abs(columns.depth_A).max() <= spacing_A / 2 + 1e-9


def test_the_order_is_that_of_the_first_atoms() -> None:
    position = [[5.0, 0, 2], [0, 1, -3], [5.1, 0, -2], [0, 1, 1], [0, 1, 5], [0, -9, 7]]
    columns = columns_of_atoms(Atoms(np.array(position), np.array(["Pt", "Au", "Pt", "Au", "Au", "C"])))
    np.testing.assert_allclose(columns.position_A, [[5.05, 0], [0, 1], [0, -9]])
    assert columns.count.tolist() == [2, 3, 1] and columns.element.tolist() == ["Pt", "Au", "C"]
    assert columns.depth_A.tolist() == [0, 1, 7]
    np.testing.assert_array_equal(columns.spacing_A, [4, 4, np.nan])


def test_atoms_of_columns_are_about_their_depths() -> None:
    atoms = atoms_of_columns(
        np.array([[1.0, 2.0], [-3.0, 4.0]]),
        np.array([3, 1]),
        np.array([10.0, -7.0]),
        np.array([2.5, np.nan]),
        "Au",
        sigma_A=np.array([0.5, 0.25]),
    )
    assert atoms.position_A.tolist() == [[1, 2, 7.5], [1, 2, 10], [1, 2, 12.5], [-3, 4, -7]]
    assert atoms.columns["column"].tolist() == [0, 0, 0, 1]
    assert atoms.columns["sigma_A"].tolist() == [0.5, 0.5, 0.5, 0.25]
    assert atoms.species.tolist() == ["Au"] * 4


@pytest.mark.parametrize(("radius_A", "off_deg"), [(15.0, 2), (15.0, 4), (15.0, 10), (10.0, 4), (10.0, 20)])
def test_a_tilted_crystal_is_not_in_zone_axis(radius_A: float, off_deg: float) -> None:
    with pytest.raises(DataError, match=r"not in zone axis.* turn a zone axis along z"):
        columns_of_atoms(gold(radius_A, (1, 1, 0), off_deg=off_deg))


def test_single_atoms_that_are_far_apart_are_columns() -> None:
    rng = np.random.default_rng(3)
    flat = np.argwhere(np.ones((6, 6))) * 5.0 + rng.uniform(-1, 1, (36, 2))
    columns = columns_of_atoms(Atoms(np.column_stack([flat, rng.uniform(0, 40, 36)]), np.full(36, "Pt")))
    assert columns.count.tolist() == [1] * 36


def test_a_thin_layer_has_columns_of_one_atom() -> None:
    atoms = gold(14.0, (1, 1, 1))
    layers = atoms.select(np.abs(atoms.position_A[:, 2]) < 3)  # three of them: A, B, C
    assert set(columns_of_atoms(layers).count) == {1}


def column(z: list[float], species: list[str] | None = None) -> Atoms:
    """A column at x = 1, y = -2 Å with a good one beside it."""
    position = [*([1.0, -2.0, height] for height in z), *([6.0, 0.0, 3.0 * k] for k in range(4))]
    return Atoms(np.array(position), np.array([*(species or ["Au"] * len(z)), *["Au"] * 4]))


def test_relaxed_distances_are_even() -> None:
    assert columns_of_atoms(column([0, 2.9, 5.8, 8.4])).spacing_A[0] == pytest.approx(2.8)


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (column([0, 3, 9, 12]), r"x = 1.00, y = -2.00 Å are 3 to 6 Å apart; columns with vacancies"),
        (column([0, 3, 3, 6]), r"x = 1.00, y = -2.00 Å are 0 to 3 Å apart"),
        (column([0, 3, 6], ["Au", "Au", "Cu"]), r"x = 1.00, y = -2.00 Å holds Au and Cu"),
        (Atoms(np.empty((0, 3)), np.empty(0, np.str_)), "without atoms has no columns"),
        (Atoms(np.outer([0, 0.28, 0.56], np.ones(3)), np.full(3, "Au")), "not in zone axis"),
    ],
)
def test_what_is_no_column(atoms: Atoms, words: str) -> None:
    with pytest.raises(DataError, match=words):
        columns_of_atoms(atoms)


def test_columns_that_do_not_fit_together() -> None:
    two, element = np.zeros(2), np.full(2, "Au")
    with pytest.raises(DataError, match="2 columns need as many"):
        AtomColumns(np.zeros((3, 2)), np.ones(2, np.int64), two, two, element)
    with pytest.raises(DataError, match="column 2 has no atom"):
        AtomColumns(np.zeros((2, 2)), np.array([1, 0]), two, two, element)


def test_the_surface_of_a_cube() -> None:
    """A face-centred cube of n³ cells: its surface is all that is on its faces."""
    grid = np.indices((9, 9, 9)).reshape(3, -1).T
    cube = A / 2 * grid[grid.sum(axis=1) % 2 == 0]
    faces = ((cube == 0) | (cube == cube.max())).any(axis=1)
    found = surface_atoms(cube, neighbour_A=0.85 * A, n_neighbours=12)
    np.testing.assert_array_equal(found, faces)
    without = np.linalg.norm(cube - A * np.array([2.0, 2, 2]), axis=1)
    vacancy = surface_atoms(cube[without > 0], neighbour_A=0.85 * A, n_neighbours=12)
    np.testing.assert_array_equal(vacancy, (faces | (without < 0.85 * A))[without > 0])
