"""Scale of phase-contrast images: levels of the vacuum, flat fields, hot pixels, expected noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.errors import DataError, UsageError
from etcli.core.multislice.normalisation import (
    divided_by_flat_field,
    expected_squared_residual,
    noise_beyond_aperture,
    vacuum_levels,
    views_apart,
    without_hot_pixels,
)
from tests.phase_series import PIXEL_A, counted, images

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("how", ["mean", "mode"])
@settings(max_examples=10, deadline=None)
@given(level=st.floats(0.1, 1e4))
def test_the_level_of_the_vacuum_is_found(how: str, level: float) -> None:
    found = vacuum_levels(np.float32(level) * images([0.0, 40.0]), how)
    np.testing.assert_allclose(found / level, 1, atol=0.01)


def test_the_mode_is_that_of_the_vacuum_where_the_rim_is_dark() -> None:
    image = np.full((1, 64, 64), 5, np.float32) + RNG.normal(0, 0.05, (1, 64, 64)).astype(np.float32)
    image[:, :, :10] = 1  # a grid bar
    assert vacuum_levels(image, "mode")[0] == pytest.approx(5, abs=0.05)
    assert vacuum_levels(image, "mean")[0] < 4
    with pytest.raises(UsageError, match="no level of the vacuum named 'rim'; use mean, mode"):
        vacuum_levels(image, "rim")
    image[0] = -1
    with pytest.raises(DataError, match="the vacuum of view 1 has the intensity -1, which is not above 0"):
        vacuum_levels(image, "mean")


def test_views_of_another_brightness_are_found() -> None:
    means = 1 + RNG.normal(0, 0.003, 60)
    assert views_apart(means, 0.05).size == 0
    means[[7, 30]] *= [0.94, 1.06]
    assert views_apart(means, 0.05).tolist() == [7, 30]
    assert views_apart(1 + RNG.normal(0, 0.05, 60), 0.05).size == 0  # noise
    assert 3 in views_apart(np.array([1.0, 1.0, 1.0, np.inf]), 0.05)


def test_a_flat_field_is_divided_out() -> None:
    clean = images([0.0, 40.0])
    gain = RNG.uniform(0.5, 2, clean.shape[1:]).astype(np.float32)
    raw = clean * gain
    np.testing.assert_allclose(divided_by_flat_field(raw, 100 * gain) / gain.mean(), clean, rtol=1e-5)
    with pytest.raises(DataError, match="the flat field has 31 x 32 pixels, but the images have 32 x 32"):
        divided_by_flat_field(raw, gain[:, 1:])
    gain[2, 3] = 0
    with pytest.raises(DataError, match="the flat field holds the value 0; its values must be above 0"):
        divided_by_flat_field(raw, gain)


def test_only_hot_pixels_are_replaced() -> None:
    clean = counted(images([0.0, 40.0]), 400.0)
    raw = clean.copy()
    raw[0, 5, 7] = raw[1, 20, 9] = 30
    assert without_hot_pixels(raw) == 2
    raw[0, 5, 7], raw[1, 20, 9] = clean[0, 5, 7], clean[1, 20, 9]
    np.testing.assert_array_equal(raw, clean)


@pytest.mark.parametrize("electrons", [0.3, 2.0, 9.722, 69.44, 999.0, 1001.0, 1e6])
def test_the_residual_of_counted_electrons(electrons: float) -> None:
    found = expected_squared_residual(electrons)
    rough = 1 / (4 * electrons) if electrons > 20 else found
    assert found == pytest.approx(rough, rel=0.01)
    counts = np.random.default_rng(1).poisson(electrons, 1_000_000)
    assert np.mean((np.sqrt(counts / electrons) - 1) ** 2) == pytest.approx(found, rel=0.006)


def test_the_residuals_join_where_the_formula_changes() -> None:
    below, above = (n * expected_squared_residual(n) for n in (999.999, 1000.001))
    assert below == pytest.approx(above, rel=1e-6)
    # published with the data of a simulation: 69.44 and 9.722 electrons in a pixel
    assert expected_squared_residual(69.44) == pytest.approx(3.62e-3, rel=2e-3)
    assert expected_squared_residual(9.722) == pytest.approx(2.71e-2, rel=2e-3)


def test_noise_is_measured_where_the_aperture_lets_nothing_pass() -> None:
    clean = images()
    highest = 1 / (2 * PIXEL_A)
    assert noise_beyond_aperture(clean, highest, PIXEL_A) < 1e-3 * np.var(clean)
    for dose in (40.0, 1000.0):
        found = noise_beyond_aperture(counted(clean, dose), highest, PIXEL_A)
        assert found == pytest.approx(expected_squared_residual(dose * PIXEL_A**2), rel=0.05)
    assert noise_beyond_aperture(clean, 2.0, PIXEL_A) is None
