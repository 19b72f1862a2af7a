"""Shifts found by correlation, against series whose motion is known."""

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.registration.correlation import correlate_views
from tests.series import Particles, left_over, particle_views, scattered

TILT = np.arange(-60, 61, 4.0)
N = len(TILT)
SHAPE = (96, 112)
COMPACT = scattered(60, 3, (24, 26, 24))
FOIL = scattered(900, 4, (400, 110, 0.5), (1.0, 3.0))
ON_AXIS = Particles(np.zeros((1, 3)), np.array([3.0]), np.array([1.0]))


def jitter(amplitude=6.0, seed=0):
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, (N, 2))


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
    return correlate_views(compact[0], TILT)


@pytest.fixture(scope="module")
def found_foil(foil):
    """The same of the foil."""
    return correlate_views(foil[0], TILT)


@pytest.mark.parametrize("shape", [(64, 64), (65, 80)])
def test_one_particle_on_the_axis_returns_exactly(shape):
    moved = jitter(9.0)
    found = correlate_views(particle_views(ON_AXIS, TILT, shape, moved_px=moved), TILT)
    reference = N // 2
    np.testing.assert_allclose(found.shift_px, moved[reference] - moved, atol=0.01)
    assert found.quality.min() > 0.999
    assert found.residual_px < 0.01
    assert not found.doubtful.any()


def test_particles_in_space(compact, found_compact):
    along, across = left_over(found_compact.shift_px, compact[1], TILT)
    assert along < 0.12
    assert across < 0.2


def test_noise_is_weighted_down(compact):
    views, moved = compact
    noisy = views + np.random.default_rng(0).normal(0, 0.4, views.shape)
    along, across = left_over(correlate_views(noisy, TILT).shift_px, moved, TILT)
    assert along < 0.25
    assert across < 0.25


def test_more_neighbours_help_against_noise(foil):
    views, moved = foil
    noisy = views + np.random.default_rng(0).normal(0, 1, views.shape)
    chain, net = (correlate_views(noisy, TILT, neighbours=n) for n in (1, 4))
    net_left, chain_left = (np.hypot(*left_over(each.shift_px, moved, TILT)) for each in (net, chain))
    assert net_left < 0.7 * chain_left
    assert 0 < net.residual_px < 1
    assert np.isnan(chain.residual_px)


