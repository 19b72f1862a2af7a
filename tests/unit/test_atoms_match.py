"""Matching of atoms: against a search of all assignments, by hand, and by chance."""

import time

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from etcli.core.atomic_model import Atoms
from etcli.core.atoms import match
from etcli.core.atoms.agreement import better_axis_mapping, chance_percent, measure_agreement
from etcli.core.atoms.match import align_rigid, fit_rigid, match_atoms
from etcli.core.errors import DataError, UsageError
from tests.solids import solid


def cheapest(found: np.ndarray, reference: np.ndarray, cutoff: float) -> tuple[int, float]:
    square = cdist(found, reference) ** 2
    table = np.where(square <= cutoff**2, square, 1e5)
    i, j = linear_sum_assignment(table)
    kept = table[i, j] < 1e5
    return int(kept.sum()), float(table[i, j][kept].sum())


@pytest.mark.parametrize("cutoff", [0.75, 1.5, 2, 2.5])
@pytest.mark.parametrize("dense", [0, 60, 10_000])
def test_the_pairs_are_the_cheapest_assignment(
    cutoff: float, dense: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(match, "DENSE", dense)
    reference = solid(9)
    found = np.concatenate([reference[30:, [1, 2, 0]] + 0.9, reference[:50] + 0.1])
    pairs = match_atoms(found, reference, cutoff_A=cutoff)
    distance = np.linalg.norm(found[pairs.found] - reference[pairs.reference], axis=1)
    assert distance.max() <= cutoff
    assert len(set(pairs.found)) == len(set(pairs.reference)) == len(pairs)
    n, cost = cheapest(found, reference, cutoff)
    assert len(pairs) == n and (distance**2).sum() == pytest.approx(cost, rel=1e-12)
    assert (~pairs.extra).sum() == (~pairs.missing).sum() == n
    assert not pairs.extra[pairs.found].any() and not pairs.missing[pairs.reference].any()


def test_as_many_pairs_as_possible_come_before_short_ones() -> None:
    reference = np.array([[0.0, 0, 0], [1, 0, 0]])
    found = np.array([[0.9, 0, 0], [1.7, 0, 0]])
    pairs = match_atoms(found, reference, cutoff_A=1)
    assert pairs.found.tolist() == [0, 1] and pairs.reference.tolist() == [0, 1]


def test_one_atom_may_be_the_nearest_of_two() -> None:
    reference = np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]])
    found = np.array([[0.4, 0, 0], [0.55, 0, 0], [5, 0, 0]])
    near = match_atoms(found[:1], reference, cutoff_A=0.75, rule="nearest")
    assert near.found.tolist() == [0, 0] and near.missing.tolist() == [False, False, True]
    near = match_atoms(found, reference, cutoff_A=0.75, rule="nearest")
    assert near.found.tolist() == [0, 1] and near.extra.tolist() == [False, False, True]
    # both lie within the cutoff of the same atom: neither is extra by this rule, one is by the other
    assert not match_atoms(found[:2], reference[:1], cutoff_A=0.75, rule="nearest").extra.any()
    assert match_atoms(found[:2], reference[:1], cutoff_A=0.75).extra.sum() == 1


def test_the_cutoff_itself_is_within() -> None:
    places = np.zeros((1, 3)), np.array([[0.75, 0, 0]])
    for rule in match.RULES:
        assert len(match_atoms(*places, cutoff_A=0.75, rule=rule)) == 1
        assert len(match_atoms(*places, cutoff_A=0.7499, rule=rule)) == 0


def test_nothing_is_found_in_nothing() -> None:
    none, one = np.empty((0, 3)), np.zeros((1, 3))
    assert len(match_atoms(none, one)) == 0 and match_atoms(none, one).missing.all()
    assert match_atoms(one, none).extra.all()
    with pytest.raises(UsageError, match="cutoff must be a positive number"):
        match_atoms(one, one, cutoff_A=0)
    with pytest.raises(UsageError, match="one-to-one or nearest"):
        match_atoms(one, one, rule="all")


@pytest.mark.parametrize("cutoff", [0.75, 1.5])
def test_many_atoms_take_little_time(cutoff: float) -> None:
    reference = solid(47)
    found = reference + np.random.default_rng(1).normal(size=reference.shape) * 0.2
    start = time.process_time()
    assert len(match_atoms(found, reference, cutoff_A=cutoff)) > 0.99 * len(reference)
    assert time.process_time() - start < 6


