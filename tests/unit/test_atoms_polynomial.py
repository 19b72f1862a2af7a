"""Maxima of polynomials, against closed forms and Gaussians."""

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.atoms import _polynomial, polynomial
from etcli.core.atoms.polynomial import polynomial_positions
from tests.gaussians import bound_px, gaussian_volume, jittered, noisy


def test_derivatives_of_polynomials_are_exact():
    offsets, sums = polynomial._least_squares()
    assert sums.shape == (9, 123)
    rng = np.random.default_rng(1)
    slope, curvature = rng.normal(size=3), rng.normal(size=(3, 3))
    curvature += curvature.T
    value = 5 + offsets @ slope + 0.5 * np.einsum("ni,ij,nj->n", offsets, curvature, offsets)
    value += 0.3 * offsets[:, 0] ** 3 - 0.1 * offsets[:, 1] ** 2 * offsets[:, 2] ** 2
    expected = [*slope, *np.diag(curvature), curvature[0, 1], curvature[0, 2], curvature[1, 2]]
    np.testing.assert_allclose(sums @ value, expected, atol=1e-9)


def test_values_between_voxels_are_those_of_scipy():
    line = np.random.default_rng(3).normal(size=12)
    coefficients = ndimage.spline_filter(line, 3, mode="mirror")
    at = np.array([-0.7, 0.0, 0.4, 5.25, 10.9, 11.0, 11.3])
    expected = ndimage.map_coordinates(line, at[None], order=3, mode="mirror")
    for place, value in zip(at, expected, strict=True):
        index, weight = np.empty(4, int), np.empty(4)
        _polynomial._spline.py_func(place, 12, index, weight)
        assert coefficients[index] @ weight == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("sigma", "error_px"), [(1.0, 0.035), (1.25, 0.02), (1.6, 0.01)])
def test_centres_of_gaussians_are_found(sigma, error_px):
    """As well as splines do it."""
    true = jittered(4, step=9)
    volume = gaussian_volume(true, (45, 45, 45), sigma_px=sigma).astype(np.float32)
    start = true + np.random.default_rng(2).uniform(-0.5, 0.5, true.shape)
    found, converged = polynomial_positions(volume, start)
    assert converged.all()
    assert abs(found - true).max() < error_px


def test_noise_costs_little_once_it_is_smoothed():
    true = jittered(6, step=9)
    volume = noisy(gaussian_volume(true, (63, 63, 63)), 0.1)
    smooth = ndimage.gaussian_filter(volume, 0.8)
    found, converged = polynomial_positions(smooth, true)
    assert converged.mean() > 0.99
    assert (found - true)[converged].std() < 1.5 * bound_px(0.1, 1.25)


def test_places_without_a_maximum_do_not_converge():
    volume = -gaussian_volume([[9, 9, 9]], (19, 19, 19)).astype(np.float32)
    start = np.array([[9.2, 9, 9], [9, 9.1, 9]])
    found, converged = polynomial_positions(volume, start)
    assert not converged.any()
    np.testing.assert_array_equal(found, start)
    assert polynomial_positions(volume, np.empty((0, 3)))[0].shape == (0, 3)


def test_neither_threads_nor_the_border_matter():
    true = np.concatenate([jittered(7, step=6), [[0.2, 20, 20], [47.6, 20, 20]]])
    volume = gaussian_volume(true, (49, 49, 49)).astype(np.float32)
    one, converged = polynomial_positions(volume, true)
    several, _ = polynomial_positions(volume, true, threads=3)
    np.testing.assert_array_equal(several, one)
    assert converged.all() and np.isfinite(one).all()
    assert polynomial_positions(np.ones((1, 2, 3), np.float32), np.zeros((1, 3)))[1].shape == (1,)
