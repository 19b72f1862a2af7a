"""The rim's level on views whose background is known."""

import numpy as np
import pytest

from etcli.core.background import empty_rim_background, rim_level
from etcli.core.errors import DataError, UsageError

N_VIEWS, N = 40, 96
Y, X = np.mgrid[:N, :N]


def noise(sigma=1.0, seed=0):
    return sigma * np.random.default_rng(seed).normal(size=(N_VIEWS, N, N))


def particle(x=N / 2, radius=20, height=50.0):
    return height * (np.hypot(X - x, Y - N / 2) < radius)


@pytest.mark.parametrize("level", [0, -31900, 2500])
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_level_of_an_empty_rim(level, dtype):
    series = (particle() + noise(4) + level).round().astype(dtype)
    found = empty_rim_background(series)
    assert found.level == pytest.approx(level, abs=0.15)
    assert found.reason == "the rim is empty in 40 of 40 views"
    np.testing.assert_allclose(rim_level(series), level, atol=5 * 4 * 1.25 / np.sqrt(2 * 2 * N))


@pytest.mark.parametrize("background", [0.3, 1.0])
def test_level_of_few_counts_is_their_mean(background):
    expected = particle(height=0.5, radius=30) + background
    counts = np.random.default_rng(1).poisson(expected, (N_VIEWS, N, N))
    assert empty_rim_background(counts).level == pytest.approx(background, abs=0.03)


def test_level_without_noise_is_exact():
    assert empty_rim_background(np.stack([particle() + 7] * 3)).level == 7


def test_hot_pixels_in_the_rim_change_nothing():
    series = particle() + noise()
    series[:, 50, 0] += 3000
    assert empty_rim_background(series).level == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("n_touching", "empty"), [(4, True), (5, False)])
def test_nine_views_of_ten_must_be_empty(n_touching, empty):
    series = particle() + noise(0.5)
    series[:n_touching] += particle(x=N)
    found = empty_rim_background(series)
    if empty:
        assert found.level == pytest.approx(0, abs=0.03)
        assert found.reason == "the rim is empty in 36 of 40 views"
    else:
        assert found.level is None
        assert found.reason == "the rim is not empty: uneven in 5 of 40 views"


def test_each_side_counts():
    for x in (0, N - 1):
        series = np.stack([particle() + particle(x=x, radius=15)] * 4) + noise()[:4]
        assert empty_rim_background(series).level is None


def test_a_needle_along_the_axis_leaves_the_rim_empty_and_one_across_does_not():
    needle = 50.0 * (np.abs(X - N / 2) < 12) + noise() + 100
    assert empty_rim_background(needle).level == pytest.approx(100, abs=0.05)
    assert empty_rim_background(needle.swapaxes(1, 2)).level is None


def test_bright_field_has_no_background():
    found = empty_rim_background(100 - particle() + noise())
    assert found.level is None
    assert "not the darkest part in 40 of 40 views" in found.reason


def test_noise_and_contrast_of_phase_have_no_background():
    for specimen in (0, 0.2 * np.cos(X) * (particle() > 0)):
        found = empty_rim_background(1 + specimen + noise())
        assert found.level is None
        assert "no dark field" in found.reason


def test_a_film_that_thickens_with_tilt_is_not_a_background():
    film = 30 / np.cos(np.deg2rad(np.linspace(-60, 60, N_VIEWS)))
    found = empty_rim_background(particle() + film[:, None, None] + noise(0.3))
    assert found.level is None
    assert "at another level" in found.reason


def test_a_gradient_across_the_rim_is_not_noise():
    found = empty_rim_background(particle() + noise() + 10 * Y / N)
    assert found.level is None
    assert "uneven in 40 of 40" in found.reason


def test_interpolated_noise_is_still_noise():
    fine = noise(8, seed=3)
    smooth = (
        particle() + (fine + np.roll(fine, 1, 1) + np.roll(fine, 1, 2) + np.roll(fine, (1, 1), (1, 2))) / 4
    )
    assert empty_rim_background(smooth).level == pytest.approx(0, abs=0.2)


def test_of_large_views_some_rows_are_read():
    series = np.full((2, 2000, 40), np.nan)
    series[:, ::8] = 5
    series[:, ::8, 15:25] = 60
    assert empty_rim_background(series).level == 5


def test_margin_is_in_pixels():
    series = np.stack([particle(x=70, radius=20)] * 3)
    assert empty_rim_background(series, margin_px=4).level == 0
    assert empty_rim_background(series, margin_px=12).level is None
    np.testing.assert_array_equal(rim_level(np.stack([X * 1.0]), margin_px=1), [(N - 1) / 2])


def test_strips_need_not_divide_the_view():
    np.testing.assert_allclose(rim_level(np.full((2, 20, 41), 5)), 5)


def test_misuse_is_refused():
    series = particle() + noise()
    with pytest.raises(UsageError, match="at most 24"):
        rim_level(series, margin_px=25)
    with pytest.raises(UsageError, match="16 rows"):
        empty_rim_background(series[:, :15], margin_px=2)
    with pytest.raises(DataError, match="real numbers"):
        empty_rim_background(series[0])
    series[3, 0, 5] = np.nan
    with pytest.raises(DataError, match="view 4"):
        empty_rim_background(series)


@pytest.mark.parametrize("size", [(1, 96), (15, 96), (96, 7)])
def test_small_views_have_no_rim(size):
    ny, nx = size
    found = empty_rim_background((particle() + noise())[:, :ny, :nx])
    assert found.level is None
    assert found.reason == "the views are too small for a rim"
    assert empty_rim_background((particle() + noise())[:, :16, 40:48]).reason != found.reason


@pytest.mark.parametrize(("level", "expected"), [(4e-5, 0), (-4e-5, 0), (6e-5, 6e-5)])
def test_a_level_within_rounding_is_none(level, expected):
    """The contrast is 50."""
    assert empty_rim_background(np.stack([particle() + level] * 3)).level == pytest.approx(expected, abs=1e-9)
