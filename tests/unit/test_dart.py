"""DART on specimens whose classes are known, and what it is made of."""

from math import sqrt

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, to_slab
from etcli.core.reconstruction.grey_levels import find_levels, fitted_levels, levels_from_histogram
from etcli.core.solvers.dart import dart
from etcli.core.solvers.fista import fista
from etcli.core.solvers.misfit import slab_misfit
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.sirt import sirt
from etcli.core.solvers.slice_tv import noise_deviation, slice_tv

LEVELS = np.array([0, 0.5, 1], np.float32)
N = 64
HALF_TURN = np.arange(18) * 10.0 - 80
WEDGE = np.linspace(-70, 70, 24)
DISCS = (  # x, z, radius, density added
    (1.3, -0.8, 25.6, 0.5),
    (8.2, 6.1, 7.3, 0.5),
    (-9.7, 9.4, 5.2, 0.5),
    (-6.4, -9.9, 6.1, -0.5),
    (12.1, -9.3, 3.4, 0.5),
)


def grid():
    return np.meshgrid(np.arange(N) - (N - 1) / 2, np.arange(N) - (N - 1) / 2, indexing="ij")


def disc_views(tilt_deg, offset=0.0):
    """The mean over every pixel of the chord through every disc."""
    tilt = np.deg2rad(tilt_deg)[:, None]
    edges = np.arange(N + 1) - N / 2 - offset
    views = np.zeros((len(tilt), N))
    for x, z, radius, density in DISCS:
        t = np.clip((edges - (x * np.cos(tilt) + z * np.sin(tilt))) / radius, -1, 1)
        area = radius**2 * (t * np.sqrt(1 - t**2) + np.arcsin(t))  # left of an edge, from the middle
        views += density * np.diff(area, axis=1)
    return views


def disc_classes():
    """Classes at the centres of the voxels, and whether an edge may cross the voxel."""
    z, x = grid()
    density, crossed = np.zeros((N, N)), np.zeros((N, N), bool)
    for x0, z0, radius, more in DISCS:
        distance = np.hypot(x - x0, z - z0) - radius
        density += more * (distance < 0)
        crossed |= abs(distance) < sqrt(0.5)
    return np.rint(2 * density).astype(int), crossed


def shapes():
    """Classes of a star with holes and a cross, and of irregular blobs."""
    z, x = grid()
    r, turn = np.hypot(z, x), np.arctan2(z, x)
    star = (r < 20 + 6 * np.cos(5 * turn)).astype(int)
    star[(abs(z - 2) < 2.2) & (abs(x) < 10)] = 2
    star[(abs(x + 3) < 2.2) & (abs(z) < 11)] = 2
    star[np.hypot(z + 10, x - 8) < 3.3] = 0
    rng = np.random.default_rng(4)
    one, other = (ndimage.gaussian_filter(rng.normal(size=(N, N)), 5) for _ in range(2))
    blobs = np.where((one > 0) & (r < 27), 1 + (other > 0.5 * other.std()), 0)
    return [star, blobs]


def as_views(classes, tilt_deg):
    projector = SlabProjector(SliceGeometry(tilt_deg, N, N, N), n_slices=16, kernel="strip")
    volume = to_slab(np.ascontiguousarray(LEVELS[np.stack(classes, axis=1)]))
    return projector, projector.forward(volume)


def slab_of(views):
    return to_slab(np.ascontiguousarray(views[:, None], np.float32))


def wrong(volume, classes):
    return np.mean(np.rint(2 * volume[..., : len(classes)]).astype(int) != np.stack(classes, axis=-1), (0, 1))


@pytest.mark.parametrize(
    ("tilt_deg", "offset"), [(HALF_TURN, 0.0), (WEDGE, -1.7)], ids=["half turn", "wedge, offset"]
)
@pytest.mark.parametrize("kernel", ["linear", "strip"])
def test_discs_come_back_but_for_voxels_that_an_edge_crosses(tilt_deg, offset, kernel):
    projector = SlabProjector(SliceGeometry(tilt_deg, N, N, N, offset), n_slices=16, kernel=kernel)
    found = dart(projector, slab_of(disc_views(tilt_deg, offset)), levels=LEVELS)
    expected, crossed = disc_classes()
    wrong = np.rint(2 * found[..., 0]) != expected
    assert not wrong[~crossed].any()
    assert wrong[crossed].mean() < 0.15
    assert not found[..., 1:].any()


