"""Projection matching: a series is aligned to what its own reconstruction predicts, from coarse to fine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.reprojection import Misfit, reproject
from etcli.core.registration.scales import NEAR_PX, Alignment, Scale, Series, Verdict, alike, unexplained
from etcli.core.registration.shifts import Shifts, checked_tilts
from etcli.core.registration.tilt_axis import TiltAxis, com_axis
from etcli.core.registration.transforms import Transforms, Views

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]
Progress = Callable[[int], None]

SIZES_PX = 48, 96, 192  # that views are binned to, one after the other
CURVE_PX = 64
JUDGED_PX = 96  # the largest size for what takes many reconstructions
SETTLED_PX = 0.02
MIXED = 4  # rounds that the acceleration looks back on
JUDGING_ROUNDS = 6
ANGLE_STEPS_DEG = 1.0, 0.4
HALF_DEG = 0.5
LARGEST_TURN_DEG = 1.0  # of a tilt angle in one round
ELSEWHERE_PX = 1.5  # a displacement by which a left-out view fits better is another place, not a refinement
REPAIRS = 2
MOST_DOUBTFUL = 0.5  # of the views, or the doubts themselves are doubtful
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Matched:
    """What projection matching found.

    Parameters
    ----------
    shifts : Shifts
        The quality is the correlation of a view's details with what other views predict for it. The residual
        is the root mean square displacement from that, and half of the one between two halves of the rows.
    axis : TiltAxis
        The tilt axis of the shifted views.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles, refined where that was asked for.
    """

    shifts: Shifts
    axis: TiltAxis
    tilt_deg: Float


def match_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    start: Shifts | None = None,
    axis: TiltAxis | None = None,
    free_shifts: bool = True,
    free_tilts: bool = False,
    reference: int | None = None,
    background: float | None = None,
    iterations: int = 12,
    threads: int = 1,
    progress: Progress | None = None,
) -> Matched:
    """Align a tilt series to reprojections of its reconstruction.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    start : Shifts, optional
        Shifts to start from; those of `starting_shifts` when not given.
    axis : TiltAxis, optional
        Tilt axis to start from; when not given, found from the centre of mass, or taken to be upright.
    free_shifts, free_tilts : bool
        Whether shifts and tilt angles are refined; the axis always is.
    reference : int, optional
        View that stays where it is, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level of the empty surroundings. When not given, 1 % of all pixels are taken to be darker.
    iterations : int
        Most rounds at each of three scales.
    threads : int
        Threads to work with.
    progress : callable, optional
        Called with the number of rounds that are done or need not be, 3 `iterations` in all.

    Returns
    -------
    Matched

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or the views have nothing in common.
    UsageError
        If the reference or a number is unfit.

    Notes
    -----
    In each round a volume is reconstructed from all views that can be trusted, projected at every tilt, and
    each view moved to where it correlates best with its projection. What moves the specimen as a whole stays
    as it was at the start: a constant along the axis, cos θ and sin θ across it; a constant across it moves
    the axis. Views are binned to 48, 96 and 192 px in turn. The rounds at each scale are accelerated by
    Anderson's mixing and end when no view moves by more than 0.02 px. The angle of the axis is the one at
    which the prediction fits the views best.

    The density is kept positive unless the specimen reaches the sides of the views. Then it is free, only
    what is smaller than some binned pixels is matched, and the angle stays as it was. Pixels that a view does
    not have are taken from its prediction, so that no border moves with it.

    At the end every sixth view is left out of the reconstruction that it is compared with, within a quarter
    of the field: a view that fits better elsewhere, such as one lattice period away, goes there.

    References
    ----------
    P. A. Penczek, R. A. Grassucci, J. Frank, Ultramicroscopy 53, 251 (1994),
    doi:10.1016/0304-3991(94)90038-8.
    D. G. Anderson, J. ACM 12, 547 (1965), doi:10.1145/321296.321305.
    """
    tilt = checked_tilts(views, tilt_deg)
    if reference is not None and not 0 <= reference < len(tilt):
        raise UsageError(f"reference view {reference + 1} asked for, but there are {len(tilt)}")
    if iterations < 1:
        raise UsageError(f"matching needs at least one iteration, not {iterations}")
    start = start or starting_shifts(views, tilt, background=background, threads=threads)
    series = Series(views, background, threads)
    rounds = _Rounds(free_shifts, free_tilts, iterations, progress or _unheard)
    alignment, axis, verdict = _followed(series, tilt, start, axis, rounds, SIZES_PX)
    if reference is None:
        reference = int(np.argmin(np.abs(tilt)))
    return _matched(alignment, axis, verdict, reference)


def judge_shifts(
    views: Views,
    tilt_deg: ArrayLike,
    shifts: Shifts,
    *,
    axis: TiltAxis | None = None,
    background: float | None = None,
    threads: int = 1,
) -> Matched:
    """Compare a registered series with reprojections of its reconstruction, whatever registered it.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`.
    shifts : Shifts
        By any method; they stay as they are.
    axis : TiltAxis, optional
        Tilt axis of the shifted views, which stays; found when not given.

    Returns
    -------
    Matched
        Quality, doubts and residual are those of the comparison; doubts about the shifts are kept.

    Raises
    ------
    DataError
        If a view holds NaN or the views have nothing in common.
    """
    tilt = checked_tilts(views, tilt_deg)
    series = Series(views, background, threads)
    reference = int(np.argmin(np.hypot(*shifts.shift_px.T)))
    if axis is None:
        rounds = _Rounds(False, False, JUDGING_ROUNDS, _unheard)
        judged = _matched(*_followed(series, tilt, shifts, None, rounds, SIZES_PX[:2]), reference)
    else:
        alignment = Alignment(shifts.shift_px, axis.angle_deg, axis.offset_px, tilt)
        judge = series.level(series.factor(JUDGED_PX))
        verdict = judge.left_out(alignment, ~shifts.doubtful, free_offset=False)
        judged = _matched(alignment, axis, verdict, reference)
    kept = replace(judged.shifts, shift_px=shifts.shift_px, doubtful=judged.shifts.doubtful | shifts.doubtful)
    return replace(judged, shifts=kept)


@dataclass(frozen=True, eq=False)
class AxisResidual:
    """How well the reconstruction explains a series, against angle and offset of the axis.

    Parameters
    ----------
    angle_deg, by_angle : ndarray of shape (n_angles,), float64
        Angles from the axis of the series, and the relative norm of what is not explained there.
    offset_px, by_offset : ndarray of shape (n_offsets,), float64
        Offsets likewise.
    """

    angle_deg: Float
    by_angle: Float
    offset_px: Float
    by_offset: Float


def axis_residual(
    views: Views, tilt_deg: ArrayLike, *, background: float | None = None, threads: int = 1
) -> AxisResidual:
    """Try axes around that of an aligned series.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`; the tilt axis upright in the middle.

    Returns
    -------
    AxisResidual
        Within 3° and within 3 % of the width.

    Raises
    ------
    DataError
        If counts differ or a view holds NaN.
    """
    tilt = checked_tilts(views, tilt_deg)
    series = Series(views, background, threads)
    scale = series.level(series.factor(CURVE_PX))
    straight = Alignment(np.zeros((len(tilt), 2)), 0.0, 0.0, tilt)
    angle_deg = np.linspace(-3, 3, 7)
    offset_px = np.linspace(-0.03, 0.03, 7) * views.shape[2]
    everything = np.ones(len(tilt), bool)

    def residual(**axis: Any) -> float:
        return float(np.sqrt(scale.residual(replace(straight, **axis), everything)))

    by_angle = np.array([residual(angle_deg=angle) for angle in angle_deg])
    by_offset = np.array([residual(offset_px=offset) for offset in offset_px])
    return AxisResidual(angle_deg, by_angle, offset_px, by_offset)


def _unheard(_: int) -> None:
    """Tell nobody how far the work is."""


def _followed(
    series: "Series",
    tilt: Float,
    start: Shifts,
    axis: TiltAxis | None,
    rounds: "_Rounds",
    sizes_px: tuple[int, ...],
) -> tuple[Alignment, TiltAxis, "Verdict"]:
    """Align from coarse to fine, and compare the result with views left out."""
    axis = axis or _starting_axis(series, tilt, start)
    alignment = Alignment(start.shift_px, axis.angle_deg, float(np.nan_to_num(axis.offset_px)), tilt)
    sure = bool(np.mean(start.doubtful) <= MOST_DOUBTFUL)
    trusted: Bool = np.logical_not(start.doubtful) if sure else np.greater(start.quality, 0)
    judge = series.level(series.factor(JUDGED_PX))
    factors = [series.factor(size) for size in sizes_px]
    known = not np.isnan(axis.angle_sigma_deg)
    for factor in factors:
        if factor > judge.factor and not judge.positive:
            continue  # the little that is left of coarse views without their body would lead astray
        level = judge if factor == judge.factor else series.level(factor)
        reach_px = min(level.shape) // 4 if factor > judge.factor else NEAR_PX
        alignment, trusted = rounds.settle(level, alignment, trusted, reach_px)
        if level.positive and (factor == judge.factor or (factor > judge.factor and not known)):
            alignment = level.turned(alignment, trusted, ANGLE_STEPS_DEG[known:])
    verdict = judge.left_out(alignment, trusted)
    for _ in range(REPAIRS):
        elsewhere = np.abs(verdict.step_px).max(axis=1) > ELSEWHERE_PX * judge.factor
        if not (rounds.free_shifts and elsewhere.any()):
            break
        alignment = alignment.moved(np.where(elsewhere[:, np.newaxis], verdict.step_px, 0))
        unheard = replace(rounds, progress=_unheard)
        alignment, trusted = unheard.settle(judge, alignment, trusted, NEAR_PX)
        verdict = judge.left_out(alignment, trusted)
    return alignment, axis, verdict


def starting_shifts(
    views: Views, tilt_deg: ArrayLike, *, background: float | None = None, threads: int = 1
) -> Shifts:
    """Find shifts that are good enough to start from.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`.

    Returns
    -------
    Shifts
        From common lines; from correlation where the specimen does not lie wholly inside the views.
    """
    if background is not None:
        try:
            return common_line_views(views, tilt_deg, background=background, threads=threads)
        except (ConvergenceError, DataError):
            pass
    return correlate_views(views, tilt_deg, background=background, threads=threads)


def _starting_axis(series: "Series", tilt_deg: Float, start: Shifts) -> TiltAxis:
    """Find the axis of the shifted views from the centre of mass, or take it to be upright and central."""
    upright = TiltAxis(0.0, 0.0, np.nan, np.nan, np.nan)
    if series.background is None:
        return upright
    try:
        return com_axis(
            series.views,
            tilt_deg,
            background=series.background,
            transforms=Transforms.shifts(start.shift_px),
            threads=series.threads,
        )
    except (ConvergenceError, DataError):
        return upright


def _matched(alignment: Alignment, axis: TiltAxis, verdict: "Verdict", reference: int) -> Matched:
    """Let the reference stay where it is, which moves the axis, and gather the rest."""
    back = -alignment.shift_px[reference]
    across = float(Transforms.rotation(alignment.angle_deg, 1).matrix[0, 0] @ back)
    shifts = Shifts(alignment.shift_px + back, verdict.quality, verdict.doubtful, verdict.residual_px)
    found = replace(
        axis,
        angle_deg=alignment.angle_deg,
        offset_px=alignment.offset_px + across,
        residual_px=verdict.residual_px,
    )
    return Matched(shifts, found, alignment.tilt_deg)


@dataclass(frozen=True)
class _Rounds:
    """Reconstruct, project, move, until nothing moves."""

    free_shifts: bool
    free_tilts: bool
    iterations: int
    progress: Progress

    def settle(
        self, level: Scale, alignment: Alignment, trusted: Bool, reach_px: int
    ) -> tuple[Alignment, Bool]:
        """Return the alignment at which views and predictions agree, and which views are like theirs."""
        predicted: Image | None = None
        places: list[Float] = []
        steps: list[Float] = []
        for done in range(1, self.iterations + 1):
            views, shown = level.aligned(alignment, None if predicted is None else predicted[0])
            predicted = reproject(
                views,
                alignment.tilt_deg,
                groups=[(np.flatnonzero(trusted), np.arange(len(views)))],
                positive=level.positive,
                turns_deg=(0.0, -HALF_DEG, HALF_DEG) if self.free_tilts else (0.0,),
                threads=level.threads,
            )
            misfits = level.compared(views, shown, predicted, reach_px)
            quality = np.array([misfit.quality for misfit in misfits])
            trusted = alike(quality, alignment.tilt_deg)
            measured = -level.factor * np.array([misfit.displacement_px for misfit in misfits])
            step, offset = unexplained(measured, alignment.tilt_deg, trusted)
            if not self.free_shifts:
                step[:] = 0
            places.append(np.append(alignment.shift_px, alignment.offset_px))
            wanted = alignment.moved(step, offset)
            steps.append(np.append(wanted.shift_px, wanted.offset_px) - places[-1])
            mixed = places[-1] + _accelerated(places, steps, most=2 * level.factor)
            alignment = replace(alignment, shift_px=mixed[:-1].reshape(-1, 2), offset_px=float(mixed[-1]))
            if self.free_tilts:
                alignment = replace(alignment, tilt_deg=_turned_tilts(alignment.tilt_deg, misfits, trusted))
            self.progress(1)
            if np.abs(steps[-1]).max() < SETTLED_PX:
                self.progress(self.iterations - done)
                break
        return alignment, trusted


def _accelerated(places: list[Float], steps: list[Float], *, most: float) -> Float:
    """Return the step that Anderson's mixing makes of the last few, at most so far in one number."""
    plain, past = steps[-1], min(len(steps) - 1, MIXED)
    if not past or np.abs(plain).max() > 2 * most:
        return plain
    moved = np.stack([places[-i] - places[-i - 1] for i in range(1, past + 1)], axis=1)
    change = np.stack([steps[-i] - steps[-i - 1] for i in range(1, past + 1)], axis=1)
    share = np.linalg.lstsq(change, plain, rcond=1e-3)[0]
    return np.clip(plain - (moved + change) @ share, -most, most)


def _turned_tilts(tilt_deg: Float, misfits: list[Misfit], trusted: Bool) -> Float:
    """Return tilt angles refined by what each view says, with the mean of all kept."""
    turn = np.where(trusted, [misfit.turn_deg for misfit in misfits], 0)
    turn = np.clip(turn, -LARGEST_TURN_DEG, LARGEST_TURN_DEG)
    return np.asarray(tilt_deg + turn - turn.mean())
