"""Distances, bonds and coordination of lattices, particles and films that are known."""

from functools import cache

import numpy as np
import pytest
from ase.build import bulk

from etcli.core.atomic_model import Atoms
from etcli.core.atoms import histograms
from etcli.core.atoms.body import find_body
from etcli.core.atoms.structure import (
    STEP_A,
    Structure,
    first_minimum_A,
    measure_structure,
    pair_distribution,
)
from etcli.core.errors import DataError
from tests.solids import LATTICES, lattice


@cache
def sphere(name: str, *, jitter_A: float) -> Structure:
    """The structure of a sphere of a crystal, found once."""
    return measure_structure(lattice(name, jitter_A=jitter_A))


def density(name: str) -> float:
    cell, _, _, n = LATTICES[name]
    return n / cell.cell[0, 0] ** 3


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("jitter_A", [0.0, 0.06])
def test_coordination_and_bond_lengths_of_lattices(name: str, jitter_A: float) -> None:
    cell, bonds, length, _ = LATTICES[name]
    found = sphere(name, jitter_A=jitter_A)
    if name == "bcc" and jitter_A:  # the second shell is near, so that the minimum is where chance has it
        assert 7.5 < found.coordination[found.inside].mean() < 14.5
        return
    assert found.inside.sum() > 50
    assert set(found.coordination[found.inside]) == {bonds}
    assert found.coordination.max() == bonds
    assert found.length_A.mean() == pytest.approx(
        length * cell.cell[0, 0], abs=1e-9 if not jitter_A else 0.02
    )
    if not jitter_A:
        np.testing.assert_allclose(found.length_A, length * cell.cell[0, 0], atol=1e-9)
        np.testing.assert_allclose(found.nearest_A, length * cell.cell[0, 0], atol=1e-9)
    assert len(found.bonds) == found.coordination.sum() / 2


