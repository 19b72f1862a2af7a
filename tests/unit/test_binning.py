"""Binning against weights and sums worked out by hand."""

import numpy as np
import pytest

from etcli.core.binning import bin_axis, bin_image, bin_volume, bin_weights, binned_sections, binned_size
from etcli.core.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("n", "factor", "rows"),
    [
        (4, 2, [[1 / 2, 1 / 2, 0, 0], [0, 0, 1 / 2, 1 / 2]]),
        (5, 2, [[1 / 4, 1 / 2, 1 / 4, 0, 0], [0, 0, 1 / 4, 1 / 2, 1 / 4]]),
        (5, 3, [[0, 1 / 3, 1 / 3, 1 / 3, 0]]),
        (4, 3, [[1 / 6, 1 / 3, 1 / 3, 1 / 6]]),
        (4, 1.5, [[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]]),
        (3, 1, np.eye(3)),
    ],
)
def test_weights_are_the_shares_of_boxes_about_the_centre(n, factor, rows):
    np.testing.assert_allclose(bin_weights(n, factor).toarray(), rows, atol=1e-15)


@pytest.mark.parametrize(
    ("n", "factor", "m"), [(127, 2, 63), (10, 10 / 3, 3), (33, 2.2, 15), (7, 7, 1), (256, 1.7, 150)]
)
def test_size_is_the_floor(n, factor, m):
    assert binned_size(n, factor) == m == bin_weights(n, factor).shape[0]


def test_image_by_hand():
    image = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int16)
    np.testing.assert_array_equal(bin_image(image, 2), [[3.5, 5.5]])
    np.testing.assert_array_equal(bin_image(image, 2, method="sum"), [[14, 22]])
    assert bin_image(image, 2).dtype == np.float32


def test_large_counts_do_not_overflow():
    image = np.full((8, 8), 30000, np.int16)
    np.testing.assert_array_equal(bin_image(image, 4, method="sum"), np.full((2, 2), 480000, np.float32))


def test_odd_image_by_hand():
    image = np.zeros((3, 5))
    image[1, 2] = 16
    np.testing.assert_allclose(bin_image(image, 2), [[2, 2]])


@pytest.mark.parametrize("factor", [2, 1.3])
@pytest.mark.parametrize("threads", [1, 2])
def test_sections_are_the_product_of_the_weights(factor, threads):
    volume = np.random.default_rng(1).normal(size=(11, 7, 9)).astype(np.float32)
    weights = [bin_weights(n, factor).toarray() for n in volume.shape]
    expected = np.einsum("az,by,cx,zyx->abc", *weights, volume, optimize=True)
    for method, scale in (("mean", 1), ("sum", factor**3)):
        got = list(binned_sections(lambda k: volume[k], volume.shape, factor, method=method, threads=threads))
        np.testing.assert_allclose(got, scale * expected, atol=2e-6)
        np.testing.assert_array_equal(bin_volume(volume, factor, method=method), got)


def test_sections_are_read_once_and_given_as_soon_as_complete():
    read = []
    volume = np.zeros((6, 2, 2), np.float32)
    sections = binned_sections(lambda k: (read.append(k), volume[k])[1], volume.shape, 2)
    next(sections)
    assert read == [0, 1]
    assert len(list(sections)) == 2
    assert read == list(range(6))


def plane_wave(n, periods, phase, at):
    return np.cos(2 * np.pi * periods * at / n + phase)


@pytest.mark.parametrize(("n", "factor"), [(24, 2), (24, 3), (25, 5), (25, 2), (24, 1.7), (31, 2.6), (18, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_fourier_samples_waves_below_the_new_nyquist_frequency_exactly_and_stops_the_others(n, factor, axis):
    at = (n - 1) / 2 + (np.arange(int(n / factor)) - (int(n / factor) - 1) / 2) * factor
    for periods in range(n // 2):
        frequency = periods / n * factor
        if abs(frequency - 1 / 2) < 1e-9:
            continue
        wave = plane_wave(n, periods, 0.7, np.arange(n))
        image = np.stack([wave, 2 * wave, 0 * wave], axis=1 - axis)
        expected = plane_wave(n, periods, 0.7, at) if frequency < 1 / 2 else 0 * at
        got = bin_axis(image, factor, axis=axis, method="fourier")
        np.testing.assert_allclose(
            got, np.stack([expected, 2 * expected, 0 * expected], axis=1 - axis), atol=1e-12
        )


def test_fourier_by_one_changes_nothing():
    image = np.random.default_rng(2).normal(size=(6, 7))
    np.testing.assert_allclose(bin_image(image, 1, method="fourier"), image, atol=1e-6)


def test_fourier_works_on_all_three_axes_alike():
    z, y, x = (np.arange(n) for n in (12, 8, 10))
    volume = (
        5
        + plane_wave(12, 2, 0.3, z)[:, None, None]
        + plane_wave(8, 1, 0.5, y)[:, None]
        + plane_wave(10, 2, 0.9, x)
    )
    z, y, x = (np.arange(n) * 2 + 0.5 for n in (6, 4, 5))
    expected = (
        5
        + plane_wave(12, 2, 0.3, z)[:, None, None]
        + plane_wave(8, 1, 0.5, y)[:, None]
        + plane_wave(10, 2, 0.9, x)
    )
    np.testing.assert_allclose(bin_volume(volume, 2, method="fourier"), expected, atol=2e-6)


@pytest.mark.parametrize("factor", [0, 0.99, -2, float("nan"), float("inf"), 9])
@pytest.mark.parametrize("method", ["mean", "fourier"])
def test_unfit_factors_are_refused(factor, method):
    with pytest.raises(UsageError, match="binning"):
        bin_image(np.zeros((8, 8)), factor, method=method)


def test_other_misuse_is_refused():
    with pytest.raises(UsageError, match="mean, sum, fourier"):
        bin_image(np.zeros((4, 4)), 2, method="median")
    with pytest.raises(UsageError, match="mean, sum, fourier"):
        bin_volume(np.zeros((4, 4, 4)), 2, method="median")
    with pytest.raises(DataError, match="real numbers"):
        bin_image(np.zeros((4, 4), complex), 2)
    with pytest.raises(DataError, match="3 dimensions"):
        bin_volume(np.zeros((4, 4)), 2)
