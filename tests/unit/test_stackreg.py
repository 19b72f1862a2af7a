"""Shifts and turns found from view to view by least squares, against series whose motion is known."""

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.registration.stackreg import rigid_views, stackreg_views
from etcli.core.registration.transforms import TransformedViews, Transforms
from tests.series import Particles, left_over, particle_views, scattered

TILT = np.arange(-60, 61, 4.0)
N = len(TILT)
SHAPE = (96, 112)
COMPACT = scattered(60, 3, (24, 26, 24))
FOIL = scattered(900, 4, (400, 110, 0.5), (1.0, 3.0))
ON_AXIS = Particles(np.zeros((1, 3)), np.array([3.0]), np.array([1.0]))


def jitter(amplitude=6.0, seed=0):
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, (N, 2))


def turned_views(particles, turn_deg, moved, *, tilt_deg=TILT, shape=SHAPE):
    """Views each turned counter-clockwise about its centre and then moved."""
    each = zip(tilt_deg, turn_deg, moved, strict=True)
    return np.array(
        [particle_views(particles, [tilt], shape, axis_deg=turn, moved_px=by)[0] for tilt, turn, by in each]
    )


def turns_deg(transforms):
    return np.rad2deg(np.arctan2(transforms.matrix[:, 1, 0], transforms.matrix[:, 0, 0]))


def place_left(transforms, moved):
    """Where a motion puts what was moved: shifts that are left."""
    return np.einsum("kij,kj->ki", transforms.matrix, moved) + transforms.shift_px


@pytest.fixture(scope="module")
def compact():
    moved = jitter()
    return particle_views(COMPACT, TILT, SHAPE, moved_px=moved), moved


@pytest.fixture(scope="module")
def foil():
    moved = jitter(seed=1)
    return particle_views(FOIL, TILT, SHAPE, moved_px=moved), moved


@pytest.fixture(scope="module")
def found_compact(compact):
    """What is found where nothing else is asked for."""
    return stackreg_views(compact[0], TILT)


@pytest.fixture(scope="module")
def found_foil(foil):
    """The same of the foil."""
    return stackreg_views(foil[0], TILT)


