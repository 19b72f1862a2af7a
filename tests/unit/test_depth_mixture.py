"""Gaussian mixtures of cross-sections, against their definition and finite differences."""

import numpy as np
import pytest
from scipy.stats import norm

from etcli.core.depth.cross_section_mixture import (
    checked_sample,
    choose_mixture,
    fit_mixtures,
    local_minima,
)
from etcli.core.depth.expectation_maximisation import (
    Components,
    FreeMeans,
    Run,
    ScaledLibrary,
    maximise,
)
from etcli.core.errors import ConvergenceError, DataError, UsageError

STEPS_A2 = np.array([0.021, 0.019, 0.017, 0.016, 0.015, 0.0145])
LIBRARY_A2 = np.cumsum(STEPS_A2)


def columns(n=120, *, noise_A2=0.002, seed=0, counts=(1, 2, 3, 4, 5, 6)):
    rng = np.random.default_rng(seed)
    count = np.resize(np.array(counts), n)
    return LIBRARY_A2[count - 1] + rng.normal(0, noise_A2, n), count


def log_likelihood(x, means, weights, variance, *, error=0.0, dose=np.inf, log_prior=0.0):
    """From the definition."""
    sigma = np.sqrt(variance + np.maximum(means, 0) / dose + np.reshape(error, (-1, 1)) ** 2)
    density = weights * np.exp(log_prior) * norm.pdf(x[:, None], means, sigma)
    return np.log(density.sum(axis=1)).sum()


SCATTER = {
    "plain": {},
    "errors": {"error": np.linspace(0.001, 0.01, 120)},
    "dose": {"dose": 3000.0},
    "both": {"error": np.linspace(0.001, 0.004, 120), "dose": 5000.0},
}


@pytest.mark.parametrize("scatter", SCATTER.values(), ids=SCATTER)
def test_the_likelihood_follows_its_definition(scatter):
    x, _ = columns(noise_A2=0.006)
    weights = np.array([0.3, 0.1, 0.2, 0.4])
    log_prior = np.log(np.random.default_rng(3).uniform(0.1, 1, (len(x), 4)))
    components = Components(LIBRARY_A2[:4] * 1.1, weights, 0.005**2)
    sample = checked_sample(x, **scatter, log_prior=log_prior, n_components=4)
    expected = log_likelihood(x, components.means, weights, 0.005**2, **scatter, log_prior=log_prior)
    assert Run.at(components, sample).log_likelihood == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scatter", SCATTER.values(), ids=SCATTER)
def test_a_fit_is_a_maximum_by_finite_differences_and_never_lowers_the_likelihood(scatter):
    x, _ = columns(noise_A2=0.006)
    sample = checked_sample(x, **scatter)
    start = Components(np.array([0.02, 0.05, 0.09]), np.full(3, 1 / 3), 0.01**2)
    heights = [maximise(start, sample, FreeMeans(), rounds=n).log_likelihood for n in range(40)]
    assert (np.diff(heights) >= 0).all() and heights[-1] > heights[0] + 1
    fit = maximise(start, sample, FreeMeans()).components

    def at(means=fit.means, variance=fit.variance, weights=fit.weights):
        return log_likelihood(x, means, weights, variance, **scatter)

    best = at()
    for k in range(3):
        for step in (-2e-4, 2e-4):
            moved = fit.means.copy()
            moved[k] += step
            assert at(means=moved) < best
        given = fit.weights * 0.98
        given[k] += 0.02
        assert at(weights=given) < best
    assert at(variance=fit.variance * 1.03) < best
    assert at(variance=fit.variance * 0.97) < best


@pytest.mark.parametrize("scatter", [{}, {"dose": 3000.0}], ids=["plain", "dose"])
def test_a_fitted_scale_is_a_maximum_by_finite_differences(scatter):
    x, _ = columns(noise_A2=0.004)
    sample = checked_sample(1.03 * x, **scatter)
    start = Components(LIBRARY_A2, np.full(6, 1 / 6), 0.004**2)
    fit = maximise(start, sample, ScaledLibrary(LIBRARY_A2, 0.8, 1.2)).components
    assert fit.means[-1] / LIBRARY_A2[-1] == pytest.approx(1.03, abs=0.01)

    def at(factor):
        return log_likelihood(1.03 * x, fit.means * factor, fit.weights, fit.variance, **scatter)

    assert at(1) > max(at(0.999), at(1.001))