@pytest.mark.parametrize("tilt_deg", [HALF_TURN, WEDGE], ids=["half turn", "wedge"])
def test_shapes_with_holes_and_dents_come_back(tilt_deg):
    projector, views = as_views(shapes(), tilt_deg)
    found = dart(projector, views, levels=LEVELS)
    assert set(np.unique(found)) == set(LEVELS)
    assert (wrong(found, shapes()) <= 0.005).all()
    by_sirt = np.digitize(sirt(projector, views, iterations=200, lower=0, upper=1), [0.25, 0.75]) / 2
    assert (wrong(found, shapes()) < 0.3 * wrong(by_sirt, shapes())).all()


def test_noise_costs_less_than_with_the_best_number_of_sweeps_of_sirt():
    projector, views = as_views(shapes(), HALF_TURN)
    noisy = views + np.random.default_rng(0).normal(0, 0.03 * views.max(), views.shape).astype(np.float32)
    noisy[..., 2:] = 0
    found = wrong(dart(projector, noisy, levels=LEVELS), shapes())
    best = np.min(
        [
            wrong(np.digitize(sirt(projector, noisy, iterations=k, lower=0), [0.25, 0.75]) / 2, shapes())
            for k in (10, 20, 40)
        ],
        axis=0,
    )
    assert (found < 0.65 * best).all()


def test_densities_may_have_any_sign_and_unit():
    projector, views = as_views(shapes(), HALF_TURN)
    offset = projector.forward(np.full(projector.domain_shape, -300, np.float32))
    expected = dart(projector, views, levels=LEVELS, iterations=15)
    found = dart(projector, 1000 * views + offset, levels=1000 * LEVELS - 300, iterations=15)
    assert set(np.unique(found)) == {-300, 200, 700}
    assert np.mean(found[..., :2] != 1000 * expected[..., :2] - 300) < 0.01


def test_thresholds_decide():
    z, x = grid()
    projector, views = as_views([(np.hypot(z, x) < 15).astype(int)], HALF_TURN)
    inside = np.hypot(z, x) < 12
    for threshold, density in ((0.6, 0.0), (0.4, 1.0)):  # the views are those of a disc of 0.5
        how = {"levels": [0, 1], "thresholds": [threshold], "iterations": 1, "free": 0.0}
        assert (dart(projector, views, **how)[inside, 0] == density).all()


def test_a_slice_does_not_depend_on_its_neighbours_or_the_width_of_the_slab():
    projector, views = as_views(shapes(), WEDGE)
    views += np.random.default_rng(2).normal(0, 0.3, views.shape).astype(np.float32)
    wide = SlabProjector(projector.geometry, n_slices=32, kernel="strip")
    expected = dart(projector, views, levels=LEVELS, iterations=6, start=20)
    found = dart(
        wide, np.concatenate([views[..., ::-1], views], axis=2), levels=LEVELS, iterations=6, start=20
    )
    np.testing.assert_array_equal(found[..., 16:], expected)
    np.testing.assert_array_equal(found[..., 15::-1], expected)
    alone = np.zeros_like(views)
    alone[..., 1] = views[..., 1]
    np.testing.assert_array_equal(
        dart(projector, alone, levels=LEVELS, iterations=6, start=20)[..., 1], expected[..., 1]
    )


def test_the_callback_gets_the_residual_of_the_classified_volume():
    projector, views = as_views(shapes(), HALF_TURN)
    told = []
    found = dart(
        projector, views, levels=LEVELS, iterations=7, callback=lambda k, norm, _: told.append((k, norm))
    )
    steps, norms = zip(*told, strict=True)
    assert steps == tuple(range(8))
    assert norms[-1] == pytest.approx(np.linalg.norm(views - projector.forward(found)), rel=1e-4)
    assert norms[-1] < 0.9 * norms[0]


def test_slices_have_the_total_variation_that_the_prior_of_volumes_finds():
    projector, views = as_views(shapes()[:1], HALF_TURN)
    views += np.random.default_rng(1).normal(0, 0.5, views.shape).astype(np.float32)
    weight = noise_deviation(views)[0] * sqrt(len(HALF_TURN))
    series = slab_misfit(
        np.ascontiguousarray(views[..., :1].transpose(0, 2, 1)),
        projector.geometry,
        make_projector=lambda geometry, n_slices: SlabProjector(geometry, n_slices=n_slices, kernel="strip"),
    )
    prior = make_prior("tv", series.shape, lower=0.0)
    expected = fista(series, prior, weight=weight, iterations=80)[..., 0]
    found = slice_tv(projector, views, iterations=200, lower=0)[..., 0]

    def cost(image):
        misfit = projector.forward(to_slab(np.ascontiguousarray(image[:, None])))[..., 0] - views[..., 0]
        steps = np.diff(image, axis=0, append=image[-1:]), np.diff(image, axis=1, append=image[:, -1:])
        return (misfit**2).sum() / 2 + weight * np.hypot(*steps).sum()

    assert cost(found) < 1.01 * cost(expected)
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
    assert found.min() == 0


