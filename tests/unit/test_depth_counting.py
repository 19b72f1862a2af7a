"""Numbers of atoms in columns of which they are known, and the probabilities that they are right."""

import numpy as np
import pytest
from scipy.stats import norm

from etcli.core.depth.counting import (
    count_by_library,
    count_by_mixture,
    count_hybrid,
    first_count,
    single_atom_sensitivity,
)
from etcli.core.depth.cross_section_mixture import fit_mixtures
from etcli.core.errors import DataError, UsageError

K = np.arange(1, 21)
FALLING_A2 = np.cumsum(0.012 + 0.0095 * np.exp(-(K - 1) / 4))
"""Library whose steps fall from 0.0215 to 0.012 Å²."""
RISING_A2 = 0.03 * K - 0.011 * np.exp(-(K - 1) / 2)
"""Library whose first step is the smallest."""


def columns(library, count, noise, seed=0):
    """Cross-sections with noise in parts of the mean step."""
    rng = np.random.default_rng(seed)
    return library[np.asarray(count) - 1] + rng.normal(0, noise * np.diff(library).mean(), len(count))


def test_the_nearest_cross_section_of_the_library_counts_and_zero_is_one():
    x = np.sort(np.random.default_rng(0).uniform(-0.01, FALLING_A2[-1], 500))
    counts = count_by_library(x, FALLING_A2)
    levels = [0, *FALLING_A2]
    assert counts.count.tolist() == [min(range(21), key=lambda k: abs(value - levels[k])) for value in x]
    assert counts.count[x < FALLING_A2[0] / 2].max() == 0
    assert counts.total == counts.count.sum() and len(counts) == 500
    assert counts.scale == 1 and counts.scale_lead == np.inf and not counts.scale_ambiguous


def test_the_probability_is_that_of_equal_normal_distributions():
    x = columns(RISING_A2, np.resize([3, 4, 5], 200), 0.3)
    counts = count_by_library(x, RISING_A2)
    density = norm.pdf(x[:, None], [0, *RISING_A2], counts.sigma)
    np.testing.assert_allclose(
        counts.probability, (density / density.sum(1, keepdims=True)).max(1), rtol=1e-6
    )
    assert counts.sigma == pytest.approx(0.3 * np.diff(RISING_A2).mean(), rel=0.15)
    assert counts.expected_errors == pytest.approx(200 * (1 - counts.expected_exact))
    assert (counts.ambiguous == (counts.probability < 0.9)).all() and 0 < counts.ambiguous.sum() < 200


def test_columns_without_noise_are_certain():
    counts = count_by_library(FALLING_A2, FALLING_A2)
    assert (counts.count == K).all() and counts.probability.min() == 1
    assert count_by_library([0.001], FALLING_A2, scale="auto").count.tolist() == [0]
    assert count_hybrid(FALLING_A2[:1], FALLING_A2).count.tolist() == [1]


@pytest.mark.parametrize("library", [FALLING_A2, RISING_A2], ids=["falling", "rising"])
@pytest.mark.parametrize("noise", [0.2, 0.3, 0.4])
def test_probabilities_come_true(library, noise):
    count = np.random.default_rng(1).integers(1, 13, 2000)
    found = count_by_library(columns(library, count, noise), library)
    right = found.count == count
    spread = np.sqrt((found.probability * (1 - found.probability)).sum()) / 2000
    assert right.mean() == pytest.approx(found.expected_exact, abs=4 * spread + 0.01)
    doubtful = (found.probability > 0.5) & (found.probability < 0.8)
    assert right[doubtful].mean() == pytest.approx(
        found.probability[doubtful].mean(), abs=4 * 0.5 / np.sqrt(doubtful.sum())
    )


@pytest.mark.parametrize("library", [FALLING_A2, RISING_A2], ids=["falling", "rising"])
@pytest.mark.parametrize("scale", [0.9, 0.96, 1.0, 1.1])
@pytest.mark.parametrize("counter", ["library", "hybrid"])
def test_a_scale_is_found_with_counts_that_no_column_has(library, scale, counter):
    count = np.random.default_rng(2).choice([1, 2, 3, 6, 7, 8, 9, 12], 300)
    x = scale * columns(library, count, 0.2)
    found = count_hybrid(x, library) if counter == "hybrid" else count_by_library(x, library, scale="auto")
    assert found.scale == pytest.approx(scale, abs=0.005)
    assert (found.count == count).mean() > 0.97 and abs(found.count - count).max() <= 1
    assert not found.scale_ambiguous
    assert np.isnan(found.other_scale) or abs(found.other_scale - scale) > 0.01
    if counter == "hybrid":
        share = np.bincount(count, minlength=21) / 300
        np.testing.assert_allclose(found.weights, share, atol=0.03)


def test_a_scale_that_a_step_of_count_can_replace_is_ambiguous_until_the_lattice_tells():
    """Thick columns: 13/12 of the scale and one atom less explain them as well."""
    library, count = 0.02 * K, np.resize([11, 12, 13, 14], 24)
    parity = count % 2  # which columns have an even count, the lattice knows
    log_prior = np.where((np.arange(21) - parity[:, None]) % 2 == 0, 0.0, np.log(1e-3))
    ambiguous = 0
    for seed in range(10):
        x = columns(library, count, 0.25, seed)
        alone = count_by_library(x, library, scale="auto")
        told = count_by_library(x, library, scale="auto", log_prior=log_prior)
        assert abs(np.log(alone.other_scale / alone.scale)) > 0.04 and alone.scale_lead >= 0
        assert told.scale == pytest.approx(1, abs=0.015) and (told.count == count).all()
        assert not told.scale_ambiguous or abs(np.log(told.other_scale)) > 0.11  # two atoms, the same parity
        if alone.scale_ambiguous:
            ambiguous += 1
            assert alone.expected_exact < 0.9
    assert ambiguous >= 4


