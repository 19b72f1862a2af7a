"""The frame of a volume goes through a label and back."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcli.io.frame import Frame, frame_of, views_used, with_voxels, without_frame
from etcli.io.mrc import add_label

LENGTHS = st.floats(-99999, 99999)
FRAMES = st.builds(
    Frame, st.tuples(LENGTHS, LENGTHS, LENGTHS), st.floats(1e-3, 1e4), st.floats(-90, 90), st.booleans()
)


def assert_near(found: Frame | None, frame: Frame) -> None:
    assert found is not None
    assert found.centre_A == pytest.approx(frame.centre_A, rel=1e-6, abs=0.0006)
    assert found.voxel_A == pytest.approx(frame.voxel_A, rel=6e-4)
    assert found.x_tilt_deg == pytest.approx(frame.x_tilt_deg, rel=6e-4, abs=6e-4)
    assert found.along_y == frame.along_y


@given(FRAMES)
def test_a_label_holds_the_frame(frame: Frame) -> None:
    labels = add_label(("made by hand", Frame((1, 2, 3), 1).label()), frame.label())
    assert_near(frame_of((*labels, "etcli bin 0.1: mean of 2 x 2 x 2")), frame)
    assert_near(frame_of(with_voxels(labels, 2.5)), replace(frame, voxel_A=2.5))
    assert frame_of(without_frame(labels)) is None


def test_it_is_kept_when_labels_are_many() -> None:
    frame = Frame((10.0, 20.0, 10.0), 0.4)
    labels = ("made by hand", frame.label())
    for k in range(20):
        labels = add_label(labels, f"etcli filter 0.1: step {k}")
    assert len(labels) == 10 and labels[0] == "made by hand" and labels[-1].endswith("step 19")
    assert frame_of(labels) == frame


def test_what_another_program_has_changed_has_none() -> None:
    label = Frame((10.0, 20.0, 10.0), 0.4).label()
    assert frame_of(("made by hand", label)) is not None
    assert frame_of((label, "clip: rotx")) is None


def test_the_last_reconstruction_says_of_how_many_views() -> None:
    old, new = "etcli recon 0.1: SIRT 30, 31 views, background 5.2", "etcli recon 0.1: DART 30 of 1 2"
    assert views_used((old, "etcli bin 0.1: mean")) == 31
    assert views_used((old, new)) is views_used(("made by hand",)) is None
