"""Projection matching against series whose motion, tilt axis and tilts are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.registration.alignment import Alignment
from etcli.core.registration.axis_residual import axis_residual
from etcli.core.registration.matching import judge_shifts, match_views, starting_shifts
from etcli.core.registration.shifts import Shifts
from etcli.core.registration.tilt_axis import TiltAxis
from tests.series import Particles, left_over, particle_views, scattered

TILT = np.arange(-60, 61, 6.0)
N = len(TILT)
MIDDLE = N // 2
SHAPE = (32, 36)
SPECIMEN = scattered(30, 3, (7, 8, 7), (1.2, 2.0))
UPRIGHT = TiltAxis(0.0, 0.0, 0.0, 0.0, 0.0)
UNKNOWN = TiltAxis(0.0, 0.0, np.nan, np.nan, np.nan)


def jitter(amplitude=2.0, seed=0):
    return np.random.default_rng(seed).uniform(-amplitude, amplitude, (N, 2))


def at(shift_px, *, doubtful=()):
    n = len(shift_px)
    return Shifts(np.asarray(shift_px, float), np.ones(n), np.isin(np.arange(n), doubtful), np.nan)


def upright(displacement_px, axis_deg):
    """Displacements (x, y) as they are once the axis is turned upright."""
    axis = np.deg2rad(axis_deg)
    return displacement_px @ np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])


def free_terms(across_px, *, constant=True):
    """Constant, cos θ and sin θ in displacements across the axis, and what they leave."""
    tilt = np.deg2rad(TILT)
    design = np.stack([np.ones(N), np.cos(tilt), np.sin(tilt)], axis=1)[:, 0 if constant else 1 :]
    terms = np.linalg.lstsq(design, across_px)[0]
    return terms, across_px - design @ terms


MOVED = jitter()
VIEWS = particle_views(SPECIMEN, TILT, SHAPE, moved_px=MOVED)
BAD = -MOVED + jitter(seed=1)


def test_alignment_brings_the_axis_upright_to_the_middle():
    """A point 3 px up the axis, wherever views show it; steps are across and along the axis."""
    start = Alignment(-MOVED, 35.0, 4.0, TILT)
    found = start.transforms()
    seen = upright(np.array([4.0, 3.0]), -35) + MOVED
    np.testing.assert_allclose(
        (found.matrix @ seen[..., None])[..., 0] + found.shift_px, [[0, 3]] * N, atol=1e-12
    )
    step = jitter(seed=2)
    moved = start.moved(step, 1.5).transforms()
    np.testing.assert_allclose(moved.shift_px - found.shift_px, step - (1.5, 0), atol=1e-12)


@pytest.fixture(scope="module")
def matched():
    """A series matched from shifts that are wrong by 2 px, and the progress that was told."""
    done = []
    found = match_views(
        VIEWS, TILT, start=at(BAD), axis=UPRIGHT, background=0.0, iterations=8, progress=done.append
    )
    return found, done


def test_shifts_are_recovered_from_a_bad_start(matched):
    assert min(left_over(BAD, MOVED, TILT)) > 0.9
    shifts = matched[0].shifts
    assert max(left_over(shifts.shift_px, MOVED, TILT)) < 0.02
    assert shifts.quality.min() > 0.98
    assert shifts.residual_px < 0.03
    assert not shifts.doubtful.any()


def test_what_only_moves_the_specimen_stays_as_at_the_start(matched):
    """A constant across the axis moves the axis instead; the view nearest 0° stays, and the tilts do."""
    found, _ = matched
    (_, *motion), _ = free_terms((found.shifts.shift_px - BAD)[:, 0])
    np.testing.assert_allclose(motion, 0, atol=1)  # a robust fit to errors of 2 px
    (constant, *motion), _ = free_terms((found.shifts.shift_px + MOVED)[:, 0])
    assert max(map(abs, motion)) > 0.2
    assert abs(constant) > 0.2
    assert found.axis.offset_px == pytest.approx(constant, abs=0.05)
    assert found.axis.angle_deg == pytest.approx(0, abs=0.05)
    assert not found.shifts.shift_px[MIDDLE].any()
    np.testing.assert_array_equal(found.tilt_deg, TILT)


def test_progress_counts_the_rounds_that_need_not_be(matched):
    assert sum(matched[1]) == 2 * 8


def test_axis_is_found_together_with_the_shifts():
    """Nothing is known of the axis, and another view than the middle one stays."""
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=2.5, offset_px=-3.0, moved_px=MOVED)
    found = match_views(views, TILT, start=at(BAD), axis=UNKNOWN, background=0.0, reference=3)
    assert found.axis.angle_deg == pytest.approx(2.5, abs=0.06)
    left = upright(found.shifts.shift_px + MOVED, 2.5)
    assert max(left_over(left, 0, TILT)) < 0.02
    assert found.axis.offset_px == pytest.approx(-3 + free_terms(left[:, 0])[0][0], abs=0.05)
    assert found.axis.residual_px == found.shifts.residual_px < 0.03
    assert not found.shifts.shift_px[3].any()
    assert abs(found.shifts.shift_px[MIDDLE]).min() > 0.1


def test_axis_is_found_for_shifts_that_stay():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=-6.0, offset_px=2.0, moved_px=MOVED)
    roughly = replace(UNKNOWN, angle_deg=-5.0)
    how = {"axis": roughly, "background": 0.0, "free_shifts": False, "iterations": 8}
    found = match_views(views, TILT, start=at(-MOVED), **how)
    np.testing.assert_allclose(found.shifts.shift_px, MOVED[MIDDLE] - MOVED, atol=1e-12)
    assert found.axis.angle_deg == pytest.approx(-6, abs=0.05)
    assert found.axis.offset_px == pytest.approx(2 + upright(MOVED[MIDDLE], -6)[0], abs=0.05)


def test_residual_is_least_at_the_axis():
    views = particle_views(SPECIMEN, TILT, SHAPE, axis_deg=1.0, offset_px=-0.72)
    curve = axis_residual(views, TILT, background=0.0)
    np.testing.assert_allclose(curve.angle_deg, np.arange(-3, 4))
    np.testing.assert_allclose(curve.offset_px, 0.36 * np.arange(-3, 4))
    assert np.argmin(curve.by_angle) == 4
    assert np.argmin(curve.by_offset) == 1
    assert curve.by_angle[4] < 0.7 * curve.by_angle[0]
    assert curve.by_offset[1] < 0.5 * curve.by_offset[-1]


@pytest.mark.parametrize("tilt", [np.arange(-75, 76, 5.0), TILT], ids=["75°", "60°"])
def test_tilts_are_recovered_and_their_mean_kept(tilt):
    error = np.random.default_rng(5).uniform(-0.5, 0.5, len(tilt))
    error -= error.mean()
    views = particle_views(SPECIMEN, tilt + error, SHAPE)
    how = {"start": at(np.zeros((len(tilt), 2))), "axis": UPRIGHT, "background": 0.0}
    found = match_views(views, tilt, free_tilts=True, **how)
    refined = found.tilt_deg - tilt
    assert refined.mean() == pytest.approx(0, abs=1e-9)
    assert error.std() > 0.3
    assert (refined - error).std() < 0.12
    assert np.polyfit(error, refined, 1)[0] == pytest.approx(1, abs=0.15)
    assert max(left_over(found.shifts.shift_px, 0, tilt)) < 0.02


def test_dark_on_bright_integers_without_a_start():
    """The whole way of a bright-field series, from nothing but its views, tilts and background."""
    dark = np.rint(60000 - 6000 * VIEWS).astype(np.uint16)
    found = match_views(dark, TILT, background=60000.0, iterations=5)
    assert max(left_over(found.shifts.shift_px, MOVED, TILT)) < 0.02
    assert found.axis.angle_deg == pytest.approx(0, abs=0.05)
    constant = free_terms((found.shifts.shift_px + MOVED)[:, 0])[0][0]
    assert found.axis.offset_px == pytest.approx(constant, abs=0.05)


def test_start_is_near_for_a_particle_and_a_foil():
    foil = particle_views(scattered(300, 4, (60, 30, 0.5)), TILT, SHAPE, moved_px=MOVED)
    for views, background in ((VIEWS, 0.0), (VIEWS, None), (foil, 0.0)):
        start = starting_shifts(views, TILT, background=background)
        assert left_over(start.shift_px, MOVED, TILT)[0] < 0.3


def test_blank_view_is_passed_over():
    views = VIEWS.copy()
    views[14] = 0
    found = match_views(views, TILT, start=at(BAD), axis=UPRIGHT, background=0.0, iterations=5)
    np.testing.assert_array_equal(np.flatnonzero(found.shifts.doubtful), [14])
    assert found.shifts.quality[14] == 0
    good = np.arange(N) != 14
    assert max(left_over(found.shifts.shift_px[good], MOVED[good], TILT[good])) < 0.02


def test_view_of_noise_stays_about_where_it_was():
    views = VIEWS.copy()
    views[14] = abs(np.random.default_rng(0).normal(0, 1, SHAPE))
    found = match_views(views, TILT, start=at(-MOVED), axis=UPRIGHT, background=0.0, iterations=1)
    np.testing.assert_array_equal(np.flatnonzero(found.shifts.doubtful), [14])
    np.testing.assert_allclose(found.shifts.shift_px[14], MOVED[MIDDLE] - MOVED[14], atol=0.5)


def test_reference_shows_something():
    views = VIEWS.copy()
    views[MIDDLE] = 0
    found = match_views(views, TILT, start=at(-MOVED), axis=UPRIGHT, background=0.0, iterations=1)
    stays = np.flatnonzero(~found.shifts.shift_px.any(axis=1))
    assert stays.size == 1
    assert not found.shifts.doubtful[stays].any()


PERIOD = 5.0


@pytest.fixture(scope="module")
def crystal():
    """A ball of particles on a cubic lattice, no two views of which are alike."""
    lattice = PERIOD * np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3)
    sites = lattice[np.linalg.norm(lattice, axis=1) < 2.1 * PERIOD]
    sites[:, ::2] = upright(sites[:, ::2], 8.0)
    return particle_views(Particles(sites, np.full(len(sites), 1.2), np.ones(len(sites))), TILT, SHAPE)


def test_views_a_lattice_period_away_come_back(crystal):
    wrong = np.zeros((N, 2))
    wrong[[4, 10, 15]] = (0, -PERIOD), (0, PERIOD), (PERIOD, 0)
    before = judged(wrong, views=crystal).shifts
    assert before.doubtful[[4, 10, 15]].all()
    assert before.residual_px > 1
    how = {"axis": UPRIGHT, "background": 0.0, "iterations": 4}
    found = match_views(crystal, TILT, start=at(wrong), **how).shifts
    assert max(left_over(found.shift_px, 0, TILT)) < 0.03
    assert not found.doubtful.any()


def test_several_of_them_leave_the_axis_alone(crystal):
    wrong = np.zeros((N, 2))
    wrong[:4, 1] = PERIOD
    how = {"axis": UPRIGHT, "background": 0.0, "iterations": 3}
    found = match_views(crystal, TILT, start=at(wrong), **how)
    assert max(left_over(found.shifts.shift_px, 0, TILT)) < 0.05
    assert found.axis.angle_deg == pytest.approx(0, abs=0.1)


def test_specimen_cut_by_the_border_of_some_views():
    moved = np.zeros((N, 2))
    moved[[3, 12, 17]] = (8, -9), (-11, 0), (0, 9)
    views = particle_views(SPECIMEN, TILT, SHAPE, moved_px=moved)
    assert views[[3, 12, 17]].sum(axis=(1, 2)).max() < 0.985 * views[10].sum()
    found = match_views(
        views, TILT, start=at(-moved + jitter(0.5)), axis=UPRIGHT, background=0.0, iterations=5
    )
    assert max(left_over(found.shifts.shift_px, moved, TILT)) < 0.04
    assert found.axis.angle_deg == pytest.approx(0, abs=0.2)
    assert np.flatnonzero(found.shifts.doubtful).tolist() == [3, 12, 17]  # a quarter of the field away


def judged(shift_px, *, views=VIEWS, tilt=TILT, axis=UPRIGHT, doubtful=(), threads=1):
    shifts = at(shift_px, doubtful=doubtful)
    return judge_shifts(views, tilt, shifts, axis=axis, background=0.0, threads=threads)


def test_truth_is_judged_to_be_true_and_stays():
    found = judged(-MOVED)
    np.testing.assert_array_equal(found.shifts.shift_px, -MOVED)
    assert found.shifts.residual_px < 0.03
    assert found.shifts.quality.min() > 0.98
    assert not found.shifts.doubtful.any()


@pytest.mark.parametrize("size", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("direction", [0, 1])
def test_residual_is_about_the_error_put_in(size, direction):
    error = np.zeros((N, 2))
    error[:, direction] = np.random.default_rng(7).normal(0, size, N)
    _, across = free_terms(error[:, 0], constant=False)
    put_in = np.sqrt(np.mean(across**2) + np.var(error[:, 1]))
    found = judged(error - MOVED).shifts
    assert 0.9 * put_in < found.residual_px < 1.5 * put_in


def test_motion_of_the_specimen_is_no_error():
    tilt = np.deg2rad(TILT)
    motion = np.stack([0.8 * np.cos(tilt) - 0.7 * np.sin(tilt), np.full(N, -0.6)], axis=1)
    assert judged(motion - MOVED).shifts.residual_px < 0.03


def test_an_axis_that_is_given_is_held_to_account():
    aside = replace(UPRIGHT, offset_px=1.0)
    assert judged(-MOVED, axis=aside).shifts.residual_px > 0.2
    assert judged(-MOVED + (1.0, 0.0), axis=aside).shifts.residual_px < 0.03


def test_one_wrong_view_is_doubtful_and_doubts_are_kept():
    shift_px = -MOVED
    shift_px[8] += (-2, 3)
    doubtful = judged(shift_px, doubtful=[2], axis=None).shifts.doubtful
    np.testing.assert_array_equal(np.flatnonzero(doubtful), [2, 8])


def test_neither_the_sign_of_the_contrast_nor_threads_change_anything():
    shift_px = jitter(0.5) - MOVED
    plain = judged(shift_px).shifts
    for other in (judged(shift_px, views=-VIEWS), judged(shift_px, threads=2)):
        np.testing.assert_array_equal(other.shifts.quality, plain.quality)
        assert other.shifts.residual_px == plain.residual_px


def test_a_view_that_is_its_neighbour_over_again_is_doubtful():
    views = VIEWS.copy()
    views[7] = views[6]
    doubtful = judged(-MOVED, views=views).shifts.doubtful
    np.testing.assert_array_equal(np.flatnonzero(doubtful), [6, 7])


def test_views_in_any_order():
    order = np.random.default_rng(0).permutation(N)
    error = jitter(0.3)
    found = judged(error - MOVED).shifts
    mixed = judged((error - MOVED)[order], views=VIEWS[order], tilt=TILT[order]).shifts
    np.testing.assert_allclose(mixed.quality, found.quality[order], rtol=1e-5)
    assert mixed.residual_px == pytest.approx(found.residual_px, rel=1e-3)


@pytest.mark.parametrize("known", [True, False])
def test_axis_belongs_to_the_shifts_that_were_given(known):
    axis = replace(UPRIGHT, offset_px=3.0)
    found = judged(-MOVED + (3.0, -2.0), axis=axis if known else None)
    assert found.axis.offset_px == pytest.approx(3, abs=0.05)


def test_doubts_about_all_views_are_doubted():
    assert judged(-MOVED, doubtful=range(N)).shifts.residual_px < 0.03


def test_an_axis_without_an_offset_is_judged():
    assert judged(-MOVED, axis=replace(UPRIGHT, offset_px=np.nan)).shifts.residual_px < 0.03


def test_unfit_requests():
    with pytest.raises(UsageError, match="reference view 22 asked for, but there are 21"):
        match_views(VIEWS, TILT, reference=N)
    with pytest.raises(UsageError, match="reference view 0 asked for"):
        match_views(VIEWS, TILT, reference=-1)
    with pytest.raises(UsageError, match="at least one iteration, not 0"):
        match_views(VIEWS, TILT, iterations=0)


HOW = {"axis": UPRIGHT, "background": 0.0}
START = at(-MOVED)
WORK = {
    "match": lambda views, tilt: match_views(views, tilt, start=START, **HOW),
    "match without a start": match_views,
    "judge": lambda views, tilt: judge_shifts(views, tilt, START, **HOW),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_unfit_data(work):
    with pytest.raises(DataError, match="21 views but 20 tilt angles"):
        work(VIEWS, TILT[:-1])
    with pytest.raises(DataError, match=r"nothing in common|show nothing"):
        work(np.zeros_like(VIEWS), TILT)
    for value in (np.nan, np.inf):
        views = VIEWS.copy()
        views[4, 20, 20] = value
        with pytest.raises(DataError, match="view 5 holds values that are not finite"):
            work(views, TILT)


def test_shifts_of_another_series_are_refused():
    with pytest.raises(DataError, match="21 views but 5 shifts"):
        judged(np.zeros((5, 2)))
