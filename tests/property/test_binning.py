"""What must hold for binning whatever the size and the factor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.binning import bin_image, bin_volume, bin_weights, binned_size

sizes = st.integers(6, 33)
factors = st.one_of(st.integers(1, 5).map(float), st.floats(1, 5.5))
quick = settings(max_examples=40, deadline=None)


def centred(n):
    return np.arange(n) - (n - 1) / 2


def noise(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@quick
@given(sizes, sizes, sizes, st.integers(1, 5))
def test_a_ramp_about_the_centre_stays_that_ramp(nz, ny, nx, factor):
    def ramp(nz, ny, nx):
        return 3 + centred(nz)[:, None, None] - 2 * centred(ny)[:, None] + 0.5 * centred(nx)

    expected = 3 + factor * (ramp(*(binned_size(n, factor) for n in (nz, ny, nx))) - 3)
    np.testing.assert_allclose(bin_volume(ramp(nz, ny, nx), factor), expected, rtol=1e-5, atol=2e-5)


@quick
@given(sizes, factors)
def test_weights_lie_about_the_centres_of_their_boxes(n, factor):
    weights = bin_weights(n, factor)
    off = weights @ centred(n) - factor * centred(weights.shape[0])
    assert np.abs(off).max() <= 1 / (8 * factor) + 1e-9
    np.testing.assert_allclose(off + off[::-1], 0, atol=1e-9)


@quick
@given(sizes, factors)
def test_weights_share_out_each_covered_pixel_once(n, factor):
    weights = bin_weights(n, factor).toarray()
    m = len(weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    distance = np.abs(centred(n))
    covered = np.clip(m * factor / 2 - distance + 0.5, 0, 1)
    np.testing.assert_allclose(weights.sum(axis=0) * factor, covered, atol=1e-7)


@quick
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 5))
def test_mean_is_kept_where_the_factor_divides(my, mx, factor):
    image = noise(my * factor, mx * factor) + 7
    for method, scale in (("mean", 1), ("fourier", 1), ("sum", factor**2)):
        binned = bin_image(image, factor, method=method)
        assert binned.shape == (my, mx)
        np.testing.assert_allclose(binned.mean(dtype=float), scale * image.mean(dtype=float), rtol=1e-6)


@quick
@given(sizes, sizes, factors, st.sampled_from(["mean", "sum", "fourier"]))
def test_flips_and_transposition_commute(ny, nx, factor, method):
    image = noise(ny, nx)
    binned = bin_image(image, factor, method=method)
    for change in (np.flipud, np.fliplr, np.transpose):
        np.testing.assert_allclose(bin_image(change(image), factor, method=method), change(binned), atol=3e-5)


@quick
@given(sizes, sizes, st.floats(1, 4), st.sampled_from(["mean", "fourier"]))
def test_level_is_kept_and_offset_adds(ny, nx, factor, method):
    image = noise(ny, nx)
    lifted = bin_image(image.astype(float) - 31900, factor, method=method)
    np.testing.assert_allclose(lifted + 31900, bin_image(image, factor, method=method), atol=0.01)


@quick
@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 6))
def test_binning_twice_is_binning_by_the_product(first, second, m):
    image = noise(m * first * second, m * first * second)
    twice = bin_image(bin_image(image, first), second)
    assert twice == pytest.approx(bin_image(image, first * second), abs=1e-6)
