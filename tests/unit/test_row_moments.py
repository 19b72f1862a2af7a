"""Moments of rows and the motion they follow, in closed form."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.registration.row_moments import (
    SMOOTH_PX,
    RowMoments,
    axis_by_row,
    fit_motion,
    measure_consistency,
    profile_centres,
    steadiness,
    turned_moments,
)
from tests.series import Particles, particle_views, scattered

TILT = np.arange(-66, 67, 6.0)
SHAPE = (64, 80)


def test_centre_and_mass_of_rows():
    view = np.zeros((2, 5))
    view[0] = [0, 0, 0, 1, 3]
    view[1] = [4, 0, 0, 0, 0]
    moments = profile_centres([view + 7, view.astype(np.int16) + 7], background=7.0)
    np.testing.assert_allclose(moments.mass, [[4, 4], [4, 4]])
    np.testing.assert_allclose(moments.centre_px, [[1.75, -2], [1.75, -2]])
    np.testing.assert_allclose(moments.moment_px, [[7, -8], [7, -8]])


def test_even_width_has_its_middle_between_pixels():
    assert profile_centres([np.array([[0, 0, 1, 0]])], background=0.0).centre_px == 0.5


def test_rows_without_mass_have_their_centre_in_the_middle():
    assert not profile_centres(np.zeros((2, 3, 4)), background=0.0).centre_px.any()


def test_nan_is_an_error():
    views = np.zeros((3, 2, 2))
    views[1, 0, 1] = np.nan
    with pytest.raises(DataError, match="view 2 holds"):
        profile_centres(views, background=0.0)


def test_motion_of_rows_is_recovered():
    a, b, c = np.array([[1.0, -2, 0.5], [8, 0, -3], [-4, 6, 1]])
    rad = np.deg2rad(TILT)
    centre = a + np.outer(np.cos(rad), b) + np.outer(np.sin(rad), c)
    centre[3] += 50  # a view that does not count
    weight = np.ones_like(centre)
    weight[3] = 0
    weight[:, 2] = 0  # a row that does not
    motion = fit_motion(centre, TILT, weight=weight)
    for found, true in ((motion.constant_px, a), (motion.cosine_px, b), (motion.sine_px, c)):
        np.testing.assert_allclose(found[:2], true[:2], atol=1e-9)
        assert np.isnan(found[2])
    np.testing.assert_allclose(motion.residual_px[3, :2], 50, atol=1e-9)
    np.testing.assert_allclose(np.delete(motion.residual_px[:, :2], 3, axis=0), 0, atol=1e-9)


def test_weights_count_as_repeated_views():
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(len(TILT), 2))
    weight = rng.integers(1, 4, len(TILT))
    weighted = fit_motion(centre, TILT, weight=np.repeat(weight[:, None], 2, axis=1).astype(float))
    repeated = fit_motion(
        np.repeat(centre, weight, axis=0), np.repeat(TILT, weight), weight=np.ones((weight.sum(), 2))
    )
    np.testing.assert_allclose(weighted.constant_px, repeated.constant_px)
    np.testing.assert_allclose(weighted.sine_px, repeated.sine_px)


def test_motion_needs_four_angles():
    with pytest.raises(DataError, match="3 tilt angles"):
        fit_motion(np.zeros((6, 2)), [0, 0, 10, 10, 20, 20], weight=np.ones((6, 2)))


def test_steadiness_of_rows():
    wobble = np.where(np.arange(20) % 2, 1, -1)[:, None]
    mass = np.array([100.0, 100, 1, 0, -5]) + wobble * np.array([0.0, 10, 0, 0, 1])
    # The median absolute deviation of a two-valued wobble is its amplitude.
    expected = [1, 1 / (1 + 1.4826**2), 0, 0, 0]
    np.testing.assert_allclose(steadiness(mass), expected)


@pytest.mark.parametrize("angle_deg", [0.0, 7.0, -35.0, 90.0])
@pytest.mark.parametrize("shape", [(64, 64), (63, 80)])
def test_rows_of_a_turned_blob(angle_deg, shape):
    particle = Particles(np.array([[9.0, -6.0, 0.0]]), np.array([2.5]), np.array([3.0]))
    view = particle_views(particle, [0.0], shape)[0]
    rad = np.deg2rad(angle_deg)
    matrix = np.array([[np.cos(rad), np.sin(rad)], [-np.sin(rad), np.cos(rad)]])
    shift = np.array([2.3, -1.4])
    x, y = matrix @ (9.0, -6.0) + shift
    mass, moment = turned_moments(view, matrix, shift, n_rows=70)
    width = np.hypot(2.5, SMOOTH_PX)
    total = 3 * 2 * np.pi * 2.5**2
    rows = np.arange(70) - 34.5
    expected = total * np.exp(-0.5 * ((rows - y) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
    np.testing.assert_allclose(mass, expected, atol=2e-3 * expected.max())
    np.testing.assert_allclose(moment, x * expected, atol=2e-2 * expected.max())


def moments_of(specimen, tilt_deg=TILT, **motion):
    views = particle_views(specimen, tilt_deg, SHAPE, **motion)
    rows = [turned_moments(view, np.eye(2), np.zeros(2), n_rows=SHAPE[0]) for view in views]
    return RowMoments(*np.array(rows).transpose(1, 0, 2))


def test_consistency_of_a_turning_specimen():
    specimen = scattered(12, 0, (18, 18, 18))
    weight = np.ones(SHAPE[0])
    right = measure_consistency(moments_of(specimen, offset_px=4.0), TILT, weight=weight)
    assert right.offset_px == pytest.approx(4, abs=1e-3)
    assert right.residual_px < 1e-3
    for wrong in (-1.0, 1.0):
        tilted = measure_consistency(moments_of(specimen, offset_px=4.0, axis_deg=wrong), TILT, weight=weight)
        assert tilted.cost > right.cost + 5
        assert tilted.residual_px > 0.02


def test_consistency_forgives_what_registration_leaves():
    specimen = scattered(12, 0, (18, 18, 18))
    weight = np.ones(SHAPE[0])
    moved = np.random.default_rng(0).normal(0, 0.05, (len(TILT), 2))
    exact, jittered, tilted = (
        measure_consistency(moments_of(specimen, **motion), TILT, weight=weight)
        for motion in ({}, {"moved_px": moved}, {"axis_deg": 2.0})
    )
    assert exact.cost < jittered.cost < tilted.cost - 5
    np.testing.assert_allclose(jittered.offset_px, 0, atol=0.1)


def test_the_axis_is_found_along_itself():
    """Three particles above one another, about an axis 2.5 px off; one view does not show the topmost."""
    place = np.array([[12.0, -20, 5], [-8, 0, -14], [3, 20, 9]])
    particles = Particles(place, np.full(3, 2.0), np.ones(3))
    views = particle_views(particles, TILT, SHAPE, offset_px=2.5) + 7
    views[4, 42:] = 7
    y_px, axis_px = axis_by_row(views, TILT, background=7.0)
    np.testing.assert_allclose(axis_px, 2.5, atol=0.01)
    heights = np.array([-20, 0])
    assert (np.abs(y_px[:, None] - heights).min(axis=1) < 6).all()
    assert (np.abs(y_px - heights[:, None]).min(axis=1) <= 0.5).all()  # the middle is between two rows


@pytest.mark.parametrize("tilt", [[0], [-40, 0, 40], [-40, 0, 0, 40, 40]])
def test_few_tilt_angles_do_not_tell_the_axis(tilt):
    for found in axis_by_row(np.ones((len(tilt), 4, 4)), tilt, background=0.0):
        assert found.shape == (0,)


def test_an_empty_series_does_not_tell_the_axis():
    for found in axis_by_row(np.zeros((9, 4, 4)), np.arange(9), background=1.0):
        assert found.shape == (0,)
