"""The tilt axis about which slices are sharpest, for specimens that no view shows wholly."""

from functools import partial

import numpy as np
import pytest

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration import sharpness
from etcli.core.registration.tilt_axis import TiltAxis, com_axis
from etcli.core.registration.transforms import Transforms
from tests.series import Particles, particle_views, scattered

TILT = np.arange(-68, 69, 4.0)
SHAPE = (72, 88)
FEW = Particles(
    np.array([[9, 22, -6], [-14, -21, 3], [3, 2, 10], [-16, 12, -2], [18, -12, 1.0]]),
    np.full(5, 2.0),
    np.ones(5),
)
sum_axis = partial(sharpness.sum_axis, limit_deg=6.0)


def foil_views(seed):
    foil = scattered(250, seed, (260, 60, 4), (1.0, 2.2))
    return particle_views(foil, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)


few_views = partial(particle_views, FEW, TILT, SHAPE, axis_deg=3.0, offset_px=5.0)


@pytest.fixture(scope="module")
def foil():
    return foil_views(0)


def assert_at(axis, angle_deg, offset_px):
    assert axis.angle_deg == pytest.approx(angle_deg, abs=0.03)
    assert axis.offset_px == pytest.approx(offset_px, abs=0.02)


@pytest.mark.parametrize("axis_deg, offset_px", [(3.0, -5.0), (-4.0, 2.5)])
def test_few_particles_tell_it_exactly(axis_deg, offset_px):
    axis = sum_axis(few_views(axis_deg=axis_deg, offset_px=offset_px), TILT)
    assert isinstance(axis, TiltAxis)
    assert_at(axis, axis_deg, offset_px)
    assert axis.angle_sigma_deg < 0.05
    assert axis.offset_sigma_px < 0.02
    assert np.isnan(axis.residual_px)
    search = axis.search
    for at, value, best in (
        (search.angle_deg, search.angle_value, axis_deg),
        (search.offset_px, search.offset_value, offset_px),
    ):
        assert at[np.argmax(value)] == pytest.approx(best, abs=1)
        assert value.max() == pytest.approx(1, abs=0.02)
        assert value[[0, -1]].max() < 0.95


def test_foil_beyond_the_views(foil):
    with pytest.raises(ConvergenceError):
        com_axis(foil, TILT, background=0.0)
    noise = np.random.default_rng(0).normal(0, 0.2, foil.shape).astype(np.float32)
    axes = [sum_axis(views, TILT) for views in (foil, foil_views(1), foil_views(2), foil_views(3) + noise)]
    error = np.array([[axis.angle_deg - 3, axis.offset_px - 5] for axis in axes])
    sigma = np.array([[axis.angle_sigma_deg, axis.offset_sigma_px] for axis in axes])
    assert (np.abs(error) < [0.35, 0.25]).all()
    # The errors are about as large as they are said to be.
    relative = np.sqrt(np.mean((error / sigma) ** 2, axis=0))
    assert ((relative > 0.3) & (relative < 3)).all()


def test_dark_particles_in_a_film():
    film = 20 / np.cos(np.deg2rad(TILT)).astype(np.float32)[:, None, None]
    assert_at(sum_axis(film - few_views() - 500, TILT), 3, 5)


def test_displaced_and_blank_views():
    moved = np.random.default_rng(0).uniform(-4, 4, (len(TILT), 2))
    views = few_views(moved_px=moved)
    views[[0, 11]] = 0
    assert_at(sum_axis(views, TILT, transforms=Transforms.shifts(-moved)), 3, 5)


def test_a_specimen_elsewhere_turns_about_the_same_axis():
    tilt = np.deg2rad(TILT)
    moved = np.stack([3 * np.cos(tilt) - 5 * np.sin(tilt), np.full(len(TILT), 2.0)], axis=1)
    assert_at(sum_axis(few_views(axis_deg=0.0, moved_px=moved), TILT), 0, 5)


@pytest.mark.parametrize("quarters", [1, -1])
def test_axis_on_its_side(quarters):
    turned = np.rot90(few_views(), -quarters, axes=(1, 2))  # rows count upwards: counter-clockwise
    assert_at(sum_axis(turned, TILT, start_deg=90.0 * quarters), 3 + 90 * quarters, 5)


def test_large_views_are_binned():
    tilt = np.arange(-70, 71, 10.0)
    large = Particles(4 * FEW.place, 4 * FEW.sigma, FEW.height)
    axis = sum_axis(particle_views(large, tilt, (290, 350), axis_deg=3.0, offset_px=31.0), tilt)
    assert axis.angle_deg == pytest.approx(3, abs=0.03)
    assert axis.offset_px == pytest.approx(31, abs=0.05)


def test_threads_and_progress():
    views, done = few_views(), []
    assert sum_axis(views, TILT, threads=2, progress=done.append) == sum_axis(views, TILT)
    assert sum(done) == len(TILT)


def test_axis_beyond_a_limit_is_refused(foil):
    far = few_views(axis_deg=9.0)
    with pytest.raises(ConvergenceError, match="no tilt axis within 6° of 0° and 11 px"):
        sum_axis(far, TILT)
    with pytest.raises(ConvergenceError, match="and 3 px of the middle"):
        sum_axis(foil, TILT, limit_px=3.0)


def test_noise_alone_has_no_axis():
    noise = np.random.default_rng(0).normal(size=(len(TILT), *SHAPE)).astype(np.float32)
    with pytest.raises(ConvergenceError):
        sum_axis(noise, TILT)
    with pytest.raises(ConvergenceError):
        sum_axis(np.zeros_like(noise), TILT)


def test_few_degrees_do_not_tell_it(foil):
    few = np.abs(TILT) < 14
    with pytest.raises(ConvergenceError):
        sum_axis(foil[few], TILT[few])


def test_unfit_requests(foil):
    with pytest.raises(UsageError, match="within 60°"):
        sum_axis(foil, TILT, limit_deg=60.0)
    for limit_px in (0.0, 45.0):
        with pytest.raises(UsageError, match=f"within {limit_px:g} px"):
            sum_axis(foil, TILT, limit_px=limit_px)
    with pytest.raises(DataError, match="4 tilt angles do not determine an axis"):
        sum_axis(foil[:4], TILT[:4])
    with pytest.raises(DataError, match="20 x 72 pixels"):
        sum_axis(foil[:, :, :20], TILT)
    broken = foil.copy()
    broken[3, 5, 5] = np.nan
    with pytest.raises(DataError, match="view 4 holds values that are not finite"):
        sum_axis(broken, TILT)
