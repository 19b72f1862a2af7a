"""FISTA against its formula, written out with a matrix, against quadratic programming, and against SIRT."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.accelerated_sirt import accelerated_sirt
from etcli.core.solvers.backprojection import backprojection, inverse_sums
from etcli.core.solvers.sirt import sirt

GEOMETRY = SliceGeometry(np.array([-68.0, -33.5, -9.0, 0.0, 14.0, 52.0, 90.0, 127.0]), 17, 9, 14, -0.6)
SLAB = SlabProjector(GEOMETRY, n_slices=16)
N_SLICES = 16


def matrix() -> NDArray[np.float64]:
    """Project every voxel on its own: the projector has tests against other people's."""
    columns = []
    for voxel in range(GEOMETRY.thickness * GEOMETRY.width):
        unit = np.zeros(SLAB.domain_shape, np.float32)
        unit.reshape(-1, N_SLICES)[voxel] = 1
        columns.append(SLAB.forward(unit)[..., 0].ravel())
    return np.array(columns, np.float64).T


A = matrix()
ROWS, COLUMNS = (
    np.divide(1, s, out=np.zeros_like(s), where=s > 1e-6) for s in (A.sum(axis=1), A.sum(axis=0))
)


def views(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(3, 2, SLAB.range_shape).astype(np.float32)


def volume_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x.reshape(GEOMETRY.thickness, GEOMETRY.width)


def oracle(y, *, iterations, lower=-np.inf, upper=np.inf):
    """The formula in double precision, for one slice; returns the volume and how often t started again."""
    volume = ahead = np.clip(np.zeros(A.shape[1]), lower, upper)
    t, restarts = 1.0, 0
    for _ in range(iterations):
        new = np.clip(ahead + COLUMNS * (A.T @ (ROWS * (y.ravel() - A @ ahead))), lower, upper)
        if (ahead - new) @ (new - volume) > 0:
            t, restarts = 1.0, restarts + 1
        later = (1 + np.sqrt(1 + 4 * t**2)) / 2
        ahead = new + (t - 1) / later * (new - volume)
        volume, t = new, later
    return volume_of(volume), restarts


def cost(x, y) -> float:
    """Half of ‖y - A x‖² weighted with R, which is what steps in the metric of SIRT make small."""
    left = y[..., 5].ravel() - A @ x[..., 5].ravel().astype(np.float64)
    return float(ROWS @ left**2) / 2


BOUNDS = [{}, {"lower": 0.0}, {"upper": 0.3}, {"lower": 0.1, "upper": 0.4}]


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_every_iteration_is_the_formula(bounds) -> None:
    y = views()
    for iterations in (1, 2, 3, 4, 12):
        found = accelerated_sirt(SLAB, y, iterations=iterations, **bounds)
        for each in (0, 3, 15):
            expected, _ = oracle(y[..., each], iterations=iterations, **bounds)
            np.testing.assert_allclose(found[..., each], expected, atol=2e-6 * np.abs(expected).max())


def test_momentum_starts_again_in_each_slice_on_its_own() -> None:
    """Slices start again after different numbers of steps, and still follow the formula."""
    scale = np.linspace(0.2, 3, N_SLICES, dtype=np.float32)
    y = views(2) * scale
    found = accelerated_sirt(SLAB, y, iterations=60, lower=0.0)
    restarts = []
    for each in range(N_SLICES):
        expected, n = oracle(y[..., each], iterations=60, lower=0.0)
        restarts.append(n)
        np.testing.assert_allclose(found[..., each], expected, atol=3e-6 * np.abs(expected).max())
    assert set(restarts) >= {0, 1, 2}


@pytest.mark.parametrize("bounds", BOUNDS[1:], ids=str)
def test_many_iterations_reach_the_constrained_minimum(bounds) -> None:
    y = views()
    found = accelerated_sirt(SLAB, y, iterations=500, **bounds)
    root = np.sqrt(ROWS)
    limits = bounds.get("lower", -np.inf), bounds.get("upper", np.inf)
    best = lsq_linear(root[:, None] * A, root * y[..., 5].ravel(), bounds=limits, tol=1e-12, max_iter=300)
    # The volume is not unique, its projections are.
    assert cost(found, y) == pytest.approx(best.cost, rel=1e-6)
    assert found.min() >= np.float32(limits[0])
    assert found.max() <= np.float32(limits[1])
    weighted = root * (A @ found[..., 5].ravel() - A @ best.x)
    assert np.linalg.norm(weighted) < 1e-5 * np.linalg.norm(root * y[..., 5].ravel())
    assert best.cost > 2 * lsq_linear(root[:, None] * A, root * y[..., 5].ravel()).cost  # bounds matter


def test_views_of_a_density_are_explained_without_bounds() -> None:
    y = SLAB.forward(np.random.default_rng(3).random(SLAB.domain_shape, np.float32))
    found = accelerated_sirt(SLAB, y, iterations=400)
    assert np.linalg.norm(SLAB.forward(found) - y) < 1e-3 * np.linalg.norm(y)


def test_more_is_reached_than_by_as_many_steps_of_sirt() -> None:
    truth = np.zeros(SLAB.domain_shape, np.float32)
    truth[2:6, 5:10] = 1
    y = SLAB.forward(truth)
    for n in (10, 40):
        accelerated, plain = (
            cost(solve(SLAB, y, iterations=n, lower=0.0), y) for solve in (accelerated_sirt, sirt)
        )
        assert accelerated < 0.3 * plain
    assert accelerated < cost(sirt(SLAB, y, iterations=3 * n, lower=0.0), y)


def test_the_first_step_is_backprojection() -> None:
    y = views()
    np.testing.assert_allclose(
        accelerated_sirt(SLAB, y, iterations=1), backprojection(SLAB, y), rtol=1e-6, atol=1e-6 * y.max()
    )


def test_no_slice_depends_on_its_neighbours_or_the_slab() -> None:
    y = views()
    other = views(1)
    other[..., 6] = y[..., 6]
    wide = np.concatenate([other, y, other, other], axis=-1)
    found = [
        accelerated_sirt(projector, each, iterations=30, lower=0.0)
        for projector, each in ((SLAB, y), (SLAB, other), (SlabProjector(GEOMETRY, n_slices=64), wide))
    ]
    np.testing.assert_array_equal(found[1][..., 6], found[0][..., 6])
    np.testing.assert_array_equal(found[2][..., 16:32], found[0])
    assert (found[1][..., 7] != found[0][..., 7]).any()


def test_sums_of_one_slice_serve_all_and_nothing_given_is_changed() -> None:
    y = views()
    kept = y.copy()
    found = [
        accelerated_sirt(SLAB, y, iterations=5, sums=sums)
        for sums in (None, inverse_sums(SLAB), inverse_sums(SLAB, one_slice=True))
    ]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])
    np.testing.assert_array_equal(y, kept)


