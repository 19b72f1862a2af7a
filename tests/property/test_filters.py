"""What must hold for every filter whatever the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.filters import METHODS, apply_filter

quick = settings(max_examples=6, deadline=None)
shapes = st.one_of(
    st.tuples(st.integers(12, 24), st.integers(12, 24)),
    st.tuples(st.integers(11, 13), st.integers(11, 13), st.integers(11, 13)),
)
EDGES = ("sobel", "median-sobel")


def image_of(shape, seed):
    """Return a specimen with sharp edges, noise and a hit."""
    generator = np.random.default_rng(seed)
    image = generator.normal(size=shape).astype(np.float32)
    image[tuple(slice(n // 4, n // 2) for n in shape)] += 8
    image[tuple(generator.integers(0, n) for n in shape)] += 300
    return image


def filtered(image, method):
    return apply_filter(image, method, low_px=9 if method == "bandpass" else None, high_px=3)


# tv is left out: made of forward differences, the length of a gradient depends on its direction
@pytest.mark.parametrize("method", [method for method in METHODS if method != "tv"])
@quick
@given(shape=shapes, seed=st.integers(0, 99))
def test_every_other_filter_commutes_with_flips(method, shape, seed):
    image = image_of(shape, seed)
    expected = filtered(image, method)
    for axis in range(image.ndim):
        got = filtered(np.flip(image, axis), method)
        np.testing.assert_allclose(got, np.flip(expected, axis), atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
class TestEveryFilter:
    @quick
    @given(shape=shapes, seed=st.integers(0, 99))
    def test_commutes_with_transposition(self, method, shape, seed):
        image = image_of(shape, seed)
        got = filtered(image.T, method)
        np.testing.assert_allclose(got, filtered(image, method).T, atol=1e-3)

    @quick
    @given(shape=shapes, seed=st.integers(0, 99), scale=st.sampled_from([0.25, 64.0]))
    def test_scales_with_the_image(self, method, shape, seed, scale):
        image = image_of(shape, seed)
        got = filtered(np.float32(scale) * image, method) / scale
        np.testing.assert_allclose(got, filtered(image, method), atol=2e-3)

    @quick
    @given(shape=shapes, seed=st.integers(0, 99), offset=st.sampled_from([-512.0, 1024.0]))
    def test_carries_an_offset_through_or_removes_it(self, method, shape, seed, offset):
        image = np.round(image_of(shape, seed) * 64) / 64  # so that adding the offset rounds nothing
        got = filtered(image + np.float32(offset), method)
        kept = 0 if method in (*EDGES, "bandpass") else offset
        np.testing.assert_allclose(got - kept, filtered(image, method), atol=0.02)