def test_noise_is_that_of_every_slice_where_there_is_a_specimen():
    deviation = np.linspace(0, 3, 16)
    smooth = np.repeat(disc_views(HALF_TURN)[..., None], 16, axis=2)
    noise = np.random.default_rng(0).normal(0, deviation, smooth.shape)
    found = noise_deviation(np.where(smooth > 0, smooth + noise, 0).astype(np.float32))
    np.testing.assert_allclose(found[4:], deviation[4:], rtol=0.12)
    assert found[0] < 0.25
    padded = np.pad(np.where(smooth > 0, smooth + noise, 0), ((0, 0), (200, 200), (0, 0)))
    np.testing.assert_array_equal(noise_deviation(padded.astype(np.float32)), found)


@pytest.mark.parametrize("noise", [0, 0.02])
def test_levels_are_found(noise):
    projector, views = as_views(shapes(), HALF_TURN)
    rng = np.random.default_rng(0)
    views[..., :2] += rng.normal(0, noise * views.max(), views[..., :2].shape).astype(np.float32)
    found = find_levels(projector, np.ascontiguousarray(30 * views), 3)
    np.testing.assert_allclose(found, 30 * LEVELS, atol=30 * 0.015)


def test_levels_of_a_histogram_are_those_away_from_the_boundaries():
    density = np.array([0.2, 1.1, 1.9])[np.stack(shapes(), axis=-1)]
    blurred = ndimage.uniform_filter(density, (3, 3, 1))
    blurred += np.random.default_rng(0).normal(0, 0.03, density.shape)
    np.testing.assert_allclose(levels_from_histogram(blurred, 3), [0.2, 1.1, 1.9], atol=0.02)


def test_fitted_levels_are_those_of_the_views():
    projector, _ = as_views(shapes(), HALF_TURN)
    classes = np.zeros(projector.domain_shape, int)
    classes[..., :2] = np.stack(shapes(), axis=-1)
    assumed = np.array([0, 0.4, 0.7, 5])
    views = projector.forward(np.array([0.1, 0.55, 1.2], np.float32)[classes])
    found = fitted_levels(projector, views, assumed.astype(np.float32)[classes], assumed)
    np.testing.assert_allclose(found, [0.1, 0.55, 1.2, 5], atol=1e-4)
    with pytest.raises(DataError, match="do not distinguish 4 levels"):
        fitted_levels(projector, -views, assumed.astype(np.float32)[classes], assumed)


def test_what_cannot_be_meant_is_refused():
    projector, views = as_views(shapes(), HALF_TURN)
    for words, how in {
        "at least one iteration, not 0": {"iterations": 0},
        "two or more densities, rising, not 0": {"levels": [0]},
        "rising, not 0, 1, 1": {"levels": [0, 1, 1]},
        "rising, not 0, nan": {"levels": [0, np.nan]},
        "rising, not 0, inf": {"levels": [0, np.inf]},
        "thresholds lie between neighbouring levels, not 0.2 for 0, 0.5, 1": {"thresholds": [0.2]},
        "between neighbouring levels, not 0.6, 0.8": {"thresholds": [0.6, 0.8]},
        "not 0 and 0.3": {"start": 0},
        "not 100 and 1.5": {"free": 1.5},
        "a weight of -1": {"weight": -1.0},
        "a weight of nan": {"weight": np.nan},
    }.items():
        with pytest.raises(UsageError, match=words):
            dart(projector, views, **{"levels": LEVELS, **how})
    with pytest.raises(UsageError, match="the sinogram has the shape"):
        dart(projector, views[1:], levels=LEVELS)
    with pytest.raises(UsageError, match="no density lies between"):
        slice_tv(projector, views, iterations=1, lower=1, upper=0)
    with pytest.raises(UsageError, match="7 levels cannot be found; 2 to 5 can"):
        levels_from_histogram(views, 7)
    with pytest.raises(DataError, match="do not fall into 3 classes"):
        levels_from_histogram(np.zeros((4, 4, 16), np.float32), 3)
