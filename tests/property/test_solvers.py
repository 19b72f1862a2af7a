"""What must hold for every reconstruction, whatever the geometry."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.backprojection import backprojection, inverse_sums
from etcli.core.solvers.filtered_backprojection import FILTERS, filtered_backprojection, view_weights
from etcli.core.solvers.sirt import sirt

ANGLES = st.lists(st.integers(-1200, 1200).map(lambda a: a / 10), min_size=1, max_size=9, unique=True).map(
    np.array
)
GEOMETRIES = st.builds(
    SliceGeometry,
    tilt_deg=ANGLES,
    n_detector=st.integers(4, 30),
    thickness=st.integers(1, 24),
    width=st.integers(4, 30),
    axis_offset_px=st.floats(-3, 3),
)
SEEDS = st.integers(0, 2**32 - 1)
SOLVERS = {
    "fbp": partial(filtered_backprojection, window="hann"),
    "bp": backprojection,
    "sirt": partial(sirt, iterations=3),
    "sirt, bounded": partial(sirt, iterations=3, lower=0, upper=1, relaxation=1.5),
}
run = settings(max_examples=30, deadline=None)


def noise(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def problem(geometry: SliceGeometry, seed: int):
    projector = SlabProjector(geometry, n_slices=16)
    return projector, noise(projector.range_shape, seed)


@pytest.mark.parametrize("name", SOLVERS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_permuting_views_leaves_the_reconstruction(name, geometry, seed) -> None:
    order = np.random.default_rng(seed).permutation(geometry.n_views)
    g = geometry
    permuted = SliceGeometry(g.tilt_deg[order], g.n_detector, g.thickness, g.width, g.axis_offset_px)
    projector, y = problem(g, seed)
    expected = SOLVERS[name](projector, y)
    found = SOLVERS[name](SlabProjector(permuted, n_slices=16), y[order])
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("name", ["fbp", "bp", "sirt"])
@run
@given(geometry=GEOMETRIES, seed=SEEDS, factor=st.floats(-4, 4))
def test_reconstruction_is_linear(name, geometry, seed, factor) -> None:
    projector, y = problem(geometry, seed)
    other, factor = noise(y.shape, seed + 1), np.float32(factor)
    solve = SOLVERS[name]
    expected = solve(projector, y) + factor * solve(projector, other)
    found = solve(projector, y + factor * other)
    np.testing.assert_allclose(found, expected, atol=5e-5 * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("name", SOLVERS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_half_a_turn_mirrors_the_views(name, geometry, seed) -> None:
    g = geometry
    turned = SliceGeometry(g.tilt_deg + 180, g.n_detector, g.thickness, g.width, -g.axis_offset_px)
    projector, y = problem(g, seed)
    sums = inverse_sums(projector, one_slice=True)
    assume(max(sums.rows.max(), sums.columns.max()) < 50)  # or rounding of a grazing ray's weight shows
    expected = SOLVERS[name](projector, y)
    found = SOLVERS[name](SlabProjector(turned, n_slices=16), np.ascontiguousarray(y[:, ::-1]))
    np.testing.assert_allclose(found, expected, atol=2e-5 * max(np.abs(expected).max(), 1e-3))


@run
@given(
    geometry=GEOMETRIES,
    seed=SEEDS,
    low=st.floats(-1, 1),
    span=st.floats(0, 1),
    relaxation=st.floats(0.1, 1.9),
)
def test_sirt_stays_within_bounds_and_mask(geometry, seed, low, span, relaxation) -> None:
    projector, y = problem(geometry, seed)
    mask = np.random.default_rng(seed).random((*projector.domain_shape[:2], 1)) < 0.7
    low = float(np.float32(low))
    high = float(np.float32(low + span))
    found = sirt(projector, y, iterations=2, lower=low, upper=high, mask=mask, relaxation=relaxation)
    inside = np.broadcast_to(mask, found.shape)
    assert not found[~inside].any()
    assert ((found[inside] >= low) & (found[inside] <= high)).all()


@run
@given(geometry=GEOMETRIES, seed=SEEDS, relaxation=st.floats(0.1, 1.9), lower=st.sampled_from([-np.inf, 0.0]))
def test_sirt_never_explains_the_views_worse_than_before(geometry, seed, relaxation, lower) -> None:
    projector, y = problem(geometry, seed)
    rows = inverse_sums(projector, one_slice=True).rows.astype(float)
    weighted = []
    for iterations in range(1, 5):
        x = sirt(projector, y, iterations=iterations, relaxation=relaxation, lower=lower)
        residual = y - projector.forward(x).astype(float)
        weighted.append(float((rows * residual**2).sum()))
    assert (np.diff(weighted) <= 1e-5 * weighted[0]).all()


@run
@given(geometry=GEOMETRIES, density=st.floats(0.1, 100))
def test_a_uniform_slice_comes_back_from_its_views(geometry, density) -> None:
    projector = SlabProjector(geometry, n_slices=16)
    truth = np.full(projector.domain_shape, density, np.float32)
    seen = np.broadcast_to(inverse_sums(projector).columns > 0, truth.shape)
    for solve in (backprojection, partial(sirt, iterations=4)):
        np.testing.assert_allclose(solve(projector, projector.forward(truth))[seen], density, rtol=2e-4)


@run
@given(tilt_deg=ANGLES, turn=st.integers(-3600, 3600).map(lambda a: a / 10), seed=SEEDS)
def test_weights_of_views_do_not_depend_on_their_order_or_the_zero_of_the_angle(tilt_deg, turn, seed) -> None:
    weights = view_weights(tilt_deg)
    assert (weights > 0).all()
    assert weights.sum() <= np.pi * (1 + 1e-3)
    order = np.random.default_rng(seed).permutation(tilt_deg.size)
    np.testing.assert_allclose(view_weights(tilt_deg[order] + turn), weights[order], atol=1e-9)


@pytest.mark.parametrize("window", FILTERS)
@run
@given(geometry=GEOMETRIES, seed=SEEDS)
def test_a_larger_slice_holds_the_smaller_one(window, geometry, seed) -> None:
    g = geometry
    projector, y = problem(g, seed)
    larger = SliceGeometry(g.tilt_deg, g.n_detector, g.thickness + 8, g.width + 6, g.axis_offset_px)
    inner = filtered_backprojection(projector, y, window=window)
    outer = filtered_backprojection(SlabProjector(larger, n_slices=16), y, window=window)
    np.testing.assert_allclose(outer[4:-4, 3:-3], inner, atol=2e-5 * max(np.abs(inner).max(), 1e-3))