def test_one_component_is_the_normal_distribution_of_all_columns():
    x, _ = columns()
    (fit,) = fit_mixtures(x, most_components=1)
    assert fit.means[0] == pytest.approx(x.mean()) and fit.sigma == pytest.approx(x.std())
    assert fit.log_likelihood == pytest.approx(norm.logpdf(x, x.mean(), x.std()).sum())
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 4)
    assert fit.bic == fit.icl == pytest.approx(-2 * fit.log_likelihood + 2 * np.log(120))
    assert fit.step_ratio == 1


def test_criteria_follow_their_definitions():
    fit = fit_mixtures(columns(noise_A2=0.008)[0], most_components=4)[3]
    t = fit.memberships
    np.testing.assert_allclose(t.sum(axis=1), 1)
    entropy = -sum(p * np.log(p) for p in t.ravel() if p > 0)
    assert 1 < entropy < 120 * np.log(4)
    assert fit.icl == pytest.approx(-2 * fit.log_likelihood + 2 * entropy + 2 * 4 * np.log(120))
    assert fit.aic == pytest.approx(-2 * fit.log_likelihood + 16)


def test_separate_components_are_found_with_their_shares():
    x, _ = columns(300, noise_A2=0.0015, counts=(1, 2, 2, 4, 4, 4))
    fits = fit_mixtures(x, most_components=5)
    heights = [fit.log_likelihood for fit in fits]
    assert (np.diff(heights) >= -1e-6).all()
    fit = fits[2]
    np.testing.assert_allclose(fit.means, LIBRARY_A2[[0, 1, 3]], atol=4 * 0.0015 / np.sqrt(50))
    np.testing.assert_allclose(fit.weights, [1 / 6, 1 / 3, 1 / 2], atol=1e-3)
    assert fit.sigma == pytest.approx(0.0015, rel=0.15)
    assert fit.step_ratio > 1.6  # no column has 3 atoms


def test_known_errors_and_dose_leave_only_the_width_that_they_do_not_explain():
    rng = np.random.default_rng(1)
    count = rng.integers(1, 4, 1500)
    means = 10 * LIBRARY_A2[count - 1]
    error, dose = rng.uniform(0.01, 0.03, 1500), 1000.0
    x = means + rng.normal(0, np.sqrt(0.02**2 + error**2 + means / dose))
    fit = fit_mixtures(x, most_components=3, error=error, dose=dose)[2]
    assert fit.sigma == pytest.approx(0.02, abs=0.003)
    np.testing.assert_allclose(fit.means, 10 * LIBRARY_A2[:3], atol=0.006)
    assert fit_mixtures(x, most_components=3)[2].sigma > 0.03


def test_local_minima_are_inside():
    assert local_minima([1, 3, 2, 4, 0]) == (3,)
    assert local_minima([3, 1, 2, 0.5, 1]) == (2, 4)
    assert local_minima([1, 2]) == local_minima([1]) == ()


def test_a_mixture_is_chosen_when_the_criteria_agree_or_when_it_is_asked_for():
    clear = fit_mixtures(columns(200, noise_A2=0.001, seed=1, counts=(1, 3, 5))[0], most_components=5)
    assert choose_mixture(clear).n_components == 3
    assert choose_mixture(clear, components=2) is clear[1]
    with pytest.raises(ConvergenceError, match="of 1 to 3"):
        choose_mixture(clear[:3])  # the lowest is the last
    with pytest.raises(UsageError, match="6 components were not fitted; use 1 to 5"):
        choose_mixture(clear, components=6)
    blurred = fit_mixtures(columns(150, noise_A2=0.007)[0], most_components=8)
    with pytest.raises(
        ConvergenceError, match=r"local minima of ICL are .*; the lowest value of ICL at 1, BIC"
    ):
        choose_mixture(blurred)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"cross_section": [[0.1, 0.2]]}, DataError, "shape"),
        ({"cross_section": []}, DataError, "1 column or more"),
        ({"cross_section": [0.1, np.nan]}, DataError, "1 of 2"),
        ({"cross_section": [0.0, -0.1]}, DataError, "positive"),
        ({"cross_section": [0.1, 0.1]}, DataError, "equal"),
        ({"cross_section": [0.1, 0.2], "error": [0.1]}, DataError, "standard errors of shape"),
        ({"cross_section": [0.1, 0.2], "error": [0.1, -1]}, DataError, "not negative"),
        ({"cross_section": [0.1, 0.2], "dose": 0}, UsageError, "dose"),
        ({"cross_section": [0.1, 0.2], "most_components": 2}, UsageError, "use 1 to 1"),
        ({"cross_section": [0.1, 0.2], "most_components": 1.5}, UsageError, "whole number"),
    ],
)
def test_impossible_samples_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fit_mixtures(**{"most_components": 1} | arguments)
