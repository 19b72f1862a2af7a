"""The frame of a volume goes through a label and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcli.io.frame import Frame, frame_of, views_used

LENGTHS = st.floats(-99999, 99999)


@given(st.tuples(LENGTHS, LENGTHS, LENGTHS), st.floats(-90, 90), st.booleans())
def test_a_label_holds_the_frame(centre_A, x_tilt_deg: float, along_y: bool) -> None:
    x_tilt_deg = round(x_tilt_deg, 2)
    label = Frame(centre_A, x_tilt_deg, along_y).label()
    assert len(label) <= 80
    found = frame_of(("etcli recon 0.1: centre at 1,2,3 A", label, "etcli bin 0.1: mean of 2 x 2 x 2"))
    assert found.centre_A == pytest.approx(centre_A, rel=1e-5, abs=1e-3)
    assert (found.x_tilt_deg, found.along_y) == (x_tilt_deg, along_y)


def test_other_labels_hold_none() -> None:
    labels = "made by hand", "etcli recon 0.1: SIRT 30, nonnegative, 31 views, background 5.2"
    assert frame_of(labels) is None
    assert views_used(labels) == 31
    assert views_used(labels[:1]) is None
