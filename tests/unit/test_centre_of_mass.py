"""Shifts from centres of mass, against series whose motion is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration.centre_of_mass import com_views, robust_weight
from etcli.core.registration.common_line import common_line_views
from tests.series import Particles, left_over, particle_views, scattered

TILT = np.arange(-60, 61, 4.0)
N = len(TILT)
SHAPE = (96, 112)
COMPACT = scattered(60, 3, (24, 26, 24))
SMALL = scattered(20, 5, (10, 12, 10), (1.0, 2.5))
FOIL = scattered(900, 4, (400, 110, 0.5), (1.0, 3.0))
BOTH = pytest.mark.parametrize("method", [com_views, common_line_views])


def jitter(amplitude=6.0, seed=0):
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, (N, 2))


def noise(views, sigma, seed=0):
    return views + np.random.default_rng(seed).normal(0, sigma, views.shape).astype(np.float32)


@pytest.fixture(scope="module")
def compact():
    moved = jitter()
    return particle_views(COMPACT, TILT, SHAPE, moved_px=moved), moved


@BOTH
@pytest.mark.parametrize("shape", [(96, 112), (95, 111)])
def test_specimen_in_space(method, shape):
    moved = jitter()
    found = method(particle_views(COMPACT, TILT, shape, moved_px=moved), TILT)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.001
    assert across < 0.004
    assert found.quality.min() > 0.998
    assert found.quality.max() <= 1
    assert found.residual_px < 0.02
    assert not found.doubtful.any()


@BOTH
def test_turning_about_a_distant_axis_is_no_shift(method):
    place = np.add(COMPACT.place * 0.7, (25, 0, -30))
    particles = Particles(place, COMPACT.sigma, COMPACT.height)
    views = particle_views(particles, TILT, (96, 200), offset_px=8.0)
    assert np.ptp(views.sum(axis=1) @ np.arange(200) / views.sum(axis=(1, 2))) > 40
    np.testing.assert_allclose(method(views, TILT).shift_px, 0, atol=0.01)


@BOTH
def test_one_view_astray_leaves_the_others_where_they_are(method):
    moved = np.zeros((N, 2))
    moved[7] = (18, -13)
    found = method(particle_views(SMALL, TILT, SHAPE, moved_px=moved), TILT)
    np.testing.assert_allclose(found.shift_px, -moved, atol=0.02)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [7])


@BOTH
def test_reference_stays(method, compact):
    views, _ = compact
    found = method(views, TILT).shift_px
    assert not found[N // 2].any()
    other = method(views, TILT, reference=3).shift_px
    np.testing.assert_allclose(other, found - found[3], atol=1e-9)


@BOTH
def test_order_of_the_views_does_not_matter(method, compact):
    views, _ = compact
    order = np.random.default_rng(2).permutation(N)
    found = method(views, TILT).shift_px[order]
    np.testing.assert_allclose(method(views[order], TILT[order]).shift_px, found, atol=1e-3)


@given(gain=st.floats(1e-3, 1e4), level=st.floats(-1e3, 1e3), right=st.integers(-9, 9), up=st.integers(-9, 9))
@settings(max_examples=8, deadline=None)
def test_units_and_place_do_not_matter(gain, level, right, up):
    views = particle_views(SMALL, TILT[::3], (64, 72))
    changed = np.roll(views, (up, right), axis=(1, 2)) * gain + level * gain
    found = com_views(changed, TILT[::3], background=level * gain).shift_px
    np.testing.assert_allclose(found, com_views(views, TILT[::3], background=0.0).shift_px, atol=2e-3)


@pytest.mark.parametrize("shape", [(400, 1100), (401, 1101)])
def test_large_views_are_binned(shape):
    tilt = np.arange(-60, 61, 20.0)
    specimen = scattered(40, 1, (120, 120, 120), (8.0, 20.0))
    moved = np.random.default_rng(0).uniform(-30, 30, (len(tilt), 2))
    found = com_views(particle_views(specimen, tilt, shape, moved_px=moved), tilt)
    along, across = left_over(found.shift_px, moved, tilt)
    assert along < 0.005
    assert across < 0.01


@BOTH
def test_every_view_may_have_its_own_background(method, compact):
    views, moved = compact
    film = 1 / np.cos(np.deg2rad(TILT)) + np.random.default_rng(0).uniform(-0.3, 0.3, N)
    along, across = left_over(method(views + film[:, None, None], TILT).shift_px, moved, TILT)
    assert along < 0.001
    assert across < 0.004


def test_integers_with_an_offset(compact, tmp_path):
    views, moved = compact
    stored = np.lib.format.open_memmap(tmp_path / "views.npy", "w+", np.int16, views.shape)
    stored[:] = views * 2000 - 31900
    for background in (None, -31900.0):
        along, across = left_over(com_views(stored, TILT, background=background).shift_px, moved, TILT)
        assert along < 0.002
        assert across < 0.005


@pytest.mark.parametrize("shape", [(96, 112), (192, 224)])
def test_noise_far_out_does_not_count(shape):
    """The error is near that of a first moment over no more than the specimen, in whatever field."""
    moved = jitter(4.0)
    views = particle_views(SMALL, TILT, shape, moved_px=moved)
    sigma = 0.05 * float(views.max())
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in shape)
    body = particle_views(SMALL, TILT, shape) > 0.02 * views.max()
    lever = np.array([np.mean(np.sum(body * axis**2, axis=(1, 2))) for axis in (columns, rows[:, None])])
    across_bound, along_bound = sigma * np.sqrt(lever) / views.sum(axis=(1, 2)).mean()
    errors = [left_over(com_views(noise(views, sigma, s), TILT).shift_px, moved, TILT) for s in range(3)]
    along, across = np.sqrt(np.mean(np.square(errors), axis=0))
    assert 0.7 * along_bound < along < 2.2 * along_bound
    assert 0.7 * across_bound < across < 2.2 * across_bound


@BOTH
def test_clipped_noise(method, compact):
    views, moved = compact
    noisy = np.clip(noise(views, 0.05 * views.max()), 0, None)
    found = method(noisy, TILT)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.1
    assert across < 0.1
    assert not found.doubtful.any()
    # A slab, one of twelve, is as much less certain.
    assert 1.5 * across < found.residual_px < 6 * across


@BOTH
@pytest.mark.parametrize("content", [0.0, "noise", "another specimen"])
def test_failed_views_are_passed_over(method, content, compact):
    views, moved = compact
    views = views.copy()
    bad = [0, 10]
    if content == "noise":
        views[bad] = np.random.default_rng(0).normal(0, 0.3, SHAPE)
    elif content == "another specimen":
        views[bad] = particle_views(scattered(300, 9, (60, 60, 60), (0.8, 1.2)), [0], SHAPE)[0]
    else:
        views[bad] = content
    found = method(views, TILT)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), bad)
    assert found.quality[bad].max() < 0.3
    good = np.delete(np.arange(N), bad)
    along, across = left_over(found.shift_px[good], moved[good], TILT[good])
    assert along < 0.001
    assert across < 0.004
    np.testing.assert_allclose(found.shift_px[0], found.shift_px[1], atol=1e-9)
    np.testing.assert_allclose(found.shift_px[10], found.shift_px[[9, 11]].mean(axis=0), atol=1e-9)


@BOTH
def test_brightness_of_a_view_does_not_shift_it(method, compact):
    views, moved = compact
    brightness = np.ones(N)
    brightness[[5, 20]] = 0.65, 1.3
    found = method(views * brightness[:, None, None], TILT)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.001
    assert across < 0.004
    np.testing.assert_allclose(found.quality[[5, 20]], [0.65, 0.7], atol=0.01)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [5, 20])


def test_what_enters_the_field_counts_less(compact):
    """A particle at one height that comes in from the side at high tilt only."""
    views, moved = compact
    stray = Particles(np.array([[70.0, 0, 0]]), np.array([3.0]), np.array([2.0]))
    strayed = views + particle_views(stray, TILT, SHAPE, moved_px=moved)
    found = com_views(strayed, TILT)
    _, across = left_over(found.shift_px, moved, TILT)
    centre = strayed.sum(axis=1) @ np.arange(SHAPE[1]) / strayed.sum(axis=(1, 2))
    _, plain = left_over(np.stack([-centre, -moved[:, 1]], axis=1), moved, TILT)
    assert plain > 0.2
    assert across < 0.02
    assert found.quality[0] < 0.97 < found.quality[N // 2]


def test_region_with_one_of_two_specimens():
    moved = jitter(3.0)
    other = Particles(np.add(SMALL.place, (0, 60, 0)), SMALL.sigma, SMALL.height)
    views = sum(particle_views(each, TILT, (176, 80), moved_px=moved) for each in (SMALL, other))
    found = com_views(views, TILT, region=(slice(60, 116), slice(5, 75)))
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.01
    assert across < 0.02


@BOTH
def test_threads_and_progress(method, compact):
    views, _ = compact
    done = []
    two = method(views, TILT, threads=2, progress=done.append)
    assert done == [1] * N
    np.testing.assert_array_equal(two.shift_px, method(views, TILT).shift_px)


@BOTH
@pytest.mark.parametrize("background", [None, 0.0])
@pytest.mark.parametrize("thickness", [0.5, 20.0])
@pytest.mark.parametrize("largest_deg", [30, 60])
def test_foil_is_refused(method, background, thickness, largest_deg):
    foil = Particles(FOIL.place * [1, 1, thickness / 0.5], FOIL.sigma, FOIL.height)
    tilt = np.linspace(-largest_deg, largest_deg, 25)
    with pytest.raises(ConvergenceError, match=r"foil.*use --method pc or match"):
        method(particle_views(foil, tilt, SHAPE), tilt, background=background)


@BOTH
def test_sparse_foil_is_refused(method):
    for seed in range(3):
        foil = scattered(50, seed, (200, 40, 1), (1.0, 3.0))
        with pytest.raises(ConvergenceError):
            method(particle_views(foil, TILT, SHAPE), TILT)


def test_changing_mass_is_refused(compact):
    views, _ = compact
    brightness = np.where(np.arange(N) % 3, 1.0, 0.6)
    with pytest.raises(ConvergenceError, match="the mass differs in 11 of 31 views"):
        com_views(views * brightness[:, None, None], TILT)


def test_wrong_background_is_refused(compact):
    with pytest.raises(ConvergenceError, match="background is wrong"):
        com_views(compact[0] + 2, TILT, background=0.0)


@pytest.mark.parametrize("end", [-1, 1])
def test_specimen_beyond_the_ends_of_the_axis_is_for_the_other_method(end):
    rng = np.random.default_rng(0)
    place = rng.uniform(-5, 5, (60, 3))
    place[:, 1] = end * np.linspace(0, 90, 60)
    views = particle_views(Particles(place, np.full(60, 3.0), rng.uniform(0.5, 1.5, 60)), TILT, SHAPE)
    with pytest.raises(ConvergenceError, match="use --method com-cl"):
        com_views(views, TILT)


@BOTH
def test_nothing_to_see_is_refused(method):
    for views in (np.zeros((N, *SHAPE)), noise(np.ones((N, *SHAPE)), 0.2)):
        with pytest.raises(ConvergenceError, match="nothing stands out"):
            method(views, TILT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reference": 31}, "view 32 asked for, but there are 31"),
        ({"reference": -1}, "view 0 asked for"),
        ({"region": (slice(0, 10), slice(0, 50))}, "50 x 10 pixels"),
        ({"region": (slice(0, 90, 2), slice(0, 50))}, "50 x 45 pixels"),
    ],
)
def test_unfit_requests(compact, options, told):
    with pytest.raises(UsageError, match=told):
        com_views(compact[0], TILT, **options)


def test_unfit_data(compact):
    views = compact[0].copy()
    with pytest.raises(DataError, match="31 views but 30 tilt angles"):
        com_views(views, TILT[:-1])
    with pytest.raises(DataError, match="3 tilt angles; 4 are needed"):
        com_views(views[::10][:3], TILT[::10][:3])
    views[4] = 0
    with pytest.raises(UsageError, match="reference view 5 is blank"):
        com_views(views, TILT, reference=4)
    views[4, 50, 50] = np.nan
    with pytest.raises(DataError, match="view 5 holds"):
        com_views(views, TILT)


def test_four_views_are_enough():
    tilt = np.array([-60.0, -20, 20, 60])
    moved = np.array([[3.0, -2], [0, 4], [-5, 1], [2, 2]])
    found = com_views(particle_views(COMPACT, tilt, SHAPE, moved_px=moved), tilt)
    along, across = left_over(found.shift_px, moved, tilt)
    assert along < 0.001
    assert across < 0.005


def test_robust_weights():
    np.testing.assert_allclose(
        robust_weight(np.array([0.0, -1, 1, 3, -3])), [1, 0.9, 0.9, 0.5, 0.5], atol=1e-5
    )
    np.testing.assert_array_equal(robust_weight(np.zeros(4)), 1)
