"""Interpolation of views, compared with the splines of SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.registration.interpolation import interpolate


def turned(angle_deg: float, scale: float = 1.0) -> np.ndarray:
    angle_rad = np.deg2rad(angle_deg)
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, sin], [-sin, cos]]) * scale


@pytest.mark.parametrize("size", [(6, 9), (2, 3), (17, 40), (40, 17)])
@pytest.mark.parametrize("inverse", [np.eye(2), turned(3.0), turned(-130.0, 0.7)])
@pytest.mark.parametrize("offset", [(0.3, -0.4), (2.5, -3.25), (-3.0, 0.75), (-7.0, 2.0)])
@pytest.mark.parametrize(("cubic", "order"), [(True, 3), (False, 1)])
def test_values_are_those_of_scipy(size, inverse, offset, cubic, order) -> None:
    view = np.random.default_rng(0).normal(100.0, 10.0, size).astype(np.float32)
    shape, offset = (21, 33), np.array(offset)
    found = interpolate(view, inverse, offset, shape, cubic=cubic, fill=np.nan)
    expected = ndimage.affine_transform(
        view.astype(np.float64), inverse, offset, output_shape=shape, order=order, mode="mirror"
    )
    at = np.moveaxis(np.indices(shape), 0, -1) @ inverse.T + offset
    inside = np.all((at >= -0.5) & (at <= np.array(size) - 0.5), axis=-1)
    np.testing.assert_array_equal(np.isfinite(found), inside)
    np.testing.assert_allclose(found[inside], expected[inside], rtol=2e-6)


def test_strided_views_and_other_layouts_give_the_same() -> None:
    view = np.random.default_rng(1).normal(size=(20, 30)).astype(np.float32)
    for inverse in (np.eye(2), turned(10.0)):
        plain = interpolate(view, inverse, np.array([0.3, 0.6]), (20, 30), cubic=True, fill=0.0)
        column_major = interpolate(
            np.asfortranarray(view), inverse, np.array([0.3, 0.6]), (20, 30), cubic=True, fill=0.0
        )
        np.testing.assert_array_equal(column_major, plain)


def test_a_line_of_one_pixel_is_constant() -> None:
    line = np.array([[1.0, 2.0, 4.0, 8.0]], np.float32)
    found = interpolate(line, np.eye(2), np.array([0.25, 0.0]), (1, 4), cubic=True, fill=0.0)
    np.testing.assert_allclose(found, line, rtol=1e-6)