def test_errors_are_those_put_in() -> None:
    reference = Atoms(solid(8), np.array(["Si", "O"] * 256))
    rng = np.random.default_rng(5)
    error = rng.normal(size=(512, 3)) * [0.05, 0.1, 0.02] + [0.03, 0, -0.01]
    species = reference.species.copy()
    species[:10] = "X"
    species[10:20] = reference.species[11:21]
    kept = np.arange(40, 512)
    kept = np.concatenate([np.arange(30), kept])
    model = Atoms(
        np.concatenate([(reference.position_A + error)[kept], [[50.0, 0, 0], [60, 0, 0]]]),
        np.concatenate([species[kept], ["O", "X"]]),
    )
    found = measure_agreement(model, reference)
    total = found.total
    assert (total.n_reference, total.n_found, total.n_extra) == (512, 502, 2)
    assert total.found_percent == pytest.approx(100 * 502 / 512)
    assert total.missing_percent == pytest.approx(100 * 10 / 512)
    assert total.false_percent == pytest.approx(100 * 2 / 512)
    assert (total.n_named, total.n_right) == (492, 482)
    inside = error[kept]
    assert total.errors.rmsd_A == pytest.approx(np.sqrt((inside**2).sum(axis=1).mean()))
    assert total.errors.mean_A == pytest.approx(np.linalg.norm(inside, axis=1).mean())
    np.testing.assert_allclose(total.errors.offset_A, inside.mean(axis=0))
    np.testing.assert_allclose(total.errors.rmsd_axis_A, np.sqrt((inside**2).mean(axis=0)))
    np.testing.assert_allclose(total.errors.mean_axis_A, np.abs(inside).mean(axis=0))
    assert list(found.species) == ["X", "O", "Si"]
    assert found.confusion.sum() == 502 and found.confusion[:, 0].tolist() == [0, 5, 5]
    assert found.confusion[1, 2] == found.confusion[2, 1] == 5
    assert found.species["O"].n_extra == 1 and found.species["X"].n_extra == 1
    assert found.species["Si"].n_reference == 256
    assert np.isnan(found.species["X"].found_percent)


def test_rigid_motion_is_undone() -> None:
    reference = solid(8)
    rng = np.random.default_rng(2)
    turn = Rotation.from_euler("xyz", [1.5, -1, 2], degrees=True)
    found = turn.apply(reference[rng.permutation(512)[:480]]) + np.array([0.2, -0.1, 0.15])
    found += rng.normal(size=found.shape) * 0.05
    motion = align_rigid(found, reference)
    assert motion.angle_deg == pytest.approx(np.rad2deg(turn.magnitude()), abs=0.05)
    pairs = match_atoms(motion(found), reference)
    assert len(pairs) == 480
    error = motion(found)[pairs.found] - reference[pairs.reference]
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.05 * np.sqrt(3) * 1.03
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=1e-12)
    with pytest.raises(DataError, match="too few to align by"):
        align_rigid(found[:2], reference)


def test_a_fit_never_mirrors() -> None:
    points = solid(4)
    motion = fit_rigid(points * [1, 1, -1], points)
    assert np.linalg.det(motion.rotation) == pytest.approx(1)
    turn = Rotation.from_euler("z", 170, degrees=True)
    exact = fit_rigid(points, turn.apply(points) + 3)
    np.testing.assert_allclose(exact.rotation, turn.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(exact.shift_A, 3, atol=1e-12)
    assert exact.angle_deg == pytest.approx(170)


def test_chance_grows_with_the_cutoff_as_in_a_random_solid() -> None:
    places = solid(14, spread=0.5)
    places = places[np.linalg.norm(places, axis=1) < 17]
    found = [chance_percent(places, np.random.default_rng(1), cutoff_A=cutoff) for cutoff in (0.5, 1.0)]
    density = 1 / 2.6**3
    # the nearest of independent places: 1 - exp(-4/3 π r³ ρ), a little less one to one
    for percent, cutoff in zip(found, (0.5, 1.0), strict=True):
        assert percent == pytest.approx(100 * (1 - np.exp(-4 / 3 * np.pi * cutoff**3 * density)), rel=0.25)
    film = places[np.abs(places[:, 2]) < 5]
    assert chance_percent(film, np.random.default_rng(1), cutoff_A=1.0) == pytest.approx(found[1], rel=0.25)
    again = chance_percent(places[::-1], np.random.default_rng(1), cutoff_A=0.5)
    assert again == found[0]
    assert np.isnan(chance_percent(places[:1], np.random.default_rng(1)))


@pytest.mark.parametrize(
    ("axes", "signs", "shift", "words", "mirrored"),
    [
        ([0, 1, 2], [1, 1, -1], 0, "x,y,-z", True),
        ([0, 2, 1], [1, -1, 1], 0, "x,z,-y", False),
        ([2, 0, 1], [1, 1, 1], 20.0, "y,z,x", False),
    ],
)
def test_the_frame_that_was_meant_is_found(
    axes: list[int], signs: list[int], shift: float, words: str, mirrored: bool
) -> None:
    reference = solid(9)
    model = reference[:, axes] * signs + shift + np.random.default_rng(3).normal(size=reference.shape) * 0.1
    frame = better_axis_mapping(model, reference, np.random.default_rng(1))
    assert frame is not None
    assert (frame.axes, frame.is_mirrored) == (words, mirrored)
    np.testing.assert_allclose(model @ frame.matrix.T + frame.shift_A, reference, atol=0.6)
    assert frame.found_percent > 99
    turned = Rotation.from_euler("xyz", [30, 40, 50], degrees=True).apply(reference)
    assert better_axis_mapping(turned, reference, np.random.default_rng(1)) is None
