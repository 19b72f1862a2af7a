"""Reconstruction under a prior against general optimisers on the explicit matrix."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy import ndimage, optimize

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.orientation import rotation_matrices, tilts_as_euler
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import SlabProjector
from etcli.core.reconstruction.cross_validation import (
    ValidationSplit,
    best_iterations,
    best_weight,
    brightest_rows,
    leave_out,
)
from etcli.core.solvers import sweeps
from etcli.core.solvers.fista import fista
from etcli.core.solvers.misfit import OrientedMisfit, slab_misfit
from etcli.core.solvers.priors import HELD, make_prior
from etcli.core.solvers.sirt import sirt

N = 12
TILT = np.arange(-60.0, 61, 12)
GEOMETRY = SliceGeometry(TILT, n_detector=N, thickness=N, width=N)
RNG = np.random.default_rng(1)
MATRIX = np.stack(
    [
        SlabProjector(GEOMETRY, n_slices=16)
        .forward(np.repeat(unit.reshape(N, N, 1), 16, axis=2))[..., 0]
        .ravel()
        for unit in np.eye(N * N, dtype=np.float32)
    ],
    axis=1,
).astype(float)


def blocks():
    truth = np.zeros((N, N))
    truth[3:8, 4:10] = 1.0
    truth[5:7, 6:8] = 2.0
    return truth


SINOGRAM = MATRIX @ blocks().ravel() + RNG.normal(0, 0.3, len(MATRIX))
VIEWS = SINOGRAM.reshape(len(TILT), 1, N).astype(np.float32)


def solved(prior, weight, *, lower=-np.inf, iterations=700, threads=1):
    series = slab_misfit(VIEWS, GEOMETRY, threads=threads)
    found = fista(series, make_prior(prior, series.shape, lower=lower), weight=weight, iterations=iterations)
    assert found.shape == (N, N, 1)
    return found[..., 0].astype(float)


def variation(x):
    """Return Σ |∇x|, very slightly rounded, and its gradient."""
    z, across = np.zeros((N, N)), np.zeros((N, N))
    z[:-1], across[:, :-1] = np.diff(x, axis=0), np.diff(x, axis=1)
    size = np.sqrt(z**2 + across**2 + 1e-8)
    z, across = z / size, across / size
    gradient = -z - across
    gradient[1:] += z[:-1]
    gradient[:, 1:] += across[:, :-1]
    return size.sum(), gradient


def objective(flat, prior, weight):
    x = flat.reshape(N, N)
    residual = MATRIX @ flat - SINOGRAM
    size, gradient = {"tv": variation, "l1": lambda x: (np.abs(x).sum(), np.sign(x) + (x == 0))}[prior](x)
    return 0.5 * residual @ residual + weight * size, MATRIX.T @ residual + weight * gradient.ravel()


@pytest.mark.parametrize("weight", [0.5, 5.0])
@pytest.mark.parametrize(("prior", "lower"), [("tv", None), ("tv", 0.0), ("l1", 0.0)])
def test_nothing_is_better_than_the_minimum(prior, lower, weight):
    peer = optimize.minimize(
        objective,
        np.full(N * N, 0.5),
        (prior, weight),
        jac=True,
        bounds=[(lower, None)] * (N * N),
        method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-13, "gtol": 1e-7},
    )
    got = solved(prior, weight, lower=-np.inf if lower is None else lower)
    assert objective(got.ravel(), prior, weight)[0] < peer.fun * 1.0005
    assert np.abs(got - peer.x.reshape(N, N)).max() < 0.05
    assert lower is None or got.min() >= lower


def test_without_a_prior_it_is_bounded_least_squares():
    peer = optimize.lsq_linear(MATRIX, SINOGRAM, (0, np.inf), tol=1e-12)
    got = solved("none", 0.0, lower=0.0, iterations=4000)
    assert np.linalg.norm(MATRIX @ got.ravel() - SINOGRAM) < np.linalg.norm(peer.fun) * 1.001


def test_norm_is_the_largest_eigenvalue():
    series = slab_misfit(VIEWS, GEOMETRY)
    assert series.norm == pytest.approx(np.linalg.norm(MATRIX, 2) ** 2, rel=0.03)
    assert series.norm > np.linalg.norm(MATRIX, 2) ** 2


def test_descent_is_the_gradient_of_the_misfit():
    views = RNG.normal(size=(len(TILT), 37, N)).astype(np.float32)
    volume = RNG.normal(size=(N, N, 37)).astype(np.float32)
    for threads in (1, 2):
        series, moved = slab_misfit(views, GEOMETRY, threads=threads), volume.copy()
        norm = series.descend(moved, 0.1)
        flat = volume.reshape(N * N, 37).astype(float)
        residual = MATRIX @ flat - views.transpose(0, 2, 1).reshape(-1, 37)
        assert norm == pytest.approx(np.linalg.norm(residual), rel=1e-5)
        expected = flat - 0.1 * MATRIX.T @ residual
        np.testing.assert_allclose(moved.reshape(N * N, 37), expected, atol=1e-3)


def test_subsets_are_as_good_as_so_many_sweeps(monkeypatch):
    """A wrong weight of a subset leads elsewhere; without subsets it takes more than twice the sweeps."""
    geometry, views, _ = noisy_blocks()
    series = slab_misfit(views, geometry)

    def solved_in(iterations, subsets=sweeps.SUBSETS):
        monkeypatch.setattr(sweeps, "SUBSETS", subsets)
        return fista(series, make_prior("tv", series.shape, lower=0.0), weight=60.0, iterations=iterations)

    minimum = solved_in(400, subsets=1)

    def distance(volume):
        return np.linalg.norm(volume - minimum) / np.linalg.norm(minimum)

    assert distance(solved_in(16)) < distance(solved_in(32, subsets=1))
    monkeypatch.setattr(sweeps, "IN_SUBSETS", 1.0)
    cycle = distance(solved_in(40))
    assert cycle < 0.035
    monkeypatch.undo()
    assert distance(solved_in(40)) < min(0.7 * cycle, 0.02)


@pytest.mark.parametrize("every", [1, 4, 7])
def test_residual_told_is_that_of_all_views(every):
    """In subsets it is somewhat larger: a view is looked at just before its own step, when it fits worst."""
    geometry, views, _ = noisy_blocks()
    chosen = slice(None, None, every)
    geometry = SliceGeometry(geometry.tilt_deg[chosen], n_detector=48, thickness=48, width=48)
    views = np.ascontiguousarray(views[chosen])
    series, told = slab_misfit(views, geometry), []
    fista(
        series,
        make_prior("tv", series.shape),
        weight=60.0,
        iterations=40,
        callback=lambda k, residual, volume: told.append((k, residual, series.residual(volume))),
    )
    assert [k for k, *_ in told] == list(range(1, 41))
    assert told[28][1] == pytest.approx(told[28][2], rel=0.1)
    assert told[39][1] == pytest.approx(told[39][2], rel=0.003 if every == 1 else 0.01)


def test_weight_found_is_about_the_best():
    """Of weights half a decade apart, none explains the truth much better than the one that is found."""
    n = 48
    tilt = np.arange(-80.0, 81, 8)
    geometry = SliceGeometry(tilt, n_detector=n, thickness=n, width=n)
    truth = np.zeros((n, n, 16), np.float32)
    truth[14:30, 12:34] = 1
    truth[20:26, 18:26] = 2.5
    clean = SlabProjector(geometry, n_slices=16).forward(truth)
    views = np.ascontiguousarray(clean.transpose(0, 2, 1))[:, :1]
    views = views + RNG.normal(0, 0.03 * views.max(), views.shape).astype(np.float32)
    prior = partial(make_prior, "tv", lower=0.0)
    curve = best_weight(leave_out(slab_misfit(views, geometry)), prior)

    def error(weight):
        series = slab_misfit(views, geometry)
        found = fista(series, prior(series.shape), weight=weight, iterations=100)
        return np.linalg.norm(found[..., 0] - truth[..., 0]) / np.linalg.norm(truth[..., 0])

    best = min(error(curve.best * 10**step) for step in (-1, -0.5, 0.5, 1))
    assert error(curve.best) < 1.15 * best
    assert curve.error.min() < min(curve.error[0], curve.error[-1])


def test_left_out_views_are_every_sixth_in_the_order_of_tilt():
    mixed = RNG.permutation(len(TILT))
    geometry = SliceGeometry(TILT[mixed], n_detector=N, thickness=N, width=N)
    (split,) = leave_out(slab_misfit(VIEWS[mixed], geometry))
    assert sorted(split.left_out.geometry.tilt_deg) == TILT[3::6].tolist()
    both = np.concatenate([split.left_out.geometry.tilt_deg, split.used.geometry.tilt_deg])
    assert sorted(both) == TILT.tolist()
    of_tilt = dict(zip(TILT, VIEWS, strict=True))
    for part in (split.left_out, split.used):
        for tilt, view in zip(part.geometry.tilt_deg, part.slabs[0], strict=True):
            np.testing.assert_array_equal(view[:, 0], of_tilt[tilt][0])


def test_of_few_views_each_inner_one_is_left_out_in_turn():
    mixed = np.array([30.0, -30, 10, -10, 50])
    geometry = SliceGeometry(mixed, n_detector=N, thickness=N, width=N)
    splits = leave_out(slab_misfit(VIEWS[:5], geometry))
    assert [split.left_out.geometry.tilt_deg.tolist() for split in splits] == [[-10], [10], [30]]
    for split in splits:
        assert sorted(np.concatenate([split.left_out.geometry.tilt_deg, split.used.geometry.tilt_deg])) == [
            -30, -10, 10, 30, 50,
        ]  # fmt: skip


def test_errors_of_several_splits_are_summed_and_one_that_ends_early_keeps_its_last():
    """Each split calls the number of iterations its volume; the curves are known."""

    class Told:
        """Misfit with an error that is a known function of the volume."""

        tilt_deg, size = np.zeros(1), 5.0

        def __init__(self, best):
            self.residual = lambda volume: 1 + abs(volume - best)

    def solve(series, iterations, callback):
        for k in range(1, iterations + 1):
            callback(k, 0.0, k)

    splits = [ValidationSplit(Told(best), Told(best)) for best in (4, 30)]
    found = best_iterations(splits, solve, most=60)
    early = np.minimum(np.arange(1, 55), 15)  # 1.5 times 4, and 8, and the one that ends it
    squares = (1 + abs(early - 4)) ** 2 + (1 + abs(np.arange(1, 55) - 30)) ** 2
    np.testing.assert_allclose(found.error, np.sqrt(squares) / np.sqrt(50))
    assert found.tried.tolist() == list(range(1, 55))


def noisy_blocks():
    """48 pixels, 41 views, noise that SIRT fits after some iterations; the truth."""
    n = 48
    geometry = SliceGeometry(np.arange(-80.0, 81, 4), n_detector=n, thickness=n, width=n)
    truth = np.zeros((n, n, 16), np.float32)
    truth[14:30, 12:34] = 1
    truth[20:26, 18:26] = 2.5
    clean = SlabProjector(geometry, n_slices=16).forward(truth)
    views = np.ascontiguousarray(clean.transpose(0, 2, 1))
    return geometry, views + np.random.default_rng(2).normal(0, 2.0, views.shape).astype(np.float32), truth


def test_number_of_iterations_found_is_about_the_best():
    geometry, views, truth = noisy_blocks()

    def solve(series, iterations, callback):
        projector = SlabProjector(series.geometry, n_slices=16)
        return sirt(projector, series.slabs[0], iterations=iterations, lower=0.0, callback=callback)

    found = best_iterations(leave_out(slab_misfit(views, geometry)), solve, most=200)
    errors = {}

    def note(k, _, volume):
        errors[k] = np.linalg.norm(volume - truth)

    solve(slab_misfit(views, geometry), 200, note)
    best = min(errors, key=errors.get)
    assert 5 < best < 60
    assert best / 2.5 < found.best < 2.5 * best
    assert errors[found.best] < 1.06 * errors[best]
    assert found.tried.tolist() == list(range(1, len(found.tried) + 1))
    assert len(found.tried) < 150


def test_error_of_left_out_views_is_that_of_their_prediction():
    geometry, views, _ = noisy_blocks()
    splits, volumes = leave_out(slab_misfit(views, geometry)), {}
    (split,) = splits

    def solve(series, iterations, callback):
        projector = SlabProjector(series.geometry, n_slices=16)

        def both(k, norm, volume):
            volumes[k] = volume.copy()
            callback(k, norm, volume)

        return sirt(projector, series.slabs[0], iterations=iterations, callback=both)

    found = best_iterations(splits, solve, most=8)
    assert found.tried.tolist() == [1, 2, 3, 4, 5, 6, 7]
    seen = SlabProjector(split.left_out.geometry, n_slices=16).forward(volumes[5])
    expected = np.linalg.norm(seen - split.left_out.slabs[0]) / np.linalg.norm(split.left_out.slabs[0])
    assert found.error[4] == pytest.approx(expected, rel=1e-5)


def test_memory_is_what_is_taken():
    """Arrays of NumPy are traced; with one row in a slab's worth of threads the parts are small."""
    geometry = SliceGeometry(np.arange(-60.0, 61, 12), n_detector=64, thickness=64, width=64)
    for prior in ("tv", "l1"):
        views = np.ones((11, 256, 64), np.float32)
        fista(slab_misfit(views[:, :16], geometry), make_prior(prior, (64, 64, 16)), iterations=1)
        tracemalloc.start()
        series = slab_misfit(views, geometry, threads=2)
        fista(series, make_prior(prior, series.shape, threads=2), weight=1.0, iterations=3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        told = 4 * (HELD[prior] * 64 * 64 * 256 + 2 * 2 * 64 * 64 * 64 + 3 * views.size)
        assert 0.8 * told < peak < 1.01 * told


def test_brightest_rows():
    views = np.ones((3, 40, 5), np.float32)
    views[:, 21:30] = 4
    rows = brightest_rows(views, 16)
    assert rows.stop - rows.start == 16
    assert rows.start <= 21
    assert rows.stop >= 30
    assert brightest_rows(views[:, :4]) == slice(0, 4)


def test_what_cannot_be_meant_is_refused():
    series = slab_misfit(VIEWS, GEOMETRY)
    prior = make_prior("none", series.shape)
    with pytest.raises(UsageError, match="at least one iteration"):
        fista(series, prior, iterations=0)
    with pytest.raises(UsageError, match="makes no sense"):
        fista(series, prior, weight=-1.0, iterations=1)
    with pytest.raises(UsageError, match="no prior named 'tvl'; use one of tv, l1, none"):
        make_prior("tvl", series.shape)
    few = SliceGeometry(TILT[:3], n_detector=N, thickness=N, width=N)
    with pytest.raises(DataError, match="3 views are too few to leave one out, which takes 4"):
        leave_out(slab_misfit(VIEWS[:3], few))
    with pytest.raises(DataError, match="nothing in these views is brighter"):
        best_weight(leave_out(slab_misfit(-np.abs(VIEWS), GEOMETRY)), partial(make_prior, "tv"))


@pytest.mark.parametrize(("prior", "weight"), [("tv", 2.0), ("none", 0.0)])
def test_whole_volumes_are_reconstructed_as_slabs_are(prior, weight):
    """The oriented projector has the weights of the slab projector; its volumes are (z, y, x)."""
    views = RNG.normal(1, 1, (len(TILT), 20, N)).astype(np.float32)
    whole = OrientedMisfit(OrientedProjector(rotation_matrices(tilts_as_euler(TILT)), (N, 20, N)), views)
    slabs = slab_misfit(views, GEOMETRY)
    assert whole.norm == pytest.approx(slabs.norm, rel=0.01)
    told = []
    found, expected = (
        fista(
            series,
            make_prior(prior, series.shape, lower=0.0),
            weight=weight,
            iterations=100,
            callback=lambda k, residual, _: told.append((k, residual)),
        )
        for series in (whole, slabs)
    )
    assert told[99] == (100, pytest.approx(told[199][1], rel=1e-4))
    np.testing.assert_allclose(found.transpose(0, 2, 1), expected, atol=0.01 * expected.max())


def test_within_a_mask_it_is_the_least_squares_solution_of_its_voxels() -> None:
    mask = blocks()[..., np.newaxis] > 0
    series = slab_misfit(VIEWS, GEOMETRY)
    found = fista(series, make_prior("none", series.shape), iterations=700, mask=mask)[..., 0]
    inside = mask.ravel()
    expected = np.zeros(N * N)
    expected[inside] = np.linalg.lstsq(MATRIX[:, inside], SINOGRAM, rcond=None)[0]
    assert not found[~mask[..., 0]].any()
    np.testing.assert_allclose(found.ravel(), expected, atol=5e-3)


def test_total_variation_within_a_mask_is_close_to_its_minimum() -> None:
    """The mask is applied after the prior's step, so the minimum is reached but for its border."""
    mask = ndimage.binary_dilation(blocks() > 0)[..., np.newaxis]
    series = slab_misfit(VIEWS, GEOMETRY)
    prior = make_prior("tv", series.shape, lower=0.0)
    found = fista(series, prior, weight=2.0, iterations=300, mask=mask)[..., 0].astype(float)
    bounds = [(0, None) if inside else (0, 0) for inside in mask.ravel()]
    best = optimize.minimize(
        objective, np.zeros(N * N), args=("tv", 2.0), jac=True, bounds=bounds, method="L-BFGS-B",
        options={"maxiter": 3000, "maxfun": 6000},
    )  # fmt: skip
    assert not found[~mask[..., 0]].any()
    assert objective(found.ravel(), "tv", 2.0)[0] < 1.01 * best.fun