def test_impossible_counts_are_not_chosen():
    log_prior = np.zeros((1, 21))
    log_prior[0, [3, 4]] = -np.inf
    assert count_by_library(FALLING_A2[2:3] + 0.001, FALLING_A2, log_prior=log_prior).count.tolist() == [2]


def test_columns_with_larger_errors_are_less_certain():
    count = np.resize(np.arange(1, 9), 400)
    x = columns(FALLING_A2, count, 0.1)
    error = np.where(np.arange(400) % 2, 0.0, 0.006)
    x = x + np.random.default_rng(4).normal(0, 1, 400) * error
    found = count_by_library(x, FALLING_A2, error=error)
    exact = found.count == count
    assert found.probability[1::2].mean() > 0.99 and exact[1::2].mean() > 0.99
    assert exact[::2].mean() == pytest.approx(found.probability[::2].mean(), abs=0.06)
    assert found.probability[::2].mean() < 0.95


def test_poisson_noise_makes_thick_columns_less_certain():
    rng = np.random.default_rng(5)
    count = np.resize(K[:12], 600)
    dose = 4000.0
    x = rng.poisson(FALLING_A2[count - 1] * dose) / dose
    found = count_by_library(x, FALLING_A2, dose=dose)
    assert found.sigma < 0.001
    for part in (count <= 4, count > 8):
        assert (found.count == count)[part].mean() == pytest.approx(found.probability[part].mean(), abs=0.05)
    assert found.probability[count <= 3].mean() > found.probability[count > 8].mean() + 0.05


@pytest.mark.parametrize("counter", [count_by_library, count_hybrid])
def test_a_library_that_is_too_short_is_refused_with_the_number_of_columns(counter):
    step = FALLING_A2[7] - FALLING_A2[6]
    x = np.array([*FALLING_A2[:8], FALLING_A2[7] + 0.4 * step])
    count_by_library(x, FALLING_A2[:8])
    with pytest.raises(DataError, match=r"too short: 1 of 10 "):
        count_by_library([*x, FALLING_A2[7] + 0.6 * step], FALLING_A2[:8])
    with pytest.raises(DataError, match=r"too short: 2 of 11 .* of 8 atoms"):
        counter([*x, 3 * FALLING_A2[7], 2 * FALLING_A2[7]], FALLING_A2[:8])


def test_a_mixture_counts_from_its_first_component():
    count = np.random.default_rng(6).integers(3, 9, 250)
    x = 1.02 * columns(RISING_A2, count, 0.12)
    fit = fit_mixtures(x, most_components=6)[5]
    assert first_count(fit, RISING_A2) == 3
    found = count_by_mixture(fit, first=3)
    assert (found.count == count).mean() > 0.99 and found.counts.tolist() == [3, 4, 5, 6, 7, 8]
    assert found.expected_exact > 0.99 and fit.step_ratio < 1.3
    assert (count_by_mixture(fit).count == found.count - 2).all()
    with pytest.raises(DataError, match="ends at 4 atoms and is too short for 6"):
        first_count(fit, RISING_A2[:4])
    with pytest.raises(UsageError, match="-1 atoms"):
        count_by_mixture(fit, first=-1)


def test_single_atom_sensitivity_is_the_share_between_the_borders():
    share, overall = single_atom_sensitivity([1.0, 2.0, 4.0], 0.5)
    inner = norm.cdf(2) - norm.cdf(-1)
    np.testing.assert_allclose(share, [norm.cdf(1), inner, norm.cdf(2)])
    assert overall == pytest.approx(share.mean())
    _, overall = single_atom_sensitivity([1.0, 2.0, 4.0], 0.5, weights=[0, 1, 1])
    assert overall == pytest.approx((inner + norm.cdf(2)) / 2)
    share, _ = single_atom_sensitivity([0.0, 3.0], [1.0, 2.0])
    np.testing.assert_allclose(share, norm.cdf(1))
    with pytest.raises(DataError, match="increase"):
        single_atom_sensitivity([1.0, 1.0], 0.5)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"library": [0.1, 0.1]}, DataError, "does not increase at 2 atoms"),
        ({"library": [-0.1, 0.1]}, DataError, "does not increase at 1 atoms"),
        ({"library": []}, DataError, "shape"),
        ({"scale": 0.0}, UsageError, "positive"),
        ({"scale": "automatic"}, UsageError, 'or "auto"'),
        ({"log_prior": np.zeros((2, 2))}, DataError, r"need \(2, 3\)"),
        ({"log_prior": np.full((2, 3), -np.inf)}, DataError, "possible"),
    ],
)
def test_impossible_requests_are_refused(changes, error, message):
    arguments = {"cross_section": [0.1, 0.2], "library": [0.1, 0.2]} | changes
    with pytest.raises(error, match=message):
        count_by_library(**arguments)
