"""Atoms told from noise, species from each other, and the rules that clean."""

from functools import cache

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from etcli.core.atoms.candidates import are_strong
from etcli.core.atoms.cleaning import merge_close, strong_locally, with_neighbours, without_close
from etcli.core.atoms.gaussian_fit import residual_of, start_atoms
from etcli.core.atoms.mixture import fit_mixture
from etcli.core.atoms.score_mixture import (
    SpecimenMixture,
    check_not_noise,
    least_score,
    separating_mixture,
)
from etcli.core.atoms.species import reclassify, without_drift
from etcli.core.errors import DataError
from tests.gaussians import gaussian_volume, jittered, noisy

MEANS = {1: [1.0], 2: [0.5, 1.0], 3: [0.35, 0.65, 1.0], 4: [0.3, 0.5, 0.75, 1.0]}


def made(n_species, *, n=120, n_noise=90, spread=0.06, seed=0):
    """Scores of species and of what is no atom, above 0.1, and what they are: 0 is no atom."""
    rng = np.random.default_rng(seed)
    score = [0.1 + rng.exponential(0.03, n_noise)]
    score += [rng.normal(mean, spread * mean, n) for mean in MEANS[n_species]]
    kind = np.repeat(np.arange(n_species + 1), [n_noise] + [n] * n_species)
    return np.concatenate(score), kind


@cache
def fitted(n_species):
    """Species and their number as they are found in scores of so many."""
    return fit_mixture(made(n_species)[0], threshold=0.1)


@pytest.mark.parametrize("n_species", MEANS)
@pytest.mark.parametrize("known", [False, True])
def test_species_and_their_number_are_found(n_species, known):
    score, kind = made(n_species)
    mixture = fit_mixture(score, threshold=0.1, n_species=n_species) if known else fitted(n_species)
    np.testing.assert_allclose(mixture.mean, MEANS[n_species], rtol=0.03)
    np.testing.assert_allclose(mixture.deviation / mixture.mean, 0.06, rtol=0.3)
    assert mixture.share.sum() == pytest.approx(1)
    probability = mixture.probabilities(score)
    assert (probability.argmax(axis=1) == kind).mean() > 0.98


def test_no_false_maxima_are_made_up_where_there_are_none():
    score, _ = made(1, n_noise=0)
    assert (fit_mixture(score, threshold=0.05, n_species=1).probabilities(score)[:, 0] < 0.5).all()


def test_order_does_not_matter_and_neither_does_the_unit():
    score, _ = made(2)
    one = fitted(2)
    order = np.random.default_rng(1).permutation(len(score))
    other = fit_mixture(1e4 * score[order], threshold=1e3)
    np.testing.assert_allclose(other.mean, 1e4 * one.mean, rtol=1e-4)
    np.testing.assert_allclose(
        other.probabilities(1e4 * score[order]), one.probabilities(score)[order], atol=1e-3
    )


def test_probabilities_sum_to_one_and_go_the_right_way():
    score, _ = made(2)
    mixture = fit_mixture(score, threshold=0.1, n_species=2)
    line = np.linspace(-1, 50, 1001)
    probability = mixture.probabilities(line)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert (probability[line < 0.1, 0] == 1).all()
    assert (probability[line > 1, 2] > 0.99).all()
    assert mixture.probabilities(np.empty(0)).shape == (0, 3)


def test_steps_never_lower_the_likelihood():
    score, _ = made(2, spread=0.15)
    mixture = fit_mixture(score, threshold=0.1, n_species=2)
    again = mixture.improved(score)
    assert again.improved(score).log_likelihood >= again.log_likelihood - 1e-6 * abs(again.log_likelihood)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("n_species", [1, 2, None])
def test_a_handful_of_maxima_are_atoms(n, n_species):
    score = np.random.default_rng(n).normal(1, 0.05, n)
    mixture = fit_mixture(score, threshold=0.1, n_species=n_species)
    probability = mixture.probabilities(score)
    assert np.isfinite(probability).all()
    assert (probability[:, 0] < 0.5).all()


