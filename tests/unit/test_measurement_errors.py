"""Standard deviations of measures, weights of cut bodies, what the wedge does, densities from views."""

import numpy as np
import pytest

import etcli
from etcli.core.geometry import SliceGeometry
from etcli.core.measurement.densities import least_squares_densities
from etcli.core.measurement.label_sums import label_sums
from etcli.core.measurement.uncertainty import (
    diameters,
    inclusion_weights,
    mean_diameter,
    sigma_of_diameters,
    sigma_of_halves,
    sigma_of_volumes,
    surface_shift_px,
    total_volume,
)
from etcli.core.measurement.wedge import crowding, expected_elongation


def test_shifted_surfaces_are_covered() -> None:
    """Balls whose surfaces are displaced by 0.08 voxels rms: σ is neither too small nor too large."""
    rng = np.random.default_rng(0)
    radius = rng.uniform(3, 10, 1000)
    shifted = radius + rng.normal(0, surface_shift_px(None), radius.size)
    volume, true = 4 / 3 * np.pi * shifted**3, 4 / 3 * np.pi * radius**3
    sigma = sigma_of_volumes(np.zeros(1000), 4 * np.pi * shifted**2, surface_shift_px(None))
    for error, bar in (
        (volume - true, sigma),
        (diameters(volume) - 2 * radius, sigma_of_diameters(volume, sigma)),
    ):
        within = [np.mean(np.abs(error) <= k * bar) for k in (1, 2)]
        np.testing.assert_allclose(within, [0.683, 0.954], atol=0.03)


def test_the_shift_is_common_to_all_in_sums() -> None:
    volume, surface = np.array([100.0, 300.0]), np.array([50.0, 200.0])
    noise = np.array([3.0, 4.0])
    assert total_volume(volume, noise, surface.sum(), 0.1) == (400, pytest.approx(np.hypot(5, 25)))
    each = diameters(volume)
    slope = each / (3 * volume)
    mean = mean_diameter(volume, noise, surface, 0.1, np.array([1.0, 3.0]))
    share = np.array([0.25, 0.75])
    assert mean.value == pytest.approx((share * each).sum())
    common = 0.1 * (share * slope * surface).sum()
    assert mean.sigma == pytest.approx(np.hypot(common, np.linalg.norm(share * slope * noise)))


def test_sigma_from_halves_and_residual() -> None:
    np.testing.assert_allclose(sigma_of_halves(np.array([[10.0, 8.0], [12.0, 5.0]]), 2), [1, 1.5])
    assert sigma_of_halves(np.zeros((0, 2)), 2).tolist() == [0, 0]
    assert surface_shift_px(0.4) == pytest.approx(0.14)


def test_weights_make_up_for_bodies_at_the_border() -> None:
    """Boxes of two sizes thrown into a field, as many of each; large ones are cut more often."""
    rng, field = np.random.default_rng(2), np.array([40, 60, 60])
    size = rng.choice([6, 20], 40_000)
    low = np.floor(
        rng.uniform(-20, 1, (size.size, 3)) * [1, 1, 1] + rng.uniform(0, 1, (size.size, 3)) * (field + 20)
    )
    inside = ((low >= 0) & (low + size[:, np.newaxis] <= field)).all(1)
    kept, begin = size[inside], low[inside].astype(int)
    weight = inclusion_weights(begin, begin + kept[:, np.newaxis], tuple(field))
    plain, weighted = kept.mean(), (weight * kept).sum() / weight.sum()
    assert plain < 10.5
    assert weighted == pytest.approx(13, abs=0.5)


def test_elongation_of_points() -> None:
    assert expected_elongation(70) == pytest.approx(1.309, abs=5e-4)
    assert expected_elongation(60) == pytest.approx(1.55, abs=5e-3)
    assert expected_elongation(90) == pytest.approx(1)


def test_axes_that_crowd() -> None:
    rng = np.random.default_rng(1)
    random = rng.normal(size=(400, 3))
    random /= np.linalg.norm(random, axis=1)[:, np.newaxis]
    random[:, 0] = np.abs(random[:, 0])
    assert abs(crowding(random)) < 3
    along_z = random * [3, 1, 1]
    along_z /= np.linalg.norm(along_z, axis=1)[:, np.newaxis]
    assert crowding(along_z) > 5
    assert crowding(np.vstack([along_z[:4], np.full((9, 3), np.nan)])) is None


def test_densities_explain_the_views() -> None:
    """Labels of three densities, one in front of the other, projected by another function of the package."""
    labels = np.zeros((20, 70, 24), np.int32)
    labels[4:9, 3:40, 5:11], labels[10:16, 20:66, 8:14], labels[6:12, 30:50, 15:20] = 1, 2, 3
    density = np.array([0.5, 1.0, 2.5])
    values = np.concatenate([[0], density])[labels].astype(np.float32)
    tilts = np.arange(-60, 61, 10.0)
    views = etcli.project(etcli.Volume(values), tilts)
    geometry = SliceGeometry(tilts, n_detector=24, thickness=20, width=24)
    sums = label_sums(labels)
    found = least_squares_densities(sums.numbers, 3, lambda y0, y1: views.rows(np.arange(y0, y1)), geometry)
    np.testing.assert_allclose(found, density, rtol=1e-3)
