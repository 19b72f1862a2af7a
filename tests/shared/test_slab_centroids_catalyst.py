"""Registration by mass: a simulated catalyst whose displacements are known, and a real needle."""

import mrcfile
import numpy as np
import pytest

from etcli.core.errors import ConvergenceError
from etcli.core.registration.centre_of_mass import com_views
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import correlate_views
from tests.series import left_over
from tests.shared.test_alignment_catalyst import moved_series

__all__ = ["moved_series"]


# RMS px left along and across the axis. ETSpy 1.3 within ±70°, COM: .269 .496 and .278 2.16 noisy,
# COM-CL: .022 .001 and 5.23 3.25 noisy; to 178° the like. White noise alone gives a first moment over the
# disc of the specimen .027 px.
@pytest.mark.parametrize("method", [com_views, common_line_views])
@pytest.mark.parametrize("noisy", [False, True])
def test_shifts(moved_series, noisy, method):
    views, tilt, moved = moved_series(noisy)
    found = method(views, tilt)
    along, across = left_over(found.shift_px, moved, tilt)
    print(f"\n{len(tilt)} views, {'noisy' if noisy else 'clean'}: along {along:.4f}, across {across:.4f} px")
    assert max(along, across) < (0.045 if noisy else 0.002)
    assert found.quality.min() > 0.99
    assert not found.doubtful.any()


def test_needle(shared_data):
    path = shared_data / "etspy" / "needle_raw"
    tilt = np.loadtxt(path.with_suffix(".rawtlt"))
    with mrcfile.open(path.with_suffix(".mrc"), permissive=True) as file:
        views = np.array(file.data)
    found = common_line_views(views, tilt, background=-31880.0)
    by_correlation = correlate_views(views, tilt, background=-31880.0)
    along, across = left_over(found.shift_px, -by_correlation.shift_px, tilt)
    print(f"\nfrom the shifts by correlation: {along:.3f} px along the axis, {across:.3f} px across")
    assert along < 0.15
    assert across < 0.1
    with pytest.raises(ConvergenceError, match="com-cl"):
        com_views(views, tilt, background=-31880.0)