def test_what_no_ray_meets_stays_at_the_bound_nearest_zero() -> None:
    projector = SlabProjector(SliceGeometry(np.array([0.0]), 8, 3, 20), n_slices=16)
    y = np.full(projector.range_shape, 3, np.float32)
    for lower, outside in ((-np.inf, 0.0), (0.25, 0.25)):
        found = accelerated_sirt(projector, y, iterations=3, lower=lower)
        np.testing.assert_allclose(found[:, 6:14], 1, rtol=1e-6)
        np.testing.assert_array_equal(found[:, :6], np.float32(outside))
        np.testing.assert_array_equal(found[:, 14:], np.float32(outside))


def test_wrong_requests_are_refused() -> None:
    y = views()
    with pytest.raises(UsageError, match="at least one iteration, not 0"):
        accelerated_sirt(SLAB, y, iterations=0)
    with pytest.raises(UsageError, match="between 1 and 0"):
        accelerated_sirt(SLAB, y, iterations=1, lower=1, upper=0)
    with pytest.raises(UsageError, match="between nan and inf"):
        accelerated_sirt(SLAB, y, iterations=1, lower=np.nan)
    with pytest.raises(UsageError, match=r"sinogram .*\(8, 16, 16\).*\(8, 17, 16\)"):
        accelerated_sirt(SLAB, y[:, :16], iterations=1)
    other = inverse_sums(SlabProjector(SliceGeometry(np.zeros(8), 17, 14, 9), n_slices=16), one_slice=True)
    with pytest.raises(UsageError, match=r"column sums .*\(14, 9, 1\); \(9, 14, 16\)"):
        accelerated_sirt(SLAB, y, iterations=1, sums=other)
    other = inverse_sums(SlabProjector(SliceGeometry(np.zeros(7), 17, 9, 14), n_slices=16), one_slice=True)
    with pytest.raises(UsageError, match=r"row sums .*\(7, 17, 1\); \(8, 17, 16\)"):
        accelerated_sirt(SLAB, y, iterations=1, sums=other)
