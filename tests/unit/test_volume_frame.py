"""The frame of a volume goes through its description, or a label, and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcli.core.geometry import SliceGeometry
from etcli.core.series import Volume
from etcli.core.volume_axes import IMOD_TILT, VolumeAxes
from etcli.core.volume_frame import Placement, VolumeFrame
from etcli.io.frame_label import frame_in, frame_label, views_used, with_frame, without_frame
from etcli.io.mdoc import Mdoc
from etcli.io.mrc import add_label
from etcli.io.volume_text import describes_volume, fits_volume, frame_of, volume_text

AXES = st.builds(VolumeAxes, st.permutations(range(3)).map(tuple), st.tuples(*[st.sampled_from([1, -1])] * 3))
LENGTHS = st.floats(-1e7, 1e7)
FRAMES = st.builds(
    VolumeFrame,
    st.tuples(LENGTHS, LENGTHS, LENGTHS),
    st.floats(1e-3, 1e4),
    st.floats(-90, 90),
    AXES,
    st.none() | st.integers(1, 9999),
)
SHAPE = 4, 5, 6
OURS = ("etcli recon 0.1: SIRT 30",)


def described(frame: VolumeFrame | None) -> Mdoc:
    text = volume_text(SHAPE, name="v.mrc", pixel_A=2.0, mode=2, frame=frame, titles=OURS)
    return Mdoc.parse(text.dump())


@given(FRAMES)
def test_the_description_holds_the_frame_to_the_last_digit(frame: VolumeFrame) -> None:
    text = described(frame)
    assert describes_volume(text) and fits_volume(text, SHAPE) and not fits_volume(text, SHAPE[::-1])
    assert frame_of(OURS, text) == frame
    assert text.titles == OURS


@given(FRAMES)
def test_a_label_holds_what_80_characters_can(frame: VolumeFrame) -> None:
    frame = replace(frame, centre_A=tuple(float(f"{length:.5g}") for length in frame.centre_A))
    label = frame_label(frame)
    if len(label) > 80:
        return
    labels = add_label(with_frame(("made by hand",), frame), "etcli bin 0.1: mean of 2 x 2 x 2")
    found = frame_in(labels)
    assert found is not None
    assert found.centre_A == pytest.approx(frame.centre_A, rel=1e-6, abs=0.0006)
    assert found.voxel_A == pytest.approx(frame.voxel_A, rel=6e-4)
    assert found.x_tilt_deg == pytest.approx(frame.x_tilt_deg, rel=6e-4, abs=6e-4)
    assert found.axes == frame.axes
    moved = replace(frame, voxel_A=2.5)
    assert len(with_frame(labels, moved)) == len(labels)
    assert frame_in(with_frame(labels, moved)) == replace(found, voxel_A=2.5)
    assert frame_in(without_frame(labels)) is None


def test_the_description_counts_more_than_the_label() -> None:
    frame = VolumeFrame((12345.67891, 0.1, 7.0), 0.123456, 1.23456, n_views=61)
    assert frame_of(with_frame(OURS, frame), described(frame)) == frame
    assert frame_of(with_frame(OURS, frame), None) != frame
    assert frame_of(OURS, described(None)) is None


def test_a_damaged_description_leaves_the_label() -> None:
    frame = VolumeFrame((10.0, 20.0, 10.0), 0.4)
    text = described(frame).with_value("RotationCentre", "10 twenty 10")
    assert frame_of(with_frame(OURS, frame), text) == frame


def test_it_is_kept_when_labels_are_many() -> None:
    frame = VolumeFrame((10.0, 20.0, 10.0), 0.4)
    labels = with_frame(("made by hand",), frame)
    for k in range(20):
        labels = add_label(labels, f"etcli filter 0.1: step {k}")
    assert len(labels) == 10 and labels[0] == "made by hand" and labels[-1].endswith("step 19")
    assert frame_in(labels) == frame


def test_what_another_program_has_changed_has_none() -> None:
    frame = VolumeFrame((10.0, 20.0, 10.0), 0.4)
    for text in (None, described(frame)):
        labels = with_frame(("made by hand", *OURS), frame)
        assert frame_of(labels, text) == frame
        assert frame_of((*labels, "clip: rotx"), text) is None
        assert frame_of((), text) is None


def test_the_last_reconstruction_says_of_how_many_views() -> None:
    old, new = "etcli recon 0.1: SIRT 30, 31 views, background 5.2", "etcli recon 0.1: DART 30 of 1 2"
    assert views_used((old, "etcli bin 0.1: mean")) == 31
    assert views_used((old, new)) is views_used(("made by hand",)) is None


def test_a_volume_written_along_y_is_turned_back() -> None:
    """Sections along y with z downwards, as IMOD's tilt writes them."""
    data = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)  # z, y, x
    upright = Volume(data, pixel_A=2.0, origin_A=(1.0, 2.0, 3.0), frame=VolumeFrame((11.0, 12.0, 13.0), 2.0))
    middle = upright.frame.middle_A(upright.shape, upright.origin_A, 2.0)
    written = Volume(
        data.swapaxes(0, 1)[:, ::-1],
        pixel_A=2.0,
        origin_A=(1.0, 2 * 13 - (3.0 + 3 * 2.0), 2.0),
        frame=VolumeFrame((11.0, 13.0, 12.0), 2.0, axes=IMOD_TILT),
    )
    turned = written.upright()
    np.testing.assert_array_equal(turned.images(), data)
    assert turned.origin_A == upright.origin_A and turned.frame == upright.frame
    np.testing.assert_allclose(turned.frame.middle_A(turned.shape, turned.origin_A, 2.0), middle)
    assert turned.upright() is turned


def test_the_rotation_centre_is_on_the_axis_half_way_up_the_views() -> None:
    geometry = SliceGeometry(
        np.zeros(1), n_detector=20, thickness=6, width=10, axis_offset_px=1.5, z_offset_px=-2.0
    )
    place = Placement.of(geometry, n_rows=30, first_row=4, origin_A=(100.0, 200.0, 0.0), pixel_A=2.0)
    assert place.centre_A == (100 + 2 * 11.5, 200 + 2 * 15.0, 2 * 10.0)
    assert place.corner_A == (100 + 2 * 6.5, 200 + 2 * 4.0, 2 * 5.0)
    frame = VolumeFrame(place.centre_A, 2.0)
    middle_px = frame.middle_A((6, 8, 10), place.corner_A, 2.0) / 2
    assert middle_px.tolist() == [0, 4 + 4 - 15, -2]  # the axis is in the middle, the volume below it


def test_a_damaged_label_gives_no_frame() -> None:
    for label in ("1,2,3 A, voxel 2, axes x,y,y", "1,2,3..4 A, voxel 2", "1,2,3 A, voxel 2, axes up"):
        assert frame_in((*OURS, f"etcli frame: {label}")) is None
    assert frame_in((*OURS, "etcli frame: 1,2,3 A, voxel 2, axes z,x,-y")).axes == VolumeAxes.parse("z,x,-y")
