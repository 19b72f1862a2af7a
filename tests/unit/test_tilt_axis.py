"""The tilt axis of series whose axis is known."""

import numpy as np
import pytest

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.lines import Edges
from etcli.core.registration.tilt_axis import alignment_matrix, com_axis, maximage_axis
from etcli.core.registration.transforms import Transforms, resample
from tests.series import particle_views, scattered

TILT = np.arange(-70, 71, 5.0)
SHAPE = (96, 110)
SPECIMEN = scattered(30, 1, (28, 30, 28))
FOIL = scattered(600, 2, (300, 70, 3))
# One above the other, so that their paths are lines.
PATHS = scattered(9, 5, (30, 34, 12), (1.2, 2.0))


def noise(views, sigma, seed=0):
    return views + np.random.default_rng(seed).normal(0, sigma, views.shape).astype(np.float32)


@pytest.mark.parametrize("offset_px", [5.0, -5.0])
@pytest.mark.parametrize("axis_deg", [3.0, -3.0, 9.0, 0.0])
def test_com_finds_the_axis_exactly(axis_deg, offset_px):
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=axis_deg, offset_px=offset_px)
    axis = com_axis(views, TILT, background=0.0)
    assert axis.angle_deg == pytest.approx(axis_deg, abs=0.005)
    assert axis.offset_px == pytest.approx(offset_px, abs=0.01)
    assert axis.angle_sigma_deg < 0.01
    assert axis.residual_px < 0.02


def test_com_in_noise():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)
    axes = [com_axis(noise(views, 0.05, seed), TILT, background=0.0) for seed in range(6)]
    angle_error = np.array([axis.angle_deg - 3 for axis in axes])
    offset_error = np.array([axis.offset_px - 5 for axis in axes])
    assert abs(angle_error).max() < 0.1
    assert abs(offset_error).max() < 0.2
    # The errors are about as large as they are said to be.
    for error, sigma in (
        (angle_error, [axis.angle_sigma_deg for axis in axes]),
        (offset_error, [axis.offset_sigma_px for axis in axes]),
    ):
        assert 0.3 < np.sqrt(np.mean((error / sigma) ** 2)) < 3


def test_noise_does_not_push_the_axis_away_from_upright():
    views = particle_views(SPECIMEN, TILT, SHAPE)
    axis = com_axis(noise(views, 0.1), TILT, background=0.0)
    assert axis.angle_deg == pytest.approx(0, abs=0.1)


def test_com_after_registration():
    moved = np.random.default_rng(0).uniform(-5, 5, (len(TILT), 2))
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, moved_px=moved)
    transforms = Transforms.shifts(correlate_views(views, TILT).shift_px)
    assert com_axis(views, TILT, background=0.0, transforms=transforms).angle_deg == pytest.approx(3, abs=0.1)


def test_shifts_left_along_the_axis_do_not_turn_it():
    moved = np.random.default_rng(0).normal(0, 0.3, (len(TILT), 2)) * (0, 1)
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, moved_px=moved)
    assert com_axis(views, TILT, background=0.0).angle_deg == pytest.approx(3, abs=0.02)


def test_background_is_taken_off():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)
    stored = (views * 5000 - 31900).round().astype(np.int16)
    axis = com_axis(stored, TILT, background=-31900.0)
    assert axis.angle_deg == pytest.approx(3, abs=0.02)
    assert axis.offset_px == pytest.approx(5, abs=0.05)


@pytest.mark.parametrize("axis_deg", [87.0, -92.0, 178.0])
def test_axis_near_a_known_angle(axis_deg):
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=axis_deg, offset_px=-4.0)
    axis = com_axis(views, TILT, background=0.0, start_deg=round(axis_deg, -1))
    assert axis.angle_deg == pytest.approx(axis_deg, abs=0.01)
    assert axis.offset_px == pytest.approx(-4, abs=0.02)


def test_sides_of_a_square_series_on_its_side():
    views = particle_views(scattered(30, 1, (20, 46, 20)), TILT, (96, 96), axis_deg=90.0)
    views[:, 40:56, :2] += 5  # at the end of the axis, not beside it
    axis = com_axis(views, TILT, background=0.0, start_deg=90.0)
    assert axis.angle_deg == pytest.approx(90, abs=0.2)


def test_aligned_views_have_their_axis_upright_in_the_middle():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=6.0, offset_px=-7.0)
    matrix, shift = alignment_matrix(6.0, -7.0)
    aligned = np.array([resample(view, matrix, shift) for view in views])
    inside = np.s_[:, 10:-10, 12:-12]
    np.testing.assert_allclose(aligned[inside], particle_views(SPECIMEN, TILT, SHAPE)[inside], atol=0.02)


def test_large_views_are_binned():
    specimen = scattered(30, 1, (150, 150, 150), (8.0, 20.0))
    tilt = np.arange(-60, 61, 15.0)
    axis = com_axis(
        particle_views(specimen, tilt, (600, 640), axis_deg=3.0, offset_px=25.0), tilt, background=0.0
    )
    assert axis.angle_deg == pytest.approx(3, abs=0.01)
    assert axis.offset_px == pytest.approx(25, abs=0.05)


def test_blank_views_do_not_count():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)
    views[[0, 11]] = 0
    axis = com_axis(views, TILT, background=0.0)
    assert axis.angle_deg == pytest.approx(3, abs=0.005)
    assert axis.offset_px == pytest.approx(5, abs=0.01)


