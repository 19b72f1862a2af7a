"""A tilt axis that was found before: confirmed where it is right, refused where it is not."""

import numpy as np
import pytest

import etcli
from etcli.core.registration.known_axis import confirm_axis
from etcli.core.registration.matching import match_views
from etcli.core.registration.methods import find_axis
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import Transforms
from etcli.io.transforms import axis_file, axis_of_text, axis_text, read_axis, write_axis, write_xf
from tests.series import particle_views, scattered

TILT = np.arange(-66, 67, 6.0)
AXIS_DEG, OFFSET_PX = 4.0, -1.5
MOVED = np.random.default_rng(3).uniform(-2, 2, (len(TILT), 2))
BEFORE = Transforms.shifts(-MOVED)
VIEWS = particle_views(
    scattered(30, 3, (9, 12, 7), (1.2, 2.0)),
    TILT,
    (46, 48),
    moved_px=MOVED,
    axis_deg=AXIS_DEG,
    offset_px=OFFSET_PX,
)


def axis_at(angle_deg, offset_px):
    return TiltAxis(angle_deg, offset_px, np.nan, np.nan, np.nan)


def confirmed(angle_deg, offset_px, **options):
    options = {"before": BEFORE, "background": 0.0} | options
    return confirm_axis(VIEWS, TILT, axis_at(angle_deg, offset_px), **options)


def test_an_axis_nearby_is_refined():
    found = confirmed(AXIS_DEG + 0.1, OFFSET_PX + 0.2)
    assert found.from_known
    assert found.axis.angle_deg == pytest.approx(AXIS_DEG, abs=0.05)
    assert found.axis.offset_px == pytest.approx(OFFSET_PX, abs=0.03)
    assert not found.shifts.doubtful.any()


@pytest.mark.parametrize(("turn_deg", "move_px"), [(1, 0), (-1, 0), (0, 3), (0, -3), (30, 8)])
def test_a_wrong_axis_is_refused_and_another_one_searched_for(turn_deg, move_px):
    known = axis_at(AXIS_DEG + turn_deg, OFFSET_PX + move_px)
    assert confirmed(known.angle_deg, known.offset_px) is None
    found = find_axis(VIEWS, TILT, transforms=BEFORE, background=0.0, known=known)
    assert not found.from_known
    assert found.axis.angle_deg == pytest.approx(AXIS_DEG, abs=0.1)
    assert found.axis.offset_px == pytest.approx(OFFSET_PX, abs=0.1)


def test_an_axis_of_other_views_is_refused():
    other = Transforms.shifts(MOVED[::-1] * 4)
    assert confirmed(AXIS_DEG, OFFSET_PX, before=other) is None


def test_threads_change_nothing():
    one, two = (confirmed(AXIS_DEG, OFFSET_PX, threads=threads) for threads in (1, 2))
    assert (one.axis.angle_deg, one.axis.offset_px) == (two.axis.angle_deg, two.axis.offset_px)
    one, two = (match_views(VIEWS, TILT, background=0.0, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.shifts.shift_px, two.shifts.shift_px)
    assert one.axis.angle_deg == two.axis.angle_deg


def test_the_axis_travels_beside_the_transforms(tmp_path):
    path, axis = tmp_path / "a.xf", axis_at(-2.25, 13.5)
    assert read_axis(path) is None
    write_xf(path, BEFORE)
    write_axis(axis_file(path), axis, path)
    found = read_axis(path)
    assert (found.angle_deg, found.offset_px) == (-2.25, 13.5)
    assert axis_of_text(f"etcli register 0.1: match, {axis_text(axis)}").offset_px == 13.5
    assert axis_of_text("axis of something") is None


def test_an_axis_of_other_transforms_is_not_read(tmp_path):
    path = tmp_path / "a.xf"
    write_xf(path, BEFORE)
    write_axis(axis_file(path), axis_at(-2.25, 13.5), path)
    write_xf(path, Transforms.shifts(MOVED))
    assert read_axis(path) is None
    axis_file(path).write_bytes(b"\xff\n")
    assert read_axis(path) is None


@pytest.mark.parametrize("stated_deg", [AXIS_DEG + 20, AXIS_DEG - 180, 180.0])
def test_the_direction_that_is_stated_is_kept(stated_deg):
    """Views do not show it: turned by 180° they have the axis at the same place, in the other direction."""
    series = etcli.TiltSeries.of(VIEWS, TILT).with_axis(stated_deg)
    found = etcli.tiltalign(series, before=BEFORE, axis=axis_at(AXIS_DEG, OFFSET_PX), background="none").axis
    opposite = abs((stated_deg - AXIS_DEG + 180) % 360 - 180) > 90
    turned_deg = (found.angle_deg - AXIS_DEG + 90) % 360 - 90
    assert turned_deg == pytest.approx(180 if opposite else 0, abs=0.1)
    assert found.offset_px == pytest.approx(-OFFSET_PX if opposite else OFFSET_PX, abs=0.1)
