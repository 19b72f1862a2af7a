"""What must hold for the counts of any columns with any library."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.depth.counting import count_by_library, count_hybrid, single_atom_sensitivity
from etcli.core.depth.cross_section_mixture import fit_mixtures

SEEDS = st.integers(0, 2**32 - 1)


def case(seed, n, n_counts, noise):
    rng = np.random.default_rng(seed)
    library = np.cumsum(rng.uniform(0.6, 1.4, n_counts))
    count = rng.integers(1, n_counts + 1, n)
    x = np.abs(library[count - 1] + rng.normal(0, noise, n))
    return np.minimum(x, library[-1]) * 0.02, library * 0.02, rng


CASES = {
    "seed": SEEDS,
    "n": st.integers(1, 60),
    "n_counts": st.integers(2, 12),
    "noise": st.floats(0.01, 0.6),
}


@settings(max_examples=40, deadline=None)
@given(**CASES, unit=st.floats(1e-4, 1e4))
def test_counts_depend_on_neither_the_unit_nor_the_order(seed, n, n_counts, noise, unit):
    x, library, rng = case(seed, n, n_counts, noise)
    order = rng.permutation(n)
    one, other = count_by_library(x, library), count_by_library(unit * x[order], unit * library)
    assert (one.count[order] == other.count).all()
    np.testing.assert_allclose(one.probability[order], other.probability, atol=1e-3)
    assert (one.probability > 0).all() and (one.probability <= 1 + 1e-12).all()


@settings(max_examples=15, deadline=None)
@given(**CASES)
def test_fitted_scales_stay_within_limits(seed, n, n_counts, noise):
    x, library, _ = case(seed, n, n_counts, noise)
    longer = np.append(library, library[-1] + np.arange(1, 4) * 0.02)
    for counts in (count_by_library(x, longer, scale="auto"), count_hybrid(x, longer)):
        assert 0.85 - 1e-9 <= counts.scale <= 1.15 + 1e-9 and counts.scale_lead >= 0
        assert np.isfinite(counts.probability).all() and 0 < counts.expected_exact <= 1 + 1e-12


@settings(max_examples=15, deadline=None)
@given(**CASES, shift=st.floats(-1, 1))
def test_mixtures_move_with_the_cross_sections(seed, n, n_counts, noise, shift):
    x, _, _ = case(seed, n + 10, n_counts, noise)
    if len(np.unique(x)) < 4:
        return
    for one, other in zip(
        fit_mixtures(x, most_components=3), fit_mixtures(x + 1 + shift, most_components=3), strict=True
    ):
        assert abs(one.log_likelihood - other.log_likelihood) < 0.01
        assert (np.diff(one.means) >= 0).all() and np.isclose(one.weights.sum(), 1)


@given(step=st.floats(0.5, 3), sigma=st.floats(0.1, 2), n=st.integers(2, 12))
def test_sensitivity_of_equal_steps_is_the_error_function(step, sigma, n):
    from math import erf, sqrt

    share, overall = single_atom_sensitivity(step * np.arange(1, n + 1), sigma)
    inside = erf(step / 2 / sigma / sqrt(2))
    np.testing.assert_allclose(share[1:-1], inside, atol=1e-12)
    np.testing.assert_allclose(share[[0, -1]], (1 + inside) / 2, atol=1e-12)
    assert inside <= overall + 1e-12
