"""Shifts between volumes: right, exact where they are whole, in both directions."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.quality import nrmse
from etcli.core.volume_shift import find_shift, shifted_overlap

SHAPE = (24, 21, 30)


def blobs(shift: tuple[float, float, float] = (0, 0, 0)) -> NDArray[np.float32]:
    """A few Gaussians away from the borders, all displaced by (z, y, x)."""
    rng = np.random.default_rng(4)
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    volume = np.zeros(SHAPE)
    for _ in range(6):
        place = rng.uniform(-4, 4, 3) + shift
        volume += np.exp(-0.5 * sum((a - p) ** 2 for a, p in zip(axes, place, strict=True)) / 1.5**2)
    return volume.astype(np.float32)


@pytest.mark.parametrize("shift", [(0, 0, 0), (3, -2, 5), (-1.3, 0.42, 2.75), (0.5, 0, -0.5)])
def test_the_shift_of_a_displaced_volume_is_found_and_undone(shift: tuple[float, float, float]) -> None:
    found = find_shift(blobs(shift), blobs())
    assert np.abs(found + shift).max() < 0.02
    assert nrmse(*shifted_overlap(blobs(shift), blobs(), found)) < 0.02


def test_whole_shifts_change_no_value() -> None:
    moved = np.roll(blobs(), (4, -3, 2), (0, 1, 2))
    image, reference = shifted_overlap(moved, blobs(), find_shift(moved, blobs()))
    assert image.shape == (20, 18, 28)
    assert np.array_equal(image, reference)


def test_images_are_shifted_as_volumes_are() -> None:
    assert np.allclose(find_shift(np.roll(blobs()[12], 3, 1), blobs()[12]), (0, -3), atol=1e-3)


def test_a_constant_volume_has_no_place() -> None:
    with pytest.raises(DataError, match="the same everywhere"):
        find_shift(np.ones(SHAPE), blobs())


def test_what_a_search_for_a_shift_takes_is_what_is_planned() -> None:
    """Two volumes are given, of five that `compare --align` counts."""
    volume = np.pad(blobs(), 24)
    find_shift(volume, volume)
    tracemalloc.start()
    try:
        find_shift(volume, volume)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3.1 * volume.nbytes


def test_sides_that_cut_through_the_specimen_do_not_hold_it() -> None:
    rng = np.random.default_rng(0)
    whole = ndimage.gaussian_filter(rng.normal(size=(40, 50, 60)), 2) + np.linspace(0, 0.1, 60)
    moved, still = whole[5:35, 5:45, 8:58], whole[7:37, 4:44, 5:55]
    np.testing.assert_allclose(find_shift(moved, still), (-2, 1, 3), atol=0.05)


def test_single_sections_have_a_shift_in_their_plane() -> None:
    volume = ndimage.gaussian_filter(np.random.default_rng(4).random((1, 40, 44)), (0, 2, 2))
    shift = find_shift(np.roll(volume, (2, -3), (1, 2)).astype(np.float32), volume.astype(np.float32))
    assert shift[0] == 0
    np.testing.assert_allclose(np.abs(shift[1:]), (2, 3), atol=0.1)
