"""MLEM against the formula written out with a matrix, and against the maximum of the Poisson likelihood."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.orientation import rotation_matrices
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.mlem import mlem

GEOMETRY = SliceGeometry(np.array([-68.0, -33.5, -9.0, 0.0, 14.0, 52.0, 90.0, 127.0]), 17, 6, 9, -0.6)
SLAB = SlabProjector(GEOMETRY, n_slices=16)
SHAPE = SLAB.domain_shape


def matrix() -> NDArray[np.float64]:
    units = np.eye(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(-1, *SHAPE[:2], 1)
    return np.array([SLAB.forward(np.repeat(u, SHAPE[2], axis=2))[..., 0].ravel() for u in units], float).T


A = matrix()
RNG = np.random.default_rng(3)
TRUTH = RNG.gamma(0.5, 4, SHAPE).astype(np.float32)
COUNTS = RNG.poisson(SLAB.forward(TRUTH)).astype(np.float32)


def likelihood(density: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    expected = A @ density
    seen = expected > 0
    return float(counts[seen] @ np.log(expected[seen]) - expected.sum())


def test_iterates_are_those_of_the_formula() -> None:
    found = mlem(SLAB, COUNTS, iterations=4)
    for k in (0, 11):
        y, x = COUNTS[..., k].ravel().astype(float), np.ones(A.shape[1])
        for _ in range(4):
            expected = A @ x
            x *= (A.T @ np.divide(y, expected, out=np.zeros_like(y), where=expected > 0)) / A.sum(axis=0)
        np.testing.assert_allclose(found[..., k].ravel(), x, rtol=1e-4, atol=1e-5)


def test_the_likelihood_rises_and_the_counts_stay() -> None:
    told: list[float] = []
    mlem(
        SLAB,
        COUNTS,
        iterations=12,
        callback=lambda k, norm, x: told.append(likelihood(x[..., 5].ravel(), COUNTS[..., 5].ravel())),
    )
    assert (np.diff(told) > 0).all()
    found = mlem(SLAB, COUNTS, iterations=3)
    reached = A.sum(axis=1) > 0  # rays that meet the volume
    counts = COUNTS.reshape(-1, SHAPE[2])[reached].sum(axis=0, dtype=float)
    np.testing.assert_allclose(SLAB.forward(found).sum(axis=(0, 1), dtype=float), counts, rtol=1e-5)


def test_the_end_is_the_maximum_of_the_likelihood() -> None:
    found = mlem(SLAB, COUNTS, iterations=3000)[..., 2].ravel().astype(float)
    y = COUNTS[..., 2].ravel().astype(float)

    def loss(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        expected = A @ x + 1e-12
        return float(expected.sum() - y @ np.log(expected)), A.T @ (1 - y / expected)

    bounds = [(0, None)] * A.shape[1]
    peer = minimize(
        loss, np.ones(A.shape[1]), jac=True, bounds=bounds, options={"maxiter": 5000, "ftol": 1e-14}
    )
    assert loss(found)[0] == pytest.approx(peer.fun, abs=0.01)
    np.testing.assert_allclose(A @ found, A @ peer.x, atol=0.05 * y.max() ** 0.5)


def test_residuals_are_told() -> None:
    told: list[tuple[int, float]] = []
    mlem(SLAB, COUNTS, iterations=3, callback=lambda k, norm, x: told.append((k, norm)))
    assert [k for k, _ in told] == [0, 1, 2]
    for k, norm in told[1:]:
        volume = mlem(SLAB, COUNTS, iterations=k)
        assert norm == pytest.approx(np.linalg.norm(COUNTS - SLAB.forward(volume)), rel=1e-4)


def test_a_slice_does_not_depend_on_its_neighbours() -> None:
    alone = np.zeros_like(COUNTS)
    alone[..., 3] = COUNTS[..., 3]
    expected = mlem(SLAB, COUNTS, iterations=9)
    found = mlem(SLAB, alone, iterations=9)
    np.testing.assert_array_equal(found[..., 3], expected[..., 3])
    assert not found[..., 4].any()


def test_negative_values_are_zeros_and_nothing_overflows() -> None:
    signed = COUNTS - 2
    clipped = np.maximum(signed, 0)
    np.testing.assert_array_equal(mlem(SLAB, signed, iterations=5), mlem(SLAB, clipped, iterations=5))
    for scale in (1e-9, 1e9):  # contradictory views drive many densities to zero
        found = mlem(SLAB, clipped * np.float32(scale), iterations=400)
        assert np.isfinite(found).all() and (found >= 0).all()


def test_an_upper_bound_holds() -> None:
    found = mlem(SLAB, COUNTS, iterations=6, upper=3.0)
    assert found.max() == 3
    with pytest.raises(UsageError, match="no density lies between"):
        mlem(SLAB, COUNTS, iterations=6, upper=-1.0)


def test_views_of_any_orientation() -> None:
    rng = np.random.default_rng(5)
    rotation = rotation_matrices(rng.uniform(-90, 90, (12, 3)))
    truth = np.zeros((9, 10, 11), np.float32)
    truth[3:6, 2:7, 4:8] = rng.uniform(1, 2, (3, 5, 4))
    projector = OrientedProjector(rotation, truth.shape, (15, 15))
    views = projector.forward(truth)
    found = mlem(projector, views, iterations=200)
    assert np.linalg.norm(found - truth) < 0.1 * np.linalg.norm(truth)