@pytest.mark.parametrize("shape", [(64, 64), (65, 80)])
def test_one_particle_on_the_axis_returns_exactly(shape):
    moved = jitter(9.0)
    found = stackreg_views(particle_views(ON_AXIS, TILT, shape, moved_px=moved), TILT)
    np.testing.assert_allclose(found.shift_px, moved[N // 2] - moved, atol=0.01)
    assert found.quality.min() > 0.999
    assert np.isnan(found.residual_px)
    assert not found.doubtful.any()


def test_particles_in_space(compact, found_compact):
    along, across = left_over(found_compact.shift_px, compact[1], TILT)
    assert along < 0.15
    assert across < 0.22


def test_noise(compact):
    views, moved = compact
    noisy = views + np.random.default_rng(0).normal(0, 0.4, views.shape)
    along, across = left_over(stackreg_views(noisy, TILT).shift_px, moved, TILT)
    assert along < 0.14
    assert across < 0.17


def test_smooth_particles_in_strong_noise():
    particles = Particles(
        np.array([[0.0, 0, 0], [0, 20, 0], [0, -10, 0]]), np.array([8.0, 5.0, 6.0]), np.array([1.0, 0.7, 0.8])
    )
    moved = jitter()
    views = particle_views(particles, TILT, SHAPE, moved_px=moved)
    noisy = views + np.random.default_rng(0).normal(0, 0.3, views.shape)
    # Were they not smoothed as it suits them: 0.54 and 0.22.
    along, across = left_over(stackreg_views(noisy, TILT).shift_px, moved, TILT)
    assert along < 0.3
    assert across < 0.18


def test_foil_is_stretched(foil, found_foil):
    (views, moved), found = foil, found_foil
    np.testing.assert_array_equal(found.shift_px, stackreg_views(views, TILT, stretch=True).shift_px)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.02
    assert across < 0.015
    # What is free is given by the reference, where the foil stays, and by the axis in the middle.
    left = (found.shift_px + moved)[:, 0] - moved[N // 2, 0] * np.cos(np.deg2rad(TILT))
    assert abs(left).max() < 0.12
    assert left_over(stackreg_views(views, TILT, stretch=False).shift_px, moved, TILT)[1] > 10 * across


def test_particles_in_space_are_not_stretched(compact, found_compact):
    unstretched = stackreg_views(compact[0], TILT, stretch=False)
    np.testing.assert_array_equal(found_compact.shift_px, unstretched.shift_px)


def test_large_displacements():
    moved = jitter(20.0, seed=2)
    shape = (128, 144)
    for particles, limits in ((COMPACT, (0.15, 0.22)), (FOIL, (0.02, 0.02))):
        views = particle_views(particles, TILT, shape, moved_px=moved)
        along, across = left_over(stackreg_views(views, TILT).shift_px, moved, TILT)
        assert along < limits[0]
        assert across < limits[1]


def test_region_beside_the_axis(foil):
    views, moved = foil
    found = stackreg_views(views, TILT, region=(slice(20, 90), slice(40, 110)))
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.02
    assert across < 0.03
    # At the reference nothing is left to fit: the region must not move the foil as a whole.
    left = (found.shift_px + moved)[:, 0] - moved[N // 2, 0] * np.cos(np.deg2rad(TILT))
    assert abs(left).max() < 0.15


def test_foil_seen_from_behind(foil):
    _, moved = foil
    views = particle_views(FOIL, TILT + 180, SHAPE, moved_px=moved)
    along, across = left_over(stackreg_views(views, TILT + 180).shift_px, moved, TILT)
    assert along < 0.02
    assert across < 0.015


@pytest.mark.parametrize("tilt", [np.arange(0, 180, 6.0), np.arange(-90, 91, 6.0)])
def test_range_beyond_90_degrees(tilt):
    moved = np.random.default_rng(5).uniform(-6, 6, (len(tilt), 2))
    views = particle_views(COMPACT, tilt, SHAPE, moved_px=moved)
    along, across = left_over(stackreg_views(views, tilt).shift_px, moved, tilt)
    assert along < 0.3
    assert across < 0.6


@pytest.mark.parametrize("content", ["blank", "noise", "another specimen", "inverse"])
@pytest.mark.parametrize("bad", [0, 10])
def test_failed_view_is_passed_over(compact, content, bad):
    views, moved = compact
    views = views.copy()
    views[bad] = {
        "blank": np.full(SHAPE, 2.3),
        "noise": np.random.default_rng(0).normal(0, 1, SHAPE),
        "another specimen": particle_views(scattered(300, 9, (60, 60, 60), (0.8, 1.2)), [0], SHAPE)[0],
        "inverse": -views[bad],
    }[content]
    found = stackreg_views(views, TILT)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [bad])
    assert found.quality[bad] < 0.5
    good = np.arange(N) != bad
    along, across = left_over(found.shift_px[good], moved[good], TILT[good])
    assert along < 0.15
    assert across < 0.22
    between = found.shift_px[1] if bad == 0 else found.shift_px[[bad - 1, bad + 1]].mean(axis=0)
    np.testing.assert_allclose(found.shift_px[bad], between, atol=1e-9)


def test_jump_out_of_a_smooth_motion_is_doubtful():
    moved = np.stack([0.3 * np.arange(N), -0.2 * np.arange(N)], axis=1)
    moved[8] += (7, -4)
    found = stackreg_views(particle_views(COMPACT, TILT, SHAPE, moved_px=moved), TILT)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [8])
    assert left_over(found.shift_px, moved, TILT)[0] < 0.15


def test_shift_beyond_the_limit_is_not_found():
    moved = np.zeros((N, 2))
    moved[20:] = (20, -10)
    views = particle_views(ON_AXIS, TILT, SHAPE, moved_px=moved)
    np.testing.assert_allclose(stackreg_views(views, TILT, max_shift_px=22).shift_px, -moved, atol=0.05)
    found = stackreg_views(views, TILT, max_shift_px=3)
    assert found.doubtful[[19, 20]].all()
    assert abs(found.shift_px).max() < 9


def test_a_series_of_two_specimens_falls_apart_in_the_middle():
    views = particle_views(COMPACT, TILT, SHAPE)
    views[15:] = particle_views(scattered(300, 9, (60, 60, 60), (0.8, 1.2)), TILT[15:], SHAPE)
    found = stackreg_views(views, TILT)
    assert found.doubtful[[14, 15]].all()
    assert found.quality.min() > 0.5


def test_reference_stays(compact, found_compact):
    found = found_compact.shift_px
    assert not found[N // 2].any()
    moved = stackreg_views(compact[0], TILT, reference=3).shift_px
    assert not moved[3].any()
    # Without stretch, registration to another view moves all views alike.
    np.testing.assert_allclose(moved - found, np.broadcast_to(-found[3], found.shape), atol=1e-9)


def test_order_in_the_file_does_not_matter(foil, found_foil):
    views, _ = foil
    shuffled = np.random.default_rng(0).permutation(N)
    other = stackreg_views(views[shuffled], TILT[shuffled])
    np.testing.assert_array_equal(other.shift_px, found_foil.shift_px[shuffled])


def test_large_views_are_binned():
    moved = np.array([[0.0, 0.0], [36.0, -15.0], [-21.0, 9.0], [10.0, 30.0]])
    particle = Particles(np.zeros((1, 3)), np.array([20.0]), np.array([1.0]))
    found = stackreg_views(particle_views(particle, [0, 1, 2, 3], (401, 1100), moved_px=moved), [0, 1, 2, 3])
    np.testing.assert_allclose(found.shift_px, -moved, atol=0.02)


def test_a_long_strip_keeps_its_width():
    moved = np.array([[0.0, 0.0], [3.0, 1.5], [-2.0, -1.0]])
    strip = scattered(200, 3, (500, 9, 0.0), (2.0, 3.0))
    found = stackreg_views(particle_views(strip, [0, 0, 0], (24, 1100), moved_px=moved), [0, 0, 0])
    np.testing.assert_allclose(found.shift_px, -moved, atol=0.02)


def test_integers_with_an_offset(foil, tmp_path):
    views, moved = foil
    stored = np.lib.format.open_memmap(tmp_path / "views.npy", "w+", np.int16, views.shape)
    stored[:] = views * 4000 - 31900
    along, across = left_over(stackreg_views(stored, TILT).shift_px, moved, TILT)
    assert along < 0.02
    assert across < 0.015


def test_views_with_the_axis_turned_upright():
    moved = jitter(seed=1)
    views = 3 + particle_views(FOIL, TILT, (120, 140), axis_deg=35, moved_px=moved)
    upright = Transforms.rotation(35, N)
    found = stackreg_views(TransformedViews(views.__getitem__, upright, (120, 140)), TILT)
    along, across = left_over(found.shift_px, moved @ upright.matrix[0].T, TILT)
    assert along < 0.03
    assert across < 0.03


def test_threads_change_nothing(compact, found_compact):
    two = stackreg_views(compact[0], TILT, threads=2)
    np.testing.assert_array_equal(found_compact.shift_px, two.shift_px)


def test_progress_counts_every_view_twice(compact):
    done = []
    stackreg_views(compact[0], TILT, progress=done.append)
    assert sum(done) == 2 * N


@pytest.mark.parametrize("region", [None, (slice(10, 96), slice(25, 112))])
def test_turned_foil(region):
    moved, turn = jitter(seed=3), np.random.default_rng(4).uniform(-2, 2, N)
    found = rigid_views(turned_views(FOIL, turn, moved), TILT, region=region)
    left = turns_deg(found.transforms) + turn
    assert left[N // 2] == turn[N // 2]  # that of the reference, as it is, in all views
    np.testing.assert_allclose(left, turn[N // 2], atol=0.15)
    along, across = left_over(place_left(found.transforms, moved), np.zeros((N, 2)), TILT)
    assert along < 0.05
    assert across < 0.05
    assert found.quality.min() > 0.99
    assert not found.doubtful.any()


def test_turns_at_one_tilt():
    rng = np.random.default_rng(6)
    moved, turn = rng.uniform(-8, 8, (9, 2)), rng.uniform(-5, 5, 9)
    views = turned_views(COMPACT, turn, moved, tilt_deg=np.full(9, 20.0))
    views[4] = 0
    found = rigid_views(views, np.full(9, 20.0), reference=2)
    good = np.arange(9) != 4
    np.testing.assert_array_equal(found.doubtful, ~good)
    np.testing.assert_allclose((turns_deg(found.transforms) + turn)[good], turn[2], atol=1e-3)
    np.testing.assert_allclose(
        place_left(found.transforms, moved)[good], np.tile(moved[2], (8, 1)), atol=0.01
    )
    between = found.transforms.shift_px[[3, 5]].mean(axis=0)
    np.testing.assert_allclose(found.transforms.shift_px[4], between, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reference": 31}, "view 32 asked for, but there are 31"),
        ({"reference": -1}, "view 0 asked for"),
        ({"max_shift_px": 0.5}, "largest shift of 0.5 px"),
        ({"region": (slice(0, 10), slice(0, 50))}, "50 x 10 pixels"),
    ],
)
@pytest.mark.parametrize("method", [stackreg_views, rigid_views])
def test_unfit_requests(compact, method, options, told):
    with pytest.raises(UsageError, match=told):
        method(compact[0], TILT, **options)


def test_unfit_data(compact):
    views = compact[0].copy()
    with pytest.raises(DataError, match="31 views but 30 tilt angles"):
        stackreg_views(views, TILT[:-1])
    with pytest.raises(DataError, match="blank"):
        stackreg_views(np.zeros_like(views), TILT)
    views[4] = 0
    with pytest.raises(UsageError, match="reference view 5 is blank"):
        stackreg_views(views, TILT, reference=4)
    views[4, 50, 50] = np.nan
    with pytest.raises(DataError, match="view 5 holds"):
        stackreg_views(views, TILT)