def test_equal_scores_are_one_species():
    mixture = fit_mixture(np.full(100, 2.0), threshold=0.1, n_species=1)
    assert mixture.mean[0] == pytest.approx(2)
    assert mixture.probabilities(np.full(3, 2.0))[:, 1].min() > 0.9


def test_close_pairs_merge_at_their_weighted_mean():
    atoms = np.zeros((5, 10))
    atoms[:, 0] = [0, 1, 5, 5.5, 20]
    atoms[:, 3] = np.arange(5)
    merged, count = merge_close(atoms, np.array([3.0, 1, 1, 1, 1]), 1.2)
    assert count == 2
    np.testing.assert_allclose(merged[:, 0], [0.25, 5.25, 20])
    np.testing.assert_array_equal(merged[:, 3], [0, 2, 4])
    assert merge_close(atoms[:1], np.ones(1), 9)[1] == 0
    zero, count = merge_close(atoms[:2], np.zeros(2), 9)
    assert count == 1 and np.isfinite(zero).all()


def test_of_close_atoms_the_stronger_stay():
    place = np.random.default_rng(1).uniform(0, 8, (200, 3))
    score = np.random.default_rng(2).permutation(200).astype(float)
    stay = without_close(place, score, 1.5)
    assert pdist(place[stay]).min() >= 1.5
    for weak in np.flatnonzero(~stay):
        near = np.linalg.norm(place[stay] - place[weak], axis=1) < 1.5
        assert score[stay][near].max() > score[weak]
    order = np.random.default_rng(3).permutation(200)
    np.testing.assert_array_equal(without_close(place[order], score[order], 1.5), stay[order])


def test_neighbours_and_local_strength():
    place = np.concatenate([jittered(4, step=2.5), [[40, 40, 40]]])
    assert with_neighbours(place, 19)[:-1].sum() > 20 and not with_neighbours(place, 1)[-1]
    assert with_neighbours(place, 0).all()
    intensity, species = np.ones(len(place)), np.zeros(len(place), int)
    intensity[[3, 7]] = 0.2, 0.3
    strong = strong_locally(place, intensity, species, 0.25)
    np.testing.assert_array_equal(np.flatnonzero(~strong), [3])
    species[3] = 1  # of its own kind there is no other
    assert strong_locally(place, intensity, species, 0.25).all()
    assert strong_locally(place, intensity, species, 0.0).all()


@pytest.fixture
def alloy():
    """Two species in layers, in noise: the residual, the Gaussians, and the species."""
    true = jittered(6, step=6, spread=0.3)
    kind = (np.rint(true[:, 2] / 6) % 2).astype(int)
    height = np.where(kind == 1, 1.0, 0.7)
    volume = noisy(gaussian_volume(true, (42, 42, 42), height=height), 0.1)
    atoms = start_atoms(true, height, 1.25)
    return residual_of(volume, atoms), atoms, kind


def test_wrong_species_are_healed(alloy):
    residual, atoms, kind = alloy
    wrong = np.random.default_rng(1).choice(len(kind), 20, replace=False)
    flipped = kind.copy()
    flipped[wrong] = 1 - flipped[wrong]
    healed, count = reclassify(residual, atoms, flipped, 0.4, n_species=2)
    assert (healed != kind).mean() < 0.01
    assert count == (healed != flipped).sum() >= 18
    _, count = reclassify(residual, atoms, healed, 0.4, n_species=2)
    assert count == 0


def test_species_that_are_absent_are_left_aside(alloy):
    residual, atoms, kind = alloy
    same, count = reclassify(residual, atoms, np.zeros_like(kind), 0.4, n_species=2)
    assert count == 0 and (same == 0).all()
    alone, count = reclassify(residual, atoms[:1], kind[:1], 0.4, n_species=2)
    assert count == 0 and len(alone) == 1
    far = atoms[:3].copy()
    far[:, 0] = [5, 20, 35]  # Å apart: no neighbours
    same, count = reclassify(residual, far, np.array([0, 1, 0]), 4.0, n_species=2)
    assert count == 0


