"""Scaling into bytes and shorts, against NumPy and closed forms."""

import tracemalloc

import numpy as np
import pytest

from etcli.core import order_statistics
from etcli.core.errors import DataError, UsageError
from etcli.core.grey_scale import GreyScale, find_scaling


def images(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(-1, 2, (5, 7, 9)) * np.array([1, 2, 1, 3, 1])[:, None, None]).astype(np.float32)


def scaled(data: np.ndarray, text: str, to: tuple[int, int] = (0, 255), threads: int = 1) -> np.ndarray:
    scaling = find_scaling(lambda k: data[k], len(data), GreyScale.parse(text), to, threads=threads)
    return np.stack([scaling.apply(k, image)[0] for k, image in enumerate(data)])


def test_values_become_the_ends_of_the_range() -> None:
    data = np.array([[[-1, 0, 2.5, 5, 6]]], np.float32)
    assert scaled(data, "0,5", (-128, 127)).ravel().tolist() == [-128, -128, -0.5, 127, 127]
    scaling = find_scaling(lambda k: data[k], 1, GreyScale.parse("0,5"), (0, 100))
    assert scaling.apply(0, data[0])[1] == 2
    assert scaling.values_at_ends() == pytest.approx((0, 5))


@pytest.mark.parametrize("percentiles", [(0, 100), (1, 99), (0.5, 62.5), (33, 34)])
@pytest.mark.parametrize("outlier", [0, 1e6, -1e30])
@pytest.mark.parametrize("threads", [1, 2])
def test_percentiles_are_exact_whatever_the_outliers(percentiles, outlier, threads) -> None:
    data = images()
    data[2, 3, 4] += outlier
    low, high = np.percentile(data, percentiles, method="lower")
    expected = np.clip((data - low) / (high - low), 0, 1) * 255
    found = scaled(data, "{}%,{}%".format(*percentiles), threads=threads)
    np.testing.assert_allclose(found, expected, atol=1e-4)


class Counter:
    """Images that count how often they are read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.n_read = data, 0

    def __call__(self, k: int) -> np.ndarray:
        self.n_read += 1
        return self.data[k]


def noise(n: int = 32) -> np.ndarray:
    return np.random.default_rng(1).normal(3, 2, (n, 40, 50)).astype(np.float32)


@pytest.mark.parametrize(("text", "n_read"), [("0,5", 0), ("mean-sd", 32), ("1%,99.5%", 34), ("0%,100%", 34)])
def test_images_are_read_once_before_they_are_written(text, n_read) -> None:
    """One of 16 twice, where percentiles are looked for."""
    read = Counter(noise())
    find_scaling(read, 32, GreyScale.parse(text), (0, 255))
    assert read.n_read == n_read


@pytest.mark.parametrize("kind", ["drift", "few values", "half empty", "empty but for one", "negative zero"])
@pytest.mark.parametrize("percentiles", [(0, 100), (0.1, 99.9), (20, 50), (49, 51), (98, 99)])
def test_percentiles_are_exact_whatever_the_images(kind, percentiles) -> None:
    """Also where those read first say little about the others; two readings are enough."""
    data = noise()
    if kind == "drift":
        data *= np.linspace(-3, 5, 32, dtype=np.float32)[:, None, None] ** 3
    elif kind == "few values":
        data = np.round(data)
    elif kind == "half empty":
        data[:, :20] = 0
    elif kind == "empty but for one":
        data[:7] = data[8:] = 0
    else:
        data = np.where(data > 3, data - 3, np.float32(-0.0))
    read = Counter(data)
    low, high = np.percentile(data, percentiles, method="lower")
    if low == high:
        with pytest.raises(DataError, match="both percentiles are"):
            find_scaling(read, 32, GreyScale.parse("{}%,{}%".format(*percentiles)), (0, 255))
    else:
        scaling = find_scaling(read, 32, GreyScale.parse("{}%,{}%".format(*percentiles)), (0, 255))
        assert scaling.values_at_ends() == pytest.approx((low, high), rel=1e-12, abs=1e-12)
    assert read.n_read <= 66


@pytest.mark.parametrize("drift", [0, 1])
def test_the_memory_for_percentiles_does_not_grow_with_the_images(drift, monkeypatch) -> None:
    monkeypatch.setattr(order_statistics, "MOST_SAMPLED", 1 << 12)
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    peaks = []
    for n in (64, 2048):
        tracemalloc.start()
        scale = GreyScale.parse("1%,99%")
        scaling = find_scaling(lambda k: image + np.float32(drift * (k % 64)), n, scale, (0, 1), memory=80000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        data = image + drift * np.arange(64, dtype=np.float32)[:, None, None]
        expected = np.sort(data.ravel())[[int(q * (n * 4096 - 1)) * 64 // n for q in (0.01, 0.99)]]
        np.testing.assert_allclose(scaling.values_at_ends(), expected, atol=1e-6)
    assert peaks[1] < 1.3 * peaks[0]


def test_mean_and_sd_are_the_same_in_every_image() -> None:
    data = images()
    z = (data - data.mean((1, 2), keepdims=True)) / data.std((1, 2), keepdims=True)
    expected = (z - z.min()) / (z.max() - z.min()) * 32767
    np.testing.assert_allclose(scaled(data, "mean-sd", (0, 32767)), expected, atol=0.01)


@pytest.mark.parametrize(
    "text", ["", "5", "5,0", "1,1", "a,b", "1%,2", "nan,1", "-1%,50%", "1%,101%", "1e999,1", "0,inf", "1,2,3"]
)
def test_other_scales_are_refused(text) -> None:
    with pytest.raises(UsageError):
        GreyScale.parse(text)


@pytest.mark.parametrize("text", ["1%,2%", "mean-sd"])
def test_images_of_one_value_have_no_such_scale(text) -> None:
    with pytest.raises(DataError, match="value"):
        scaled(np.ones((2, 3, 3), np.float32), text)
