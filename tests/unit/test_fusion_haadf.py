"""What HAADF shows of the elements: its signal, noise and levels, and views at common tilts."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.haadf_fit import common_views, fit_haadf, haadf_noise, haadf_weights, view_levels
from etcli.core.fusion.parts import thinned
from etcli.core.fusion.slab_views import SlabViews
from etcli.core.geometry import SliceGeometry

TILTS, HAADF_TILTS = np.linspace(-60, 60, 13), np.linspace(-70, 70, 29)
SCALES, WEIGHTS = np.array([0.5, 0.4]), np.array([50.0, 280.0])


def specimen(n=24, rows=20):
    """Return a box of one element around one of another (channel, z, y, x)."""
    x = np.zeros((2, n, rows, n), np.float32)
    x[0, 6:18, 4:16, 5:17] = 1
    x[1, 9:15, 7:13, 10:16] = 1
    x[0] -= x[1]
    return x


def measured(x, *, offset=0.0, seed=1, gains=1.0, tilts=TILTS, dose=1.0):
    """Return maps with Poisson noise, and HAADF views with normal noise of 5."""
    rng = np.random.default_rng(seed)
    _, nz, ny, nx = x.shape
    own, of_haadf = (SliceGeometry(each, nx, nz, nx) for each in (tilts, HAADF_TILTS))
    views = SlabViews(own, ny, 32)
    gains = np.broadcast_to(np.asarray(gains, float), (len(tilts),))[:, None, None]
    counts = [
        rng.poisson(dose * k * gains * views.project(each)).astype(np.float32)
        for k, each in zip(SCALES, x, strict=True)
    ]
    signal = np.tensordot(WEIGHTS.astype(np.float32), x, 1)
    haadf = SlabViews(of_haadf, ny, 32).project(signal) + offset
    haadf += rng.normal(0, 5, haadf.shape).astype(np.float32)
    return ElementMaps(("Ni", "Pt"), tuple(counts), own, haadf, of_haadf)


def test_noisy_regressors_do_not_make_weights_small():
    rng = np.random.default_rng(0)
    true = rng.gamma(1.0, 3.0, (2, 20, 30, 30))
    signal = np.tensordot(WEIGHTS, true, 1)
    noisy = rng.poisson(0.5 * true) / 0.5
    shrunk = 0.8 * true + rng.normal(0, 1, true.shape)
    assert haadf_weights(shrunk, noisy, signal + 100 * np.arange(20)[:, None, None]) == pytest.approx(
        WEIGHTS, rel=0.05
    )
    attenuated = np.linalg.lstsq(noisy.reshape(2, -1).T, signal.ravel(), rcond=None)[0]
    assert (attenuated < 0.8 * WEIGHTS)[1]  # what the instruments are for


def test_weights_are_not_negative():
    true = np.random.default_rng(0).gamma(1.0, 3.0, (2, 9, 12, 12))
    assert haadf_weights(true, true, true[0] - true[1])[1] == 0


@pytest.mark.parametrize("offset", [0.0, 150.0])
def test_fit_finds_weights_levels_gains_and_noise(offset):
    x = specimen()
    gains = np.linspace(0.5, 1.5, len(TILTS))
    maps = measured(x, offset=offset, gains=gains, dose=20)
    problem = maps.problem().with_gains(gains)
    fit = fit_haadf(maps, problem, thinned(maps.counts), 20 * SCALES, 0.9 * x)
    assert fit.weights == pytest.approx(WEIGHTS, rel=0.04)
    assert fit.levels == pytest.approx(offset, abs=3)
    assert fit.gains == pytest.approx(gains, rel=0.03)
    assert fit.noise == pytest.approx(5, rel=0.3)  # edges of boxes are not smooth
    assert fit.shares.sum() == pytest.approx(1)
    assert fit.n_common == 13


def test_minor_elements_have_no_weight():
    x = specimen()
    x[1] *= 0.05
    maps = measured(x)
    assert maps.minor == (False, True)
    fit = fit_haadf(maps, maps.problem(), thinned(maps.counts), SCALES, x)
    assert fit.weights[1] == 0
    assert fit.weights[0] == pytest.approx(50, rel=0.05)


def test_maps_at_other_tilts_are_refused():
    maps = measured(specimen(), tilts=TILTS + 1.2)
    with pytest.raises(DataError, match=r"no tilt in common; check the angles"):
        fit_haadf(maps, maps.problem(), thinned(maps.counts), SCALES, specimen())


def test_haadf_of_something_else_is_refused():
    maps = measured(specimen())
    dark = ElementMaps(maps.names, maps.counts, maps.geometry, -maps.haadf_views, maps.haadf_geometry)
    with pytest.raises(DataError, match="does not show what the maps show"):
        fit_haadf(dark, dark.problem(), thinned(dark.counts), SCALES, specimen())


def test_common_views_in_any_order():
    own, of_haadf = common_views(np.array([30.0, -30.1, 7.0]), np.array([-30.0, 0.0, 30.0]))
    assert own.tolist() == [0, 1]
    assert of_haadf.tolist() == [2, 0]


def test_noise_of_smooth_structure():
    x = np.linspace(0, 3, 80)
    smooth = np.broadcast_to(100 * np.outer(np.sin(x), np.sin(x)), (5, 80, 80))
    noisy = smooth + np.random.default_rng(0).normal(0, 4, smooth.shape)
    assert haadf_noise(noisy.astype(np.float32)) == pytest.approx(4, rel=0.05)
    assert haadf_noise(smooth.astype(np.float32)) > 0  # a tie divides by it


def test_level_of_a_film_with_and_without_a_map():
    film = np.full((3, 20, 24), 40.0, np.float32)
    film[1:2] *= 2
    views = film + 10
    common = np.arange(3)
    assert view_levels(views, common, np.zeros_like(views)) == pytest.approx([50, 90, 50])
    assert view_levels(views, common, film) == pytest.approx([10, 10, 10])