def test_a_drift_with_depth_is_found_and_taken_off():
    place = jittered(9, step=2.5, spread=0.2) - 12.5
    kind = np.random.default_rng(1).integers(0, 2, len(place))
    depth = (12.5 - 2.5) - abs(place).max(axis=1)
    ideal = np.where(kind == 1, 2.0, 1.0) * np.random.default_rng(2).normal(1, 0.02, len(place))
    flat, slope = without_drift(place, ideal * (1 - 0.03 * depth), kind)
    assert slope == pytest.approx(-0.03, rel=0.25)
    for k in range(2):
        assert abs(np.corrcoef(depth[kind == k], flat[kind == k])[0, 1]) < 0.2
    _, none = without_drift(place, ideal, kind)
    assert abs(none) < 2e-3
    same, slope = without_drift(place[:10], ideal[:10], kind[:10])
    assert slope == 0 and (same == ideal[:10]).all()


def test_a_flat_layer_has_no_depth_to_drift_with():
    place = jittered(6)[:, :] * [1, 1, 0]
    intensity = np.linspace(1, 2, len(place))
    same, slope = without_drift(place, intensity, np.zeros(len(place), int))
    assert slope == 0 and (same == intensity).all()


def film_scores(n_atoms, n_streaks, n_noise, *, seed=0):
    """Scores at the edge of a film: streaks as high as weak atoms fill the gap between noise and atoms."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(1, 0.27, n_atoms)
    others = np.concatenate([rng.uniform(0.2, 0.75, n_streaks), 0.1 + rng.exponential(0.12, n_noise)])
    score = np.concatenate([atoms, others])
    return score, np.arange(len(score)) < n_atoms


def separated_mixture(score, *, threshold, n_species=1):
    used = score[score > threshold]
    return separating_mixture(used, are_strong(used), threshold=threshold, n_species=n_species)


@pytest.mark.parametrize("counts", [(300, 120, 400), (60, 40, 200), (30, 60, 250)])
def test_where_the_histogram_has_no_minimum_strong_maxima_are_the_atoms(counts):
    wrong = []
    for seed in range(5):
        score, is_atom = film_scores(*counts, seed=seed)
        used = score > 0.12
        mixture, _ = separated_mixture(score, threshold=0.12)
        accepted = score >= least_score(score[used], mixture, 0.3)
        wrong.append((np.mean(~accepted[is_atom]), accepted[~is_atom].sum() / is_atom.sum()))
    missed, false = np.mean(wrong, axis=0)
    print(f"\n{counts}: {missed:.2f} missed, {false:.2f} false")
    assert missed < 0.2 and false < 0.3


def test_a_few_outliers_are_not_the_atoms():
    """A free fit of these takes the brightest few for the atoms."""
    rng = np.random.default_rng(0)
    score = np.concatenate(
        [0.1 + rng.exponential(0.17, 380), rng.normal(0.6, 0.15, 30), rng.normal(1.15, 0.04, 9)]
    )
    free = fit_mixture(score[score > 0.1], threshold=0.1, n_species=1)
    mixture, separated = separated_mixture(score, threshold=0.1)
    assert free.share[1] < 0.06 and not separated
    assert 0.08 < mixture.share[1] < 0.2 and 0.7 < mixture.mean[0] < 0.9


def test_a_clear_histogram_is_fitted_freely():
    score, _ = made(1)
    mixture, separated = separated_mixture(score, threshold=0.1)
    assert separated and mixture.mean == pytest.approx(fit_mixture(score, threshold=0.1, n_species=1).mean)
    score, _ = made(2)
    assert separated_mixture(score, threshold=0.1, n_species=2)[1]


def test_maxima_of_all_heights_are_atoms_only_if_their_widths_are_alike():
    score, _ = film_scores(60, 40, 200)
    everywhere = np.ones(len(score), bool)
    mixture, separated = separated_mixture(score, threshold=0.12)
    found = SpecimenMixture(mixture, score > 0.12, everywhere, separated)
    rng = np.random.default_rng(1)
    check_not_noise(found, score, np.exp(rng.normal(0, 0.09, len(score))))
    with pytest.raises(DataError, match=r"of all heights and widths .* as those of noise"):
        check_not_noise(found, score, np.exp(rng.normal(0, 0.16, len(score))))
    if not separated:
        with pytest.raises(DataError, match="of all heights"):
            check_not_noise(found, score, None)
