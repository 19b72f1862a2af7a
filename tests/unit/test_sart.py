"""SART against its formula, written out with a matrix in double precision."""

from itertools import pairwise

import numpy as np
import pytest

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.sart import access_order, sart, subset_sums, subsets
from etcli.core.solvers.sirt import sirt

GEOMETRY = SliceGeometry(np.array([-68.0, -33.5, -9.0, 0.0, 14.0, 52.0, 90.0, 127.0]), 17, 9, 14, -0.6)
SLAB = SlabProjector(GEOMETRY, n_slices=16)
SHAPE = SLAB.domain_shape
N_VIEWS = len(GEOMETRY.tilt_deg)


def matrix():
    units = np.eye(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(-1, *SHAPE[:2], 1)
    return np.array([SLAB.forward(np.repeat(u, SHAPE[2], axis=2))[..., 0].ravel() for u in units], float).T


A = matrix().reshape(N_VIEWS, GEOMETRY.n_detector, -1)
VIEWS = np.random.default_rng(0).normal(3, 2, SLAB.range_shape).astype(np.float32)


def inverse(sums):
    return np.divide(1, sums, out=np.zeros_like(sums), where=sums > 1e-6)


def oracle(y, *, iterations, subset_size=1, relaxation=1.0, lower=-np.inf, upper=np.inf):
    x = np.clip(np.zeros(A.shape[2]), lower, upper)
    for _ in range(iterations):
        for views in subsets(GEOMETRY.tilt_deg, subset_size):
            part = A[views].reshape(-1, A.shape[2])
            rows = inverse(part.sum(axis=1))
            columns = inverse(part[rows > 0].sum(axis=0))
            x = x + relaxation * columns * (part.T @ (rows * (y[views].ravel() - part @ x)))
            x = np.clip(x, lower, upper)
    return x.reshape(SHAPE[:2])


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"relaxation": 0.3},
        {"lower": 0.0},
        {"relaxation": 1.7, "lower": -0.1, "upper": 0.4},
        {"subset_size": 3, "lower": 0.0},
    ],
)
def test_result_is_that_of_the_formula(how):
    found = sart(SLAB, VIEWS, iterations=5, sums=subset_sums(SLAB, how.get("subset_size", 1)), **how)
    for k in (0, 9):
        expected = oracle(VIEWS[..., k].astype(float), iterations=5, **how)
        np.testing.assert_allclose(found[..., k], expected, atol=2e-4)


def test_residuals_are_those_that_views_had_in_their_turn():
    told = []
    sart(SLAB, VIEWS, iterations=4, callback=lambda k, norm, _: told.append((k, norm)))
    assert [k for k, _ in told] == [1, 2, 3, 4]
    assert all(later < earlier for (_, earlier), (_, later) in pairwise(told))
    assert told[0][1] < np.linalg.norm(VIEWS)


def test_what_can_be_explained_is_explained():
    truth = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    views = SLAB.forward(truth)
    found = sart(SLAB, views, iterations=60, lower=0.0)
    assert np.linalg.norm(SLAB.forward(found) - views) < 0.005 * np.linalg.norm(views)


def test_all_views_at_once_are_sirt():
    found = sart(SLAB, VIEWS, iterations=7, subset_size=N_VIEWS, lower=0.0)
    np.testing.assert_allclose(found, sirt(SLAB, VIEWS, iterations=7, lower=0.0), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8, 20])
def test_subsets_hold_every_view_once(size):
    chosen = subsets(GEOMETRY.tilt_deg, size)
    assert sorted(np.concatenate(chosen)) == list(range(N_VIEWS))
    assert max(map(len, chosen)) - min(map(len, chosen)) <= 1
    assert max(map(len, chosen)) == min(size, N_VIEWS)


@pytest.mark.parametrize("n", [1, 2, 7, 60, 121])
def test_every_view_once_and_far_from_the_one_before(n):
    tilt = np.random.default_rng(n).permutation(np.linspace(-60, 60, n))
    order = access_order(tilt)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n > 6:
        assert np.abs(np.diff(tilt[order])).min() > 120 / n * 2


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(UsageError, match="subsets of 0 views"):
        sart(SLAB, VIEWS, iterations=1, subset_size=0)
    for words, how in {
        "at least one iteration, not 0": {"iterations": 0},
        "diverges with a relaxation of 2": {"iterations": 1, "relaxation": 2.0},
        "no density lies between": {"iterations": 1, "lower": 1.0, "upper": 0.0},
    }.items():
        with pytest.raises(UsageError, match=words):
            sart(SLAB, VIEWS, **how)
    with pytest.raises(UsageError, match="the sinogram has the shape"):
        sart(SLAB, VIEWS[1:], iterations=3)
