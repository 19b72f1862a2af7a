"""Parts of volumes are found by what they show, and overlap where their frames place them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.series import Volume
from etcli.core.volume_frame import VolumeFrame
from etcli.core.volume_overlap import common_boxes, frame_offset_px
from etcli.core.volume_search import find_part

SHAPE = (20, 26, 23)
RNG = np.random.default_rng(3)
# brighter along x, so that a correlation that is not normalised prefers the bright side
TEXTURE = ndimage.gaussian_filter(RNG.normal(size=SHAPE), 1) * np.linspace(1, 30, SHAPE[2]) + 1e4


@given(st.tuples(*[st.integers(5, 14)] * 3), st.data())
def test_a_part_is_found_whatever_its_scale(size: tuple[int, ...], data: st.DataObject) -> None:
    at = tuple(data.draw(st.integers(0, n - m)) for n, m in zip(SHAPE, size, strict=True))
    part = TEXTURE[tuple(slice(a, a + m) for a, m in zip(at, size, strict=True))]
    assert find_part((7 - 0.3 * part).astype(np.float32), -TEXTURE.astype(np.float32)) == at


@pytest.mark.parametrize("part", [np.ones((4, 4, 4)), TEXTURE[:4]])
def test_a_volume_without_contrast_has_no_place(part: np.ndarray) -> None:
    with pytest.raises(DataError, match="the same everywhere"):
        find_part(part, TEXTURE if part.std() == 0 else np.ones(SHAPE))


def test_frames_place_volumes_on_each_other() -> None:
    frame = VolumeFrame((50.0, 60.0, 70.0), 2.5)
    whole = Volume(TEXTURE, pixel_A=2.5, frame=frame)
    # the same place in other coordinates of the file
    moved = replace(frame, centre_A=(0.0, 0.0, 0.0))
    corner_A = tuple(2.5 * k - c for k, c in zip((4, -2, 6), frame.centre_A, strict=True))
    other = Volume(TEXTURE[:9, :10, :11], pixel_A=2.5, frame=moved, origin_A=corner_A)
    np.testing.assert_allclose(frame_offset_px(other, whole), (6, -2, 4), atol=1e-9)
    of_other, of_whole = common_boxes(other, whole, np.array([6, -2, 4]))
    assert of_other.ranges == {"x": [1, 11], "y": [3, 10], "z": [1, 9]}
    assert of_whole.ranges == {"x": [5, 15], "y": [1, 8], "z": [7, 15]}
    part = of_whole.of(whole)
    np.testing.assert_array_equal(part.images(), TEXTURE[6:15, :8, 4:15])
    np.testing.assert_allclose(frame_offset_px(part, whole), (6, 0, 4), atol=1e-9)
    with pytest.raises(DataError, match="beside each other along y"):
        common_boxes(other, whole, np.array([0, 26, 0]))


def test_volumes_that_do_not_tell_are_not_placed() -> None:
    frame = VolumeFrame((0.0, 0.0, 0.0), 2.5)
    whole = Volume(TEXTURE, pixel_A=2.5, frame=frame)
    assert frame_offset_px(whole, replace(whole, frame=None)) is None
    assert frame_offset_px(whole, replace(whole, pixel_A=5.0)) is None  # its size was changed later
    coarse = replace(whole, pixel_A=5.0, frame=replace(frame, voxel_A=5.0))
    assert frame_offset_px(whole, coarse) is None
