"""Views of one series found in another by their tilt angles."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.registration.transforms import Transforms
from etcli.core.registration.views_by_tilt import SAME_TILT_DEG, views_by_tilt
from etcli.core.series import TiltSeries
from etcli.pipeline.xform import xform

HAADF_DEG = np.arange(-75.0, 75.1, 2.5)


def test_each_view_finds_its_own_in_any_order() -> None:
    order = np.random.default_rng(1).permutation(len(HAADF_DEG))[:20]
    read_deg = HAADF_DEG[order] + np.random.default_rng(2).uniform(-1, 1, 20) * SAME_TILT_DEG
    np.testing.assert_array_equal(views_by_tilt(read_deg, HAADF_DEG), order)


def test_angles_are_the_same_to_a_tenth_of_a_degree() -> None:
    assert views_by_tilt([0.1], [0.0, 2.5]) == [0]
    with pytest.raises(DataError, match=r"view 1 is at 0\.11°, and the nearest view is 1 at 0°"):
        views_by_tilt([0.11], [0.0, 2.5])
    with pytest.raises(DataError, match="and so are views 1 and 2"):
        views_by_tilt([0.0], [0.0, 0.1])


def test_xform_of_a_series_in_memory() -> None:
    """The views of a map move as those of the same tilt angle did."""
    shift_px = np.stack([np.arange(5) - 2, np.arange(5) % 2], axis=1)
    transforms = Transforms.shifts(shift_px)
    views = np.zeros((2, 9, 9), np.float32)
    views[:, 4, 4] = 3
    series = TiltSeries.of(views, [40, -20])
    moved = xform(series, transforms, xf_tilts=[-40, -20, 0, 20, 40], linear=True)
    for k, line in enumerate((4, 1)):
        x, y = shift_px[line]
        assert moved.view(k)[4 + y, 4 + x] == moved.view(k).sum() == 3
    with pytest.raises(DataError, match="view 2 is at -20°, and the nearest transform is 2"):
        xform(series, transforms, xf_tilts=[-40, -10, 0, 20, 40])
