"""How much of the views a volume explains, with and without noise."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.reconstruction.explained import (
    SMOOTHING_PX,
    RowRecorder,
    Unexplained,
    _kept,
    border_over_mean,
)

SHAPE = 20, 16, 96


@pytest.fixture(scope="module")
def views() -> NDArray[np.float32]:
    """Smooth views of a blob that moves from view to view."""
    x = np.arange(SHAPE[2]) - 48 - 20 * np.sin(np.linspace(0, 6, SHAPE[0]))[:, None, None]
    return np.broadcast_to(np.exp(-(x**2) / 200), SHAPE).astype(np.float32)


def test_without_noise_both_are_the_relative_residual(views: NDArray[np.float32]) -> None:
    found = Unexplained.of(0.9 * views, views)
    assert found.with_noise == pytest.approx(0.1, rel=1e-5)
    assert found.without_noise == pytest.approx(0.1, rel=1e-2)
    assert found.noise < 1e-3


def test_noise_is_taken_off_and_an_error_below_it_is_seen(views: NDArray[np.float32]) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, SHAPE).astype(np.float32)
    exact = Unexplained.of(views, views + noise)
    expected = np.linalg.norm(noise) / np.linalg.norm(views + noise)
    assert exact.with_noise == pytest.approx(expected, rel=1e-5) and expected > 0.3
    assert exact.without_noise is not None and exact.without_noise < 0.03
    moved = Unexplained.of(ndimage.shift(views, (0, 0, 3), order=1), views + noise)
    clean = Unexplained.of(ndimage.shift(views, (0, 0, 3), order=1), views)
    assert clean.without_noise is not None and clean.without_noise > 0.15
    assert moved.without_noise == pytest.approx(clean.without_noise, rel=0.05)
    assert moved.noise < 0.25


def test_nothing_is_known_of_noise_alone() -> None:
    noise = np.random.default_rng(2).normal(0, 1, SHAPE).astype(np.float32)
    found = Unexplained.of(0.2 * noise, noise)
    assert found.without_noise is None or found.noise > 0.5


def test_empty_views_are_explained() -> None:
    empty = np.zeros(SHAPE, np.float32)
    assert Unexplained.of(empty, empty) == Unexplained(0.0, 0.0)


@pytest.mark.parametrize("n", [1, 3, 16, 200])
def test_the_power_of_smoothed_white_noise(n: int) -> None:
    noise = np.random.default_rng(3).normal(size=(4000, n))
    smooth = ndimage.gaussian_filter1d(noise, SMOOTHING_PX, axis=1, mode="nearest")
    assert _kept(n) == pytest.approx((smooth**2).mean() / (noise**2).mean(), rel=0.06)


def test_rows_are_recorded_from_blocks_of_any_size() -> None:
    volume = np.random.default_rng(4).normal(size=(6, 11, 5)).astype(np.float32)
    written = np.zeros_like(volume)

    def write(y0: int, block: NDArray[np.float32], *, z0: int = 0) -> None:
        written[z0 : z0 + len(block), y0 : y0 + block.shape[1]] = block

    record = RowRecorder(write, slice(3, 8), (6, 5))
    for y0, y1 in ((0, 2), (2, 4), (4, 9), (9, 11)):
        for z0 in (0, 4):
            record(y0, volume[z0 : z0 + 4, y0:y1], z0=z0)
    np.testing.assert_array_equal(written, volume)
    np.testing.assert_array_equal(record.block, volume[:, 3:8])


def test_what_is_piled_up_in_the_outermost_sections() -> None:
    block = np.ones((64, 3, 5), np.float32)
    assert border_over_mean(block) == pytest.approx(1)
    block[-2:] = 4
    block[0] = -7  # counts as zero
    assert border_over_mean(block) == pytest.approx(4 / ((61 + 8) / 64))
    assert border_over_mean(np.zeros((4, 2, 2), np.float32)) == 0
