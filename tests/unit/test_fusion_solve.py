"""The joint reconstruction against another minimiser, and what must not change it."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize

from etcli.core.errors import DataError, UsageError
from etcli.core.fusion.problem import fusion_problem
from etcli.core.fusion.slab_views import SlabViews
from etcli.core.fusion.solve import bytes_needed, solve
from etcli.core.geometry import SliceGeometry

TILTS, HAADF_TILTS = np.linspace(-60, 60, 6), np.linspace(-70, 70, 9)
SHAPE = (5, 6, 7)


def specimen(shape=SHAPE):
    """Return two overlapping boxes of two elements (channel, z, y, x)."""
    x = np.zeros((2, *shape), np.float32)
    nz, ny, nx = shape
    x[0, 1 : nz - 1, 1 : ny - 1, 1 : nx // 2 + 1] = 1
    x[1, 1 : nz - 1, 2 : ny - 1, nx // 2 : nx - 1] = 0.8
    return x


def measured(x, scales, *, gains=None, background=0.0, haadf=None, rng=None, threads=1):
    """Return the problem of counts, expected or drawn, and of HAADF images with the given weights."""
    _, nz, ny, nx = x.shape
    geometry, haadf_geometry = (SliceGeometry(tilts, nx, nz, nx) for tilts in (TILTS, HAADF_TILTS))
    views = SlabViews(geometry, ny, 16)
    gains = np.ones(len(TILTS)) if gains is None else np.asarray(gains)
    counts = [k * gains[:, None, None] * views.project(each) + background
              for k, each in zip(scales, x, strict=False)]  # fmt: skip
    if rng is not None:
        counts = [rng.poisson(each) for each in counts]
    images = None
    if haadf is not None:
        images = SlabViews(haadf_geometry, ny, 16).project(np.tensordot(haadf, x, 1).astype(np.float32))
        images += (rng or np.random.default_rng(9)).normal(0, 0.1, images.shape).astype(np.float32)
    return fusion_problem(
        counts, geometry, gains=gains, background=np.full((len(counts), len(TILTS)), background),
        haadf=images, haadf_geometry=haadf_geometry, threads=threads,
    )  # fmt: skip


def objective(problem, scales, weights, prior, alone=(), w=None, m=0.0, sigma=1.0, constant=0.0, smooth=0.0):
    """Return F and its gradient in float64, with |·| smoothed, from dense matrices."""
    n = int(np.prod(problem.shape))
    unit = np.eye(n, dtype=np.float32).reshape(n, *problem.shape)
    project = np.stack([problem.project(each).ravel() for each in unit], 1).astype(float)
    tied = None
    if m:
        tied = np.stack([problem.project_haadf(each).ravel() for each in unit], 1).astype(float)
        h = problem.haadf_views.rows(problem.haadf).ravel().astype(float) - constant
    y = [problem.views.rows(each).ravel().astype(float) for each in problem.counts]
    per_view = project.shape[0] // len(TILTS)
    gains = np.repeat(problem.gains, per_view)
    differences = np.zeros((3, n, n))
    index = np.arange(n).reshape(problem.shape)
    for axis in range(3):
        low, high = (np.take(index, range(*r), axis).ravel()
                     for r in ((0, index.shape[axis] - 1), (1, index.shape[axis])))  # fmt: skip
        differences[axis, low, high], differences[axis, low, low] = 1, -1

    def value(flat):
        x = flat.reshape(len(weights), n)
        total, slope = 0.0, np.zeros_like(x)
        for c, k in enumerate(scales):
            z = gains * k * (project @ x[c]) + np.repeat(problem.background[c], per_view)
            z = np.maximum(z, 1e-12)
            total += (z - y[c] * np.log(z)).sum()
            slope[c] = k * project.T @ (gains * (1 - y[c] / z))
        if tied is not None:
            residual = tied @ (np.asarray(w) @ x) - h
            total += m / 2 / sigma**2 * residual @ residual
            slope += np.outer(w, m / sigma**2 * tied.T @ residual)
        jacobian = np.stack([differences @ each for each in x]) * np.asarray(weights)[:, None, None]
        groups = [[c] for c in range(len(x)) if prior == "tv" or c in alone]
        groups += [[c for c in range(len(x)) if [c] not in groups]] if prior != "tv" else []
        for group in groups:
            part = jacobian[group].transpose(2, 0, 1)
            if prior == "tnv" and len(group) > 1:
                u, s, v = np.linalg.svd(part, full_matrices=False)
                root = np.sqrt(s**2 + smooth**2)
                total += (root - smooth).sum()
                bend = (u * (s / np.maximum(root, 1e-300))[:, None]) @ v
            else:
                root = np.sqrt((part**2).sum(axis=(1, 2)) + smooth**2)
                total += (root - smooth).sum()
                bend = part / np.maximum(root, 1e-300)[:, None, None]
            for i, c in enumerate(group):
                slope[c] += weights[c] * sum(differences[d].T @ bend[:, i, d] for d in range(3))
        return total, slope.ravel()

    return value


RUNS = [
    ("tv", (), None), ("jtv", (), None), ("tnv", (), None), ("tnv", (), (1.0, 2.0)),
    ("jtv", (), (1.0, 2.0, 1.5)), ("tnv", (1,), (1.0, 2.0, 1.5)),
]  # fmt: skip


@pytest.mark.parametrize(("prior", "alone", "w"), RUNS)
def test_minimum_is_that_of_another_method(prior, alone, w):
    """A quasi-Newton method on the smoothed objective, in ever smaller steps; HAADF alone sees channel 3."""
    scales, weights = (6.0, 3.0), (0.8, 0.5, 0.6)[: len(w) if w else 2]
    truth = np.concatenate([specimen(), specimen()[:1, ::-1] / 2])[: len(weights)]
    gains = np.linspace(0.6, 1.4, 6)
    problem = measured(truth, scales, gains=gains, background=0.2, haadf=w, rng=np.random.default_rng(3))
    tie = {"w": w, "m": 0.3, "sigma": 0.4, "constant": 0.1} if w else {}
    ours = {"haadf_weights": w, "tie": 0.3, "haadf_noise": 0.4, "haadf_constant": 0.1} if w else {}
    result = solve(problem, scales, weights, prior=prior, alone=alone, iterations=3000, **ours)
    x = np.full((len(weights), *SHAPE), 0.3).ravel()
    for smooth in (1e-1, 1e-2, 1e-3, 1e-4):
        cost = objective(problem, scales, weights, prior, alone, smooth=smooth, **tie)
        x = minimize(cost, x, jac=True, method="L-BFGS-B", bounds=[(0, None)] * x.size,
                     options={"maxiter": 800, "maxfun": 900}).x  # fmt: skip
    exact = objective(problem, scales, weights, prior, alone, **tie)
    peer, got = exact(x)[0], exact(result.volume.astype(float).ravel())[0]
    assert got < peer + 1e-3 * abs(peer)
    np.testing.assert_allclose(result.volume.ravel(), x, atol=0.06)


def close(a, b, tolerance=2e-4):
    """Compare volumes of densities about 1."""
    np.testing.assert_allclose(a, b, atol=tolerance)


NOISY = {"scales": (6.0, 3.0), "weights": (1.0, 0.7)}


def noisy(**how):
    """Return counts of the two boxes in 21 rows, drawn with one seed."""
    return measured(specimen((6, 21, 10)), NOISY["scales"], rng=np.random.default_rng(4), **how)


def test_channels_of_total_variation_do_not_see_each_other():
    problem = noisy()
    counts = [problem.views.rows(each) for each in problem.counts]
    both = solve(problem, **NOISY, iterations=60).volume
    for c in range(2):
        single = fusion_problem(counts[c : c + 1], problem.views.geometry)
        alone = solve(single, NOISY["scales"][c : c + 1], NOISY["weights"][c : c + 1], iterations=60).volume
        close(both[c], alone[0], 1e-5)
    # and both keep theirs where they are taken out of a joint prior
    for prior in ("jtv", "tnv"):
        close(solve(problem, **NOISY, prior=prior, alone=(0, 1), iterations=60).volume, both, 0)


def test_one_element_has_one_total_variation():
    problem = noisy()
    single = fusion_problem([problem.views.rows(problem.counts[0])], problem.views.geometry)
    tv, jtv, tnv = (solve(single, [6.0], [1.0], prior=p, iterations=60).volume for p in ("tv", "jtv", "tnv"))
    close(jtv, tv)
    close(tnv, tv)


@pytest.mark.parametrize(("prior", "factor"), [("tnv", np.sqrt(2)), ("jtv", np.sqrt(2)), ("tv", 2)])
def test_two_equal_maps_share_the_cost_of_an_edge(prior, factor):
    """Each has the volume that it has alone with its part of the weight: Jacobians of rank 1."""
    problem = noisy()
    counts = problem.views.rows(problem.counts[0])
    twice = fusion_problem([counts, counts], problem.views.geometry)
    both = solve(twice, [6.0, 6.0], [1.0, 1.0], prior=prior, iterations=300).volume
    one = fusion_problem([counts], problem.views.geometry)
    alone = solve(one, [6.0], [factor / 2], iterations=300).volume
    close(both[0], both[1], 1e-5)
    close(both[0], alone[0], 5e-3)


@pytest.mark.parametrize("prior", ["tv", "tnv"])
def test_units_do_not_matter(prior):
    how = {"prior": prior, "haadf_weights": (1.0, 2.0), "tie": 0.3, "haadf_noise": 0.1, "iterations": 80}
    problem = noisy(haadf=(1.0, 2.0))
    usual = solve(problem, **NOISY, **how).volume
    scales, weights = np.array(NOISY["scales"]), np.array(NOISY["weights"])
    brighter = solve(problem.with_gains(4 * problem.gains), scales / 4, weights, **how).volume
    close(brighter, usual)
    # the unit of the density changes the way to the minimum, not the minimum
    how["iterations"] = 1500
    usual = solve(problem, **NOISY, **how).volume
    how["haadf_weights"] = (3.0, 6.0)
    scaled = 3 * solve(problem, 3 * scales, 3 * weights, **how).volume
    assert np.linalg.norm(scaled - usual) < 5e-3 * np.linalg.norm(usual)


def test_gains_and_background_are_in_the_model():
    x, gains = specimen((6, 12, 10)), np.array([0.3, 1.0, 1.7, 0.8, 2.0, 0.5])
    problem = measured(x, (60.0, 40.0), gains=gains, background=3.0)
    found = solve(problem, (60.0, 40.0), (1.0, 1.0), iterations=400).volume
    assert np.linalg.norm(found - x) < 0.1 * np.linalg.norm(x)
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), x.sum(axis=(1, 2, 3)), rtol=0.02)
    assert problem.deviance(x, (60.0, 40.0)) == pytest.approx([0, 0], abs=1e-3)
    assert max(problem.deviance(found, (60.0, 40.0))) < 60
    flat = solve(problem.with_gains(np.ones(6)), (60.0, 40.0), (1.0, 1.0), iterations=400).volume
    assert np.linalg.norm(flat - x) > 0.25 * np.linalg.norm(x)


def test_views_without_gain_do_not_matter():
    problem = noisy()
    keep = np.arange(6) != 2
    counts = [problem.views.rows(each) for each in problem.counts]
    for each in counts:
        each[2] = 1000
    dark = problem.with_counts(counts).with_gains(keep.astype(float))
    found = solve(dark, **NOISY, iterations=300).volume
    close(found, solve(problem.of_views(keep), **NOISY, iterations=300).volume, 5e-3)
    assert problem.of_views(keep).deviance(found, (6, 3)) < problem.deviance(found, (6, 3))


def test_elements_without_counts_are_empty():
    problem = noisy()
    counts = problem.views.rows(problem.counts[0])
    empty = problem.with_counts([counts, np.zeros_like(counts)])
    found = solve(empty, **NOISY, prior="tnv", iterations=100).volume
    assert found[0].max() > 0.5 and not found[1].any()


def test_slabs_and_threads_do_not_matter():
    x = specimen((5, 39, 8))
    how = {"haadf": (1.0, 2.0), "rng": None}
    kind = {"prior": "tnv", "haadf_weights": (1.0, 2.0), "tie": 0.3, "haadf_constant": 0.2, "iterations": 40}
    single, several = measured(x, (6.0, 3.0), **how), measured(x, (6.0, 3.0), **how, threads=3)
    assert single.views.width == 64
    narrow = narrower(several)
    assert narrow.views.n_slabs == 3
    usual = solve(single, **NOISY, **kind).volume
    close(solve(several, **NOISY, **kind).volume, usual, 1e-5)
    close(solve(narrow, **NOISY, **kind).volume, usual, 1e-5)
    assert narrow.deviance(usual, (6, 3)) == pytest.approx(single.deviance(usual, (6, 3)))


def narrower(problem):
    """Return the problem in slabs of 16 slices."""
    views, haadf_views = (SlabViews(v.geometry, v.n_rows, 16) for v in (problem.views, problem.haadf_views))
    counts = tuple(views.slabs(problem.views.rows(each)) for each in problem.counts)
    haadf = haadf_views.slabs(problem.haadf_views.rows(problem.haadf))
    return type(problem)(views, counts, problem.gains, problem.background, haadf_views, haadf, 3)


def test_a_start_continues():
    problem, seen = noisy(haadf=(1.0, 2.0)), []
    how = {"haadf_weights": (1.0, 2.0), "tie": 0.3}
    whole = solve(problem, **NOISY, **how, iterations=50)
    half = solve(problem, **NOISY, **how, iterations=20)
    kept = half.state.copy()
    rest = solve(problem, **NOISY, **how, iterations=30, start=half.state, report=lambda *a: seen.append(a))
    close(rest.volume, whole.volume, 0)
    assert [k for k, _ in seen] == list(range(1, 31)) and seen[-1][1] == rest.change == whole.change
    close(solve(problem, **NOISY, **how, iterations=30, start=kept).volume, whole.volume, 0)
    # HAADF may come later
    untied = solve(problem, **NOISY, iterations=20)
    assert solve(problem, **NOISY, **how, iterations=5, start=untied.state).state.haadf is not None
    with pytest.raises(UsageError, match="start without it"):
        solve(problem.of_views([0, 1, 2]), **NOISY, start=half.state)


@pytest.mark.parametrize(("tie", "iterations"), [(0.0, 120), (0.3, 250)])
def test_iterations_suffice(tie, iterations):
    """As many as `solve` says come within 1 % of the limit, also of an element with a tenth of the counts."""
    scales, x = (6.0, 0.6), specimen((6, 21, 10))
    problem = measured(x, scales, haadf=(1.0, 2.0), rng=np.random.default_rng(4))
    how = {"prior": "tnv", "haadf_weights": (1.0, 2.0), "tie": tie, "haadf_noise": 0.1}
    some = solve(problem, scales, (1.0, 0.5), iterations=iterations, **how)
    found = some.volume.copy()
    limit = solve(problem, scales, (1.0, 0.5), iterations=2000, start=some.state, **how).volume
    for c in range(2):
        assert np.linalg.norm(found[c] - limit[c]) < 0.03 * np.linalg.norm(limit[c])
        errors = [np.linalg.norm(each[c] - x[c]) for each in (found, limit)]
        assert errors[0] < 1.01 * errors[1]


def test_constant_of_haadf_is_subtracted():
    problem = noisy(haadf=(1.0, 2.0))
    how = {"haadf_weights": (1.0, 2.0), "tie": 1.0, "haadf_noise": 0.1, "iterations": 50}
    images = problem.haadf_views.rows(problem.haadf)
    level = np.linspace(1, 5, 9).astype(np.float32)
    raised = fusion_problem(
        [problem.views.rows(each) for each in problem.counts], problem.views.geometry,
        haadf=images + level[:, None, None], haadf_geometry=problem.haadf_views.geometry,
    )  # fmt: skip
    usual = solve(problem, **NOISY, **how).volume
    close(solve(raised, **NOISY, **how, haadf_constant=level).volume, usual, 1e-3)
    assert abs(solve(raised, **NOISY, **how).volume - usual).max() > 0.1


def test_an_element_without_map_appears_in_the_rest():
    x = np.concatenate([specimen((6, 12, 10)), np.zeros((1, 6, 12, 10), np.float32)])
    x[2, 2:4, 8:10, 2:5] = 1
    problem = measured(x, (30.0, 30.0), haadf=(1.0, 1.0, 3.0), rng=np.random.default_rng(5))
    how = {"weights": (1.0, 1.0, 1.0), "haadf_weights": (1.0, 1.0, 3.0), "tie": 1.0, "haadf_noise": 0.1}
    found = solve(problem, (30.0, 30.0), **how).volume
    assert np.corrcoef(found[2].ravel(), x[2].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_memory_is_known_beforehand(tied, threads):
    problem = measured(specimen((40, 70, 40)), (6.0, 3.0), haadf=(1.0, 2.0), threads=threads)
    how = {"haadf_weights": (1.0, 2.0), "tie": float(tied), "iterations": 2}
    solve(problem, **NOISY, **how)  # compiles
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = solve(problem, **NOISY, **how)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    needed = bytes_needed(problem, 2, tied=tied)
    assert 0.8 * needed < peak - before < needed
    assert after - before < 24 * 2 * np.prod(problem.views.volume_shape) and result.volume.any()


COUNTS, GEOMETRY = np.ones((6, 4, 5)), SliceGeometry(TILTS, 5, 3, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": []}, "at least one element"),
        ({"counts": [COUNTS[0]]}, "views, rows, columns"),
        ({"counts": [COUNTS, COUNTS[:5]]}, "is needed"),
        ({"counts": [COUNTS, -COUNTS]}, "negative"),
        ({"counts": [COUNTS * np.nan]}, "not finite"),
        ({"gains": np.ones(5)}, "as many gains"),
        ({"gains": np.zeros(6)}, "not all 0"),
        ({"background": np.zeros((2, 5))}, "elements, views"),
        ({"background": -1.0}, "0 counts or more"),
        ({"haadf": COUNTS}, "haadf_geometry"),
        ({"haadf": COUNTS, "haadf_geometry": SliceGeometry(TILTS, 5, 4, 5)}, "another volume"),
        ({"haadf": COUNTS * np.inf, "haadf_geometry": GEOMETRY}, "not finite"),
    ],
)
def test_impossible_measurements_are_refused(change, message):
    how = {"counts": [COUNTS, COUNTS], **change}
    with pytest.raises((UsageError, DataError), match=message):
        fusion_problem(how.pop("counts"), GEOMETRY, **how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scales": [1.0]}, "scales"),
        ({"scales": [1.0, 0.0]}, "positive"),
        ({"weights": [1.0]}, "as many weights"),
        ({"weights": [1.0, -1.0]}, "weights"),
        ({"prior": "l1"}, "no prior named"),
        ({"tie": 1.0}, "needs HAADF"),
        ({"tie": -1.0}, "tie"),
        ({"haadf_noise": 0.0}, "noise"),
        ({"iterations": 0}, "at least one iteration"),
    ],
)
def test_impossible_requests_are_refused(change, message):
    problem = fusion_problem([COUNTS, COUNTS], GEOMETRY)
    with pytest.raises(UsageError, match=message):
        solve(problem, **{"scales": [1.0, 1.0], "weights": [1.0, 1.0], **change})


def test_other_counts_must_fit():
    problem = fusion_problem([COUNTS, COUNTS], GEOMETRY)
    with pytest.raises(UsageError, match="2 elements"):
        problem.with_counts([COUNTS])
    with pytest.raises(DataError, match="negative"):
        problem.with_counts([COUNTS, -COUNTS])
    with pytest.raises(UsageError, match="no HAADF"):
        problem.project_haadf(COUNTS)
