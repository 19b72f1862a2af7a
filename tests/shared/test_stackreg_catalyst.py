"""Registration by least squares: a simulated catalyst with known displacements, and a real needle."""

import mrcfile
import numpy as np
import pytest

from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.stackreg import stackreg_views
from tests.series import left_over
from tests.shared.test_alignment_catalyst import moved_series

__all__ = ["moved_series"]


# RMS px left along and across the axis. ETSpy 1.3 with StackReg: .080 .094 and .136 .154 noisy within ±70°,
# .056 .172 and .300 .220 noisy to 178°.
@pytest.mark.parametrize("noisy", [False, True])
def test_shifts(moved_series, noisy):
    views, tilt, moved = moved_series(noisy)
    found = stackreg_views(views, tilt)
    along, across = left_over(found.shift_px, moved, tilt)
    print(f"\n{len(tilt)} views, {'noisy' if noisy else 'clean'}: along {along:.3f}, across {across:.3f} px")
    limits = (0.11, 0.14) if noisy else (0.035, 0.06)
    assert along < limits[0]
    assert across < limits[1]
    assert not found.doubtful.any()


def test_needle(shared_data):
    path = shared_data / "etspy" / "needle_raw"
    tilt = np.loadtxt(path.with_suffix(".rawtlt"))
    with mrcfile.open(path.with_suffix(".mrc"), permissive=True) as file:
        views = np.array(file.data)
    found = stackreg_views(views, tilt)
    along, across = left_over(found.shift_px, -correlate_views(views, tilt).shift_px, tilt)
    print(f"\nneedle: apart from correlation along {along:.3f}, across {across:.3f} px")
    assert max(along, across) < 0.12
    assert np.ptp(found.shift_px[:, 0]) > 40
    assert found.quality.min() > 0.99
    assert not found.doubtful.any()