def test_bond_angles_of_lattices() -> None:
    tetrahedral = np.rad2deg(np.arccos(-1 / 3))
    found = sphere("diamond", jitter_A=0.0)
    np.testing.assert_allclose(found.angle_deg, tetrahedral, atol=1e-6)
    n = found.coordination
    assert len(found.angle_deg) == (n * (n - 1) // 2).sum()
    np.testing.assert_array_equal(np.bincount(found.centre, minlength=len(n)), n * (n - 1) // 2)
    close = sphere("fcc", jitter_A=0.0)
    inner = close.angle_deg[close.inside[close.centre]]
    angles, counts = np.unique(np.round(inner), return_counts=True)
    # of the 66 angles of an atom of fcc: 24 of 60°, 12 of 90°, 24 of 120°, 6 of 180°
    assert angles.tolist() == [60, 90, 120, 180]
    np.testing.assert_array_equal(counts / close.inside.sum(), [24, 12, 24, 6])


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("shape", ["sphere", "film"])
def test_density_and_coordination_do_not_depend_on_the_surface(name: str, shape: str) -> None:
    atoms = lattice(name, shape)
    distribution = pair_distribution(atoms)
    assert distribution.density_A3 == pytest.approx(density(name), rel=0.03)
    r, g = distribution.distance_A, distribution.g
    within = r < first_minimum_A(distribution)
    bonds = (4 * np.pi * r**2 * distribution.density_A3 * g * STEP_A)[within].sum()
    assert bonds == pytest.approx(LATTICES[name][1], rel=0.05)
    assert np.all(g[r < 0.9 * LATTICES[name][2] * LATTICES[name][0].cell[0, 0]] == 0)


@pytest.mark.parametrize("shape", ["sphere", "film", "shell"])
def test_atoms_without_order_are_as_dense_at_every_distance(shape: str) -> None:
    rng = np.random.default_rng(6)
    place = rng.uniform(-18, 18, (4500, 3))
    radius = np.linalg.norm(place, axis=1)
    kept = {
        "sphere": radius < 18,
        "film": np.abs(place[:, 2]) < 6,
        "shell": (radius < 18) & (radius > 9),
    }[shape]
    place = place[kept]
    g = pair_distribution(Atoms(place, np.full(len(place), "Si")), reach_A=10).g
    assert g[40:].mean() == pytest.approx(1, abs=0.08)
    assert g[40:120].mean() == pytest.approx(g[120:].mean(), abs=0.06)


def test_partial_distributions_add_up() -> None:
    salt = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (5, 5, 5)
    species = np.array(salt.get_chemical_symbols())
    atoms = Atoms(salt.positions - salt.positions.mean(axis=0), species)
    distribution = pair_distribution(atoms)
    assert list(distribution.partial) == [("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")]
    parts = distribution.partial
    total = (parts["Na", "Na"] + 2 * parts["Na", "Cl"] + parts["Cl", "Cl"]) / 4
    np.testing.assert_allclose(total, distribution.g, atol=1e-9)
    shortest = {pair: distribution.distance_A[np.argmax(g > 0)] for pair, g in parts.items()}
    assert shortest["Na", "Cl"] == pytest.approx(2.82, abs=STEP_A)
    assert shortest["Na", "Na"] == shortest["Cl", "Cl"] == pytest.approx(5.64 / np.sqrt(2), abs=STEP_A)
    found = measure_structure(atoms)
    assert set(found.neighbours("Cl")[found.inside & (species == "Na")]) == {6}
    assert set(found.neighbours("Na")[found.inside & (species == "Na")]) == {0}
    curves = histograms.bond_lengths(found, np.linspace(0, 4, 41))
    assert list(curves) == ["", "Na_Cl"]
    np.testing.assert_allclose(curves[""], curves["Na_Cl"])
    assert curves[""].sum() * 0.1 == pytest.approx(1)
    angles = histograms.bond_angles(found, np.linspace(0, 180, 91))
    np.testing.assert_allclose(angles["Na"] + angles["Cl"], angles[""], atol=1e-12)
    shares = histograms.coordination(found)
    assert shares["Na"][6] == shares["Cl"][6] == shares[""][6] == 1


def test_the_order_of_the_atoms_plays_no_part() -> None:
    atoms = lattice("diamond", jitter_A=0.06)
    order = np.random.default_rng(1).permutation(len(atoms))
    one, other = sphere("diamond", jitter_A=0.06), measure_structure(atoms.select(order))
    np.testing.assert_array_equal(one.distribution.g, other.distribution.g)
    assert one.cutoff_A == other.cutoff_A
    np.testing.assert_array_equal(one.coordination[order], other.coordination)


def test_the_cutoff_may_be_given_and_has_a_limit() -> None:
    atoms = lattice("fcc")
    found = measure_structure(atoms, cutoff_A=4.2)
    assert set(found.coordination[found.inside]) == {18}
    rng = np.random.default_rng(2)
    gas = measure_structure(Atoms(rng.uniform(-10, 10, (500, 3)), np.full(500, "X")))
    assert gas.cutoff_A <= 2 * np.median(gas.nearest_A)


def test_few_atoms_have_a_structure_two_at_least() -> None:
    pair = Atoms(np.array([[0.0, 0, 0], [2.4, 0, 0]]), np.array(["Si", "Si"]))
    found = measure_structure(pair)
    assert found.coordination.tolist() == [1, 1] and len(found.angle_deg) == 0
    assert found.length_A.tolist() == pytest.approx([2.4])
    with pytest.raises(DataError, match="two at least"):
        measure_structure(pair.select(np.array([0])))
    with pytest.raises(DataError, match="no two atoms are near"):
        measure_structure(Atoms(np.array([[0.0, 0, 0], [99, 0, 0]]), np.array(["Si", "Si"])))


def test_the_body_of_a_sphere() -> None:
    atoms = lattice("fcc", size_A=15)
    body = find_body(atoms.position_A)
    volume = (body.depth_A > 0).sum() * body.voxel_A**3
    assert volume * body.density_A3 == pytest.approx(len(atoms), rel=0.01)
    assert volume == pytest.approx(len(atoms) / density("fcc"), rel=0.02)
    assert body.depth_at(np.array([[0.0, 0, 0]]))[0] == pytest.approx(15, abs=1.5)
    assert body.depth_at(np.array([[0.0, 0, 18], [500, 0, 0]])).max() < 0
    radius = np.cbrt(volume / (4 / 3 * np.pi))
    r = np.array([0.0, 3, 8, 14])
    # the overlap of a sphere with itself, moved by r
    expected = 1 - 3 / 4 * r / radius + (r / radius) ** 3 / 16
    np.testing.assert_allclose(body.autocorrelation(r), expected, atol=0.02)
