"""The proximal map of total variation against scikit-image, closed forms and the definition."""

import numpy as np
import pytest
from skimage.restoration import denoise_tv_chambolle

from etcli.core.solvers.total_variation import TotalVariation

RNG = np.random.default_rng(0)


def noisy_ball(shape):
    grids = np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij")
    ball = sum(grid**2 for grid in grids) < (min(n for n in shape if n > 1) / 3) ** 2
    return (ball + RNG.normal(0, 0.3, shape)).astype(np.float32)


def minimised(volume, weight, *, iterations=500, **how):
    result = volume.copy()
    TotalVariation(volume.shape, **how).minimise(result, weight, iterations=iterations)
    return result


def energy(u, data, weight):
    """Return ½ ‖u - data‖² + weight Σ |∇u|, from the definition."""
    square = np.zeros(u.shape)
    for axis, n in enumerate(u.shape):
        if n > 1:
            step = np.diff(u.astype(float), axis=axis)
            square += np.pad(step, [(0, int(k == axis)) for k in range(3)]) ** 2
    return 0.5 * np.sum((u.astype(float) - data) ** 2) + weight * np.sum(np.sqrt(square))


@pytest.mark.parametrize("shape", [(14, 16, 15), (24, 30, 1), (1, 20, 22)])
def test_minimum_is_that_of_scikit_image(shape):
    data = noisy_ball(shape)
    peer = denoise_tv_chambolle(np.squeeze(data).astype(float), 0.3, eps=1e-9, max_num_iter=3000)
    got = minimised(data, 0.3)
    assert np.sqrt(np.mean((np.squeeze(got) - peer) ** 2)) < 0.003
    assert energy(got, data, 0.3) < energy(peer.reshape(shape), data, 0.3) * 1.0005


def test_a_bar_is_lowered_by_the_closed_form():
    """A bar w wide loses 2 weight / w; what lies beside it, v wide on one side, gains weight / v."""
    bar = np.zeros((3, 40, 4), np.float32)
    bar[:, 10:30] = 5
    expected = np.full_like(bar, 2 / 10)
    expected[:, 10:30] = 5 - 2 * 2 / 20
    np.testing.assert_allclose(minimised(bar, 2.0), expected, atol=0.01)


def test_no_volume_within_the_bounds_is_better():
    data = noisy_ball((10, 11, 12)) - 0.3
    got = minimised(data, 0.2, lower=0.0, upper=0.6)
    assert (got.min(), got.max()) == (0, np.float32(0.6))
    for _ in range(30):
        other = np.clip(got + RNG.normal(0, 0.02, data.shape), 0, 0.6)
        assert energy(other, data, 0.2) > energy(got, data, 0.2)
    clipped_afterwards = np.clip(minimised(data, 0.2), 0, 0.6)
    assert energy(got, data, 0.2) < energy(clipped_afterwards, data, 0.2) * (1 - 1e-4)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(threads):
    data = noisy_ball((13, 9, 20))
    np.testing.assert_array_equal(
        minimised(data, 0.3, iterations=7, threads=threads), minimised(data, 0.3, iterations=7)
    )


def test_the_search_goes_on_where_it_ended():
    data = noisy_ball((12, 12, 12))
    exact = minimised(data, 0.5)
    prior = TotalVariation(data.shape)
    errors = []
    for _ in range(20):
        result = data.copy()
        prior.minimise(result, 0.5, iterations=10)
        errors.append(np.abs(result - exact).max())
    assert errors[-1] < 0.1 * errors[0]
