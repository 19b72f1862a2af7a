"""The tilt axis by sharpness where the centre of mass tells it better, as a check of both.

Needle and catalyst are large smooth bodies, which change little when the axis is moved.
"""

import mrcfile
import numpy as np
import pytest

from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.sharpness import sum_axis
from etcli.core.registration.tilt_axis import alignment_matrix, com_axis
from etcli.core.registration.transforms import Transforms, resample


def series(path):
    with mrcfile.open(path.with_suffix(".mrc"), permissive=True) as file:
        return np.array(file.data), np.loadtxt(path.with_suffix(".rawtlt"))


def report(name, axis):
    print(
        f"\n{name}: axis {axis.angle_deg:.2f} ± {axis.angle_sigma_deg:.2f}°, "
        f"{axis.offset_px:.2f} ± {axis.offset_sigma_px:.2f} px off the middle"
    )


@pytest.mark.slow
def test_needle(shared_data):
    views, tilt = series(shared_data / "etspy" / "needle_raw")
    shifts = Transforms.shifts(correlate_views(views, tilt, background=-31880.0).shift_px)
    com = com_axis(views, tilt, background=-31880.0, transforms=shifts)
    axis = sum_axis(views, tilt, transforms=shifts, limit_deg=6.0)
    report("needle", axis)
    assert axis.angle_deg == pytest.approx(com.angle_deg, abs=0.5)
    assert axis.offset_px == pytest.approx(com.offset_px, abs=0.4)


def test_turned_catalyst(shared_data):
    views, tilt = series(shared_data / "etspy" / "catalyst_180_bin2")
    matrix, shift = alignment_matrix(3.0, 5.0)
    back = np.linalg.inv(matrix)
    turned = np.array([resample(view, back, -back @ shift, fill=0.0) for view in views])
    axis = sum_axis(turned, tilt, limit_deg=6.0)
    report("catalyst", axis)
    assert axis.angle_deg == pytest.approx(3, abs=0.3)
    assert axis.offset_px == pytest.approx(5, abs=0.4)