def test_foil_is_stretched(foil, found_foil):
    (views, moved), found = foil, found_foil
    np.testing.assert_array_equal(found.shift_px, correlate_views(views, TILT, stretch=True).shift_px)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.02
    assert across < 0.015
    # What is free is given by the reference, where the foil stays, and by the axis in the middle.
    left = (found.shift_px + moved)[:, 0] - moved[N // 2, 0] * np.cos(np.deg2rad(TILT))
    assert abs(left).max() < 0.12
    assert left_over(correlate_views(views, TILT, stretch=False).shift_px, moved, TILT)[1] > 10 * across


def test_particles_in_space_are_not_stretched(compact, found_compact):
    unstretched = correlate_views(compact[0], TILT, stretch=False)
    np.testing.assert_array_equal(found_compact.shift_px, unstretched.shift_px)


def test_a_bright_body_that_leaves_the_view_does_not_hold_the_foil(foil):
    views, moved = foil
    rows, columns = (np.arange(n)[:, None] - (n - 1) / 2 for n in SHAPE)
    for view, tilt, (right, up) in zip(views := views.copy(), np.deg2rad(TILT), moved, strict=True):
        x, y = (columns.T - right) / np.cos(tilt), rows - up
        view += 20 * np.exp(-0.5 * (((x - 30) / 70) ** 2 + ((y + 20) / 50) ** 2)) / np.cos(tilt)
    along, across = left_over(correlate_views(views, TILT).shift_px, moved, TILT)
    assert along < 0.2
    assert across < 0.2


def test_region_beside_the_axis(foil):
    views, moved = foil
    region = (slice(20, 90), slice(40, 110))
    found = correlate_views(views, TILT, region=region)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.2
    assert across < 0.2
    # At the reference nothing is left to fit: the region must not move the foil as a whole.
    left = (found.shift_px + moved)[:, 0] - moved[N // 2, 0] * np.cos(np.deg2rad(TILT))
    assert abs(left).max() < 1


@pytest.mark.parametrize("tilt", [np.arange(0, 180, 6.0), np.arange(-90, 91, 6.0)])
def test_range_beyond_90_degrees(tilt):
    moved = np.random.default_rng(5).uniform(-6, 6, (len(tilt), 2))
    views = particle_views(COMPACT, tilt, SHAPE, moved_px=moved)
    along, across = left_over(correlate_views(views, tilt).shift_px, moved, tilt)
    assert along < 0.2
    assert across < 0.5


@pytest.mark.parametrize("content", [0.0, "noise", "another specimen"])
@pytest.mark.parametrize("bad", [0, 10])
def test_failed_view_is_passed_over(compact, content, bad):
    views, moved = compact
    views = views.copy()
    if content == "noise":
        views[bad] = np.random.default_rng(0).normal(0, 1, SHAPE)
    elif content == "another specimen":
        views[bad] = particle_views(scattered(300, 9, (60, 60, 60), (0.8, 1.2)), [0], SHAPE)[0]
    else:
        views[bad] = content
    found = correlate_views(views, TILT)
    assert found.doubtful[bad]
    assert found.quality[bad] < 0.5
    good = np.arange(N) != bad
    along, across = left_over(found.shift_px[good], moved[good], TILT[good])
    assert along < 0.25
    assert across < 0.2
    between = found.shift_px[1] if bad == 0 else found.shift_px[[bad - 1, bad + 1]].mean(axis=0)
    np.testing.assert_allclose(found.shift_px[bad], between, atol=1e-9)


def test_jump_out_of_a_smooth_motion_is_doubtful():
    moved = np.stack([0.3 * np.arange(N), -0.2 * np.arange(N)], axis=1)
    moved[8] += (7, -4)
    found = correlate_views(particle_views(COMPACT, TILT, SHAPE, moved_px=moved), TILT)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [8])
    assert left_over(found.shift_px, moved, TILT)[0] < 0.12


def test_reference_stays(compact, found_compact):
    assert not found_compact.shift_px[N // 2].any()
    moved = correlate_views(compact[0], TILT, reference=3).shift_px
    assert not moved[3].any()
    # Registration to another view moves all views alike.
    difference = moved - found_compact.shift_px
    np.testing.assert_allclose(difference, np.broadcast_to(difference[0], difference.shape), atol=0.02)


def test_shift_beyond_the_limit_is_not_found():
    moved = np.zeros((N, 2))
    moved[N // 2 + 1 :] = (20, -10)
    views = particle_views(ON_AXIS, TILT, SHAPE, moved_px=moved)
    np.testing.assert_allclose(correlate_views(views, TILT, max_shift_px=22).shift_px, -moved, atol=0.05)
    assert abs(correlate_views(views, TILT, max_shift_px=3).shift_px).max() < 9


def test_large_views_are_binned():
    moved = np.array([[0.0, 0.0], [36.0, -15.0], [-21.0, 9.0], [10.0, 30.0]])
    particle = Particles(np.zeros((1, 3)), np.array([20.0]), np.array([1.0]))
    found = correlate_views(particle_views(particle, [0, 1, 2, 3], (400, 1100), moved_px=moved), [0, 1, 2, 3])
    np.testing.assert_allclose(found.shift_px, -moved, atol=0.02)


def test_integers_with_an_offset(compact, tmp_path):
    views, moved = compact
    stored = np.lib.format.open_memmap(tmp_path / "views.npy", "w+", np.int16, views.shape)
    stored[:] = views * 8000 - 31900
    along, across = left_over(correlate_views(stored, TILT).shift_px, moved, TILT)
    assert along < 0.12
    assert across < 0.2


def test_threads_change_nothing(compact, found_compact):
    two = correlate_views(compact[0], TILT, threads=2)
    np.testing.assert_array_equal(found_compact.shift_px, two.shift_px)


def test_progress_counts_every_view_twice(compact):
    done = []
    correlate_views(compact[0], TILT, progress=done.append)
    assert sum(done) == 2 * N


def test_low_pass_survives_strong_fine_noise(compact):
    views, moved = compact
    noise = np.random.default_rng(0).normal(0, 3, views.shape)
    along, across = left_over(correlate_views(views + noise, TILT, high_px=12).shift_px, moved, TILT)
    assert along < 1
    assert across < 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reference": 31}, "view 32 asked for, but there are 31"),
        ({"reference": -1}, "view 0 asked for"),
        ({"neighbours": 0}, "at least one neighbour"),
        ({"taper": 0.7}, "taper of 0.7"),
        ({"max_shift_px": 0.5}, "largest shift of 0.5 px"),
        ({"region": (slice(0, 10), slice(0, 50))}, "50 x 10 pixels"),
        ({"low_px": -3.0}, "positive"),
    ],
)
def test_unfit_requests(compact, options, told):
    with pytest.raises(UsageError, match=told):
        correlate_views(compact[0], TILT, **options)


def test_unfit_data(compact):
    views = compact[0].copy()
    with pytest.raises(DataError, match="31 views but 30 tilt angles"):
        correlate_views(views, TILT[:-1])
    with pytest.raises(DataError, match="angle of view 3 is not"):
        correlate_views(views, np.where(np.arange(N) == 2, np.nan, TILT))
    with pytest.raises(DataError, match="two views"):
        correlate_views(views[:1], TILT[:1])
    with pytest.raises(DataError, match="blank"):
        correlate_views(np.zeros_like(views), TILT)
    views[4] = 0
    with pytest.raises(UsageError, match="reference view 5 is blank"):
        correlate_views(views, TILT, reference=4)
    views[4, 50, 50] = np.nan
    with pytest.raises(DataError, match="view 5 holds"):
        correlate_views(views, TILT)