def test_threads_and_progress():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)
    done = []
    two = com_axis(views, TILT, background=0.0, threads=2, progress=done.append)
    assert two == com_axis(views, TILT, background=0.0)
    assert sum(done) == 2 * len(TILT)


@pytest.mark.parametrize("largest_deg", [30, 70])
@pytest.mark.parametrize("film", [0.0, 1.0])
def test_foil_is_refused(largest_deg, film):
    tilt = np.arange(-largest_deg, largest_deg + 1, 5.0)
    thickness = film / np.cos(np.deg2rad(tilt))[:, None, None]
    views = particle_views(FOIL, tilt, SHAPE, axis_deg=3.0) + thickness
    for background in {0.0, film}:
        with pytest.raises(ConvergenceError):
            com_axis(views, tilt, background=background)


def test_wrong_background_is_refused():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0) + 2
    with pytest.raises(ConvergenceError, match="background"):
        com_axis(views, TILT, background=0.0)


def test_changing_mass_is_refused():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=3.0)
    brightness = np.where(np.arange(len(TILT)) % 3, 1.0, 0.5)[:, None, None]
    with pytest.raises(ConvergenceError, match="10 of 29 views"):
        com_axis(views * brightness, TILT, background=0.0)


def test_axis_beyond_the_limit_is_refused():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=30.0)
    with pytest.raises(ConvergenceError, match="no tilt axis within 5° of 0°"):
        com_axis(views, TILT, background=0.0, limit_deg=5.0)


def test_noise_alone_has_no_axis():
    views = np.abs(noise(np.zeros((len(TILT), *SHAPE), np.float32), 1.0))
    for level in (0.0, float(views.mean())):
        with pytest.raises(ConvergenceError):
            com_axis(views, TILT, background=level)
    with pytest.raises(ConvergenceError, match="no lines stand out"):
        maximage_axis(views, background=0.0)


@pytest.mark.parametrize("axis_deg", [3.0, -3.0, 8.0, -7.0, 0.0])
def test_maximage_sees_the_paths_of_particles(axis_deg):
    tilt = np.arange(-70, 71, 2.0)
    views = noise(particle_views(PATHS, tilt, SHAPE, axis_deg=axis_deg, offset_px=4.0), 0.05)
    axis = maximage_axis(views, background=0.0)
    assert axis.angle_deg == pytest.approx(axis_deg, abs=0.5)
    assert np.isnan(axis.offset_px)


def test_maximage_near_a_known_angle():
    views = particle_views(PATHS, np.arange(-70, 71, 2.0), SHAPE, axis_deg=-88.0)
    axis = maximage_axis(views, background=0.0, start_deg=-90.0)
    assert axis.angle_deg == pytest.approx(-88, abs=0.5)


def test_maximage_after_registration():
    moved = np.random.default_rng(0).uniform(-6, 6, (71, 2))
    views = particle_views(PATHS, np.arange(-70, 71, 2.0), SHAPE, axis_deg=5.0, moved_px=moved)
    axis = maximage_axis(views, background=0.0, transforms=Transforms.shifts(-moved))
    assert axis.angle_deg == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("angle_deg", [0.0, 9.0, -14.0])
def test_votes_are_for_dots_in_line(angle_deg):
    rows, columns = np.mgrid[:120, :120] - 59.5
    rad = np.deg2rad(angle_deg)
    along = columns * np.cos(rad) + rows * np.sin(rad)
    height = rows * np.cos(rad) - columns * np.sin(rad)
    dots = np.exp(np.cos(2 * np.pi * height / 20) + np.cos(2 * np.pi * along / 13))
    edges = Edges.of(dots.astype(np.float32))
    angles = np.arange(-20.0, 21.0)
    assert angles[np.argmax([edges.votes(np.deg2rad(angle)) for angle in angles])] == angle_deg


def test_votes_favour_no_angle_where_nothing_is_in_line():
    image = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    edges = Edges.of(image)
    angles = np.arange(-10, 11.0)
    votes = np.array([edges.votes(np.deg2rad(angle)) for angle in angles])
    assert votes.max() < 0.01
    assert votes[angles == 0] < 1.5 * np.median(votes)


@pytest.mark.parametrize("angle_deg", [0.0, 9.0, -14.0])
def test_direction_of_stripes(angle_deg):
    rows, columns = np.mgrid[:120, :120] - 59.5
    rad = np.deg2rad(angle_deg)
    stripes = np.cos(2 * np.pi * (rows * np.cos(rad) - columns * np.sin(rad)) / 17)
    found = Edges.of(stripes.astype(np.float32)).direction(np.deg2rad(angle_deg + 3))
    assert np.rad2deg(found) == pytest.approx(angle_deg, abs=0.01)


def test_unfit_requests():
    views = particle_views(SPECIMEN, TILT, SHAPE)
    for limit_deg in (0.0, 60.0):
        with pytest.raises(UsageError, match=f"within {limit_deg:g}°"):
            com_axis(views, TILT, background=0.0, limit_deg=limit_deg)
    with pytest.raises(DataError, match="29 views but 28"):
        com_axis(views, TILT[1:], background=0.0)
    with pytest.raises(DataError, match="4 tilt angles do not determine an axis"):
        com_axis(views[:4], TILT[:4], background=0.0)
