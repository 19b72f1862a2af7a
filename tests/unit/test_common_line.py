"""Shifts along the axis from the common line, against series whose motion is known."""

import numpy as np
import pytest

from etcli.core.errors import ConvergenceError
from etcli.core.registration.centre_of_mass import com_views
from etcli.core.registration.common_line import common_line_views
from tests.series import Particles, left_over, particle_views, scattered

TILT = np.arange(-60, 61, 4.0)
N = len(TILT)
SHAPE = (128, 112)
COMPACT = scattered(60, 3, (24, 26, 24))


METHODS = common_line_views, com_views


def jitter(amplitude=(6.0, 6.0), seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (N, 2)) * amplitude


def noise(views, sigma, seed=0):
    return views + np.random.default_rng(seed).normal(0, sigma, views.shape).astype(np.float32)


def needle(first, last, width=(6.0, 2.0), n=90):
    """Particles above one another, from one height to another."""
    rng = np.random.default_rng(0)
    place = rng.uniform(-3, 3, (n, 3))
    place[:, 1] = np.linspace(first, last, n)
    return Particles(place, np.linspace(*width, n), rng.uniform(0.5, 1.5, n))


TIP = needle(-110, 30)
SHAFT = needle(-160, 160, (3.0, 3.0), 120)


@pytest.mark.parametrize("specimen", [TIP, SHAFT])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("reach", [20.0, 40.0])
def test_needle_that_goes_on_beyond_the_views(specimen, sign, reach):
    specimen = Particles(specimen.place * [1, sign, 1], specimen.sigma, specimen.height)
    moved = jitter((8.0, reach))
    found = common_line_views(particle_views(specimen, TILT, SHAPE, moved_px=moved), TILT)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.005
    assert across < 0.005
    assert not found.doubtful.any()
    assert found.quality.min() > 0.99


def test_needle_in_noise():
    moved = jitter((8.0, 20.0))
    views = particle_views(TIP, TILT, SHAPE, moved_px=moved)
    found = common_line_views(np.clip(noise(views, 0.05 * views.max()), 0, None), TILT)
    along, across = left_over(found.shift_px, moved, TILT)
    assert along < 0.25
    assert across < 0.06
    assert not found.doubtful.any()


def test_one_view_far_astray():
    moved = np.zeros((N, 2))
    moved[[7, 20], 1] = 35, -35
    found = common_line_views(particle_views(TIP, TILT, SHAPE, moved_px=moved), TILT)
    np.testing.assert_allclose(found.shift_px, -moved, atol=0.005)
    np.testing.assert_array_equal(np.flatnonzero(found.doubtful), [7, 20])


def test_fine_details_of_tall_views_in_noise():
    moved = jitter((4.0, 12.0))
    views = particle_views(scattered(20, 5, (10, 12, 10), (1.0, 2.5)), TILT, (400, 64), moved_px=moved)
    found = common_line_views(noise(views, 0.05 * views.max()), TILT)
    assert left_over(found.shift_px, moved, TILT)[0] < 0.06


def test_layers_are_not_mistaken_for_one_another():
    """Bands of one period and nearly one brightness, displaced by up to two periods."""
    place = np.zeros((15, 3))
    place[:, 1] = 7.0 * np.arange(-7, 8)
    bands = Particles(place, np.full(15, 2.0), 1 + 0.02 * np.arange(15))
    moved = jitter((4.0, 14.0), seed=1)
    found = common_line_views(particle_views(bands, TILT, (192, 96), moved_px=moved), TILT)
    assert left_over(found.shift_px, moved, TILT)[0] < 0.001


def test_less_noise_than_in_the_centre_of_mass():
    """The centre is the best estimate for a parabola only; a line with details tells more."""
    moved = jitter()
    views = particle_views(COMPACT, TILT, SHAPE, moved_px=moved)
    squares = []
    for seed in range(3):
        noisy = noise(views, 0.1 * views.max(), seed)
        squares.append([left_over(m(noisy, TILT).shift_px, moved, TILT)[0] ** 2 for m in METHODS])
    line, centre = np.sqrt(np.mean(squares, axis=0))
    assert line < 0.85 * centre
    sigma = 0.1 * views.max() * np.sqrt(np.count_nonzero(views[N // 2] > 0.02 * views.max(), axis=1).max())
    bound = sigma / np.sqrt(np.mean(np.sum(np.gradient(views.sum(axis=2), axis=1) ** 2, axis=1)))
    assert 0.6 * bound < line < 1.6 * bound


def test_what_strays_into_some_rows_hardly_shifts_a_view():
    moved = jitter()
    stray = Particles(np.array([[70.0, 25, 0]]), np.array([3.0]), np.array([2.0]))
    views = sum(particle_views(each, TILT, SHAPE, moved_px=moved) for each in (COMPACT, stray))
    line, centre = (left_over(method(views, TILT).shift_px, moved, TILT)[0] for method in METHODS)
    assert line < 0.05
    assert centre > 4 * line


def test_specimen_across_the_views_is_refused():
    across = Particles(SHAFT.place[:, [1, 0, 2]], SHAFT.sigma, SHAFT.height)
    with pytest.raises(ConvergenceError, match="sides"):
        common_line_views(particle_views(across, TILT, SHAPE), TILT)
