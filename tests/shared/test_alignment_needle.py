"""Alignment of a real series: a layered needle as collected, with drift up to 40 pixels."""

from itertools import pairwise

import mrcfile
import numpy as np
import pytest

from etcli.core.geometry import centre
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.row_moments import fit_motion, profile_centres, steadiness
from etcli.core.registration.tilt_axis import alignment_matrix, com_axis, maximage_axis
from etcli.core.registration.transforms import Transforms, compose, resample_stack

BACKGROUND = -31880.0
BODY = slice(70, 190)  # rows that show the needle in all views


@pytest.fixture(scope="module")
def raw(shared_data):
    path = shared_data / "etspy" / "needle_raw"
    with mrcfile.mmap(path.with_suffix(".mrc"), permissive=True) as file:
        yield file.data, np.loadtxt(path.with_suffix(".rawtlt"))


@pytest.fixture(scope="module")
def found(raw):
    return correlate_views(*raw, background=BACKGROUND)


@pytest.fixture(scope="module")
def registered(raw, found):
    return np.array(list(resample_stack(raw[0], Transforms.shifts(found.shift_px), fill=BACKGROUND)))


def neighbour_correlation(views):
    return np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(views)])


def motion_of_rows(views, tilt_deg):
    moments = profile_centres(views, background=BACKGROUND)
    weight = np.broadcast_to(steadiness(moments.mass), moments.mass.shape)
    return fit_motion(moments.centre_px, tilt_deg, weight=weight)


def slope(values):
    return np.polyfit(np.arange(BODY.start, BODY.stop), values[BODY], 1)[0]


def test_registered_views_look_alike(raw, found, registered):
    before, after = neighbour_correlation(raw[0][:]), neighbour_correlation(registered)
    print(f"\ncorrelation of neighbours {before.mean():.4f} -> {after.mean():.4f}, worst {after.min():.4f}")
    assert before.mean() < 0.8
    assert after.min() > 0.99
    assert found.residual_px < 0.05
    assert not found.doubtful.any()
    assert 30 < np.ptp(found.shift_px[:, 0]) < 80
    assert np.ptp(found.shift_px[:, 1]) < 30


def test_registered_needle_turns_about_an_axis(raw, registered):
    moved, still = (motion_of_rows(views, raw[1]).residual_px[:, BODY] for views in (raw[0], registered))
    print(f"\ncentre of mass: {np.std(moved):.2f} px off its path before, {np.std(still):.2f} px after")
    assert np.std(moved) > 5
    assert np.std(still) < 0.6


def test_layers_stay_at_their_height(raw, registered):
    rows = np.arange(registered.shape[1]) - centre(registered.shape[1])
    mass = profile_centres(registered, background=BACKGROUND).mass[:, BODY]
    height = mass @ rows[BODY] / mass.sum(axis=1)
    print(f"\nheight of the needle's middle: ± {height.std():.2f} px")
    assert height.std() < 0.5


def test_axis(raw, found, registered):
    views, tilt = raw
    shifts = Transforms.shifts(found.shift_px)
    axis = com_axis(views, tilt, background=BACKGROUND, transforms=shifts)
    print(
        f"\naxis {axis.angle_deg:.2f} ± {axis.angle_sigma_deg:.2f}°, "
        f"{axis.offset_px:.2f} ± {axis.offset_sigma_px:.2f} px off the middle"
    )
    # ETSpy 1.3 turned the same series by 2.8° to set its axis straight.
    assert axis.angle_deg == pytest.approx(2.8, abs=0.3)
    assert axis.angle_sigma_deg < 0.2
    assert axis.residual_px < 0.2
    # The sign: an axis turned counter-clockwise leans to smaller x with height, and is upright afterwards.
    before = slope(motion_of_rows(registered, tilt).constant_px)
    assert before == pytest.approx(-np.tan(np.deg2rad(axis.angle_deg)), abs=0.01)
    matrix, shift = alignment_matrix(axis.angle_deg, axis.offset_px)
    turn = Transforms(np.tile(matrix, (len(tilt), 1, 1)), np.tile(shift, (len(tilt), 1)))
    upright = np.array(list(resample_stack(views, compose(shifts, turn), fill=BACKGROUND)))
    a = motion_of_rows(upright, tilt).constant_px
    assert abs(slope(a)) < 0.005
    assert abs(np.nanmedian(a[BODY])) < 0.3


def test_paths_show_the_same_axis(raw, found):
    shifts = Transforms.shifts(found.shift_px)
    axis = maximage_axis(raw[0], background=BACKGROUND, transforms=shifts)
    print(f"\naxis {axis.angle_deg:.2f}°")
    assert axis.angle_deg == pytest.approx(2.8, abs=0.5)
