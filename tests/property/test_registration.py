"""What registration must not depend on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.tilt_axis import alignment_matrix, com_axis
from tests.series import particle_views, scattered

TILT = np.arange(-60, 61, 10.0)
N = len(TILT)
SHAPE = (64, 72)
SPECIMEN = scattered(40, 7, (16, 16, 16), (1.5, 3.0))
VIEWS = particle_views(SPECIMEN, TILT, SHAPE)
FOUND = correlate_views(VIEWS, TILT)

seeds = st.integers(0, 2**32 - 1)
modest = settings(max_examples=6, deadline=None)


@modest
@given(seeds)
def test_shifts_undo_what_moved_the_views(seed):
    steps = np.random.default_rng(seed).integers(-8, 9, (N, 2))
    moved = np.array([np.roll(view, step[::-1], (0, 1)) for view, step in zip(VIEWS, steps, strict=True)])
    found = correlate_views(moved, TILT)
    np.testing.assert_allclose(found.shift_px + steps - steps[N // 2], FOUND.shift_px, atol=0.1)


@modest
@given(st.permutations(range(N)))
def test_order_of_the_views_does_not_matter(order):
    found = correlate_views(VIEWS[order], TILT[order])
    np.testing.assert_allclose(found.shift_px, FOUND.shift_px[order], atol=1e-6)
    np.testing.assert_array_equal(found.doubtful, FOUND.doubtful[order])


@modest
@given(st.floats(1e-3, 1e4), st.floats(-1e3, 1e3))
def test_units_of_the_intensity_do_not_matter(gain, level):
    found = correlate_views(VIEWS.astype(np.float64) * gain + level * gain, TILT)
    np.testing.assert_allclose(found.shift_px, FOUND.shift_px, atol=0.02)


@modest
@given(st.floats(-12, 12), st.floats(-6, 6))
def test_axis_turns_with_the_series(axis_deg, offset_px):
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=axis_deg, offset_px=offset_px)
    axis = com_axis(views, TILT, background=0.0)
    np.testing.assert_allclose([axis.angle_deg, axis.offset_px], [axis_deg, offset_px], atol=0.02)


@given(st.floats(-180, 180), st.floats(-50, 50), st.floats(-200, 200))
def test_alignment_takes_the_axis_to_the_middle(angle_deg, offset_px, along):
    rad = np.deg2rad(angle_deg)
    axis_point = offset_px * np.array([np.cos(rad), np.sin(rad)])
    direction = np.array([-np.sin(rad), np.cos(rad)])
    matrix, shift = alignment_matrix(angle_deg, offset_px)
    np.testing.assert_allclose(matrix @ (axis_point + along * direction) + shift, [0, along], atol=1e-9)
    assert np.linalg.det(matrix) > 0
