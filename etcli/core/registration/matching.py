"""Projection matching: align a series to reprojections of its own reconstruction, from coarse to fine."""

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration.alignment import Alignment
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.masked_views import MaskedViews
from etcli.core.registration.matching_rounds import Progress, Rounds, no_progress
from etcli.core.registration.matching_scale import NEAR_PX, MatchingScale, SeriesPyramid, Verdict
from etcli.core.registration.shifts import Shifts, checked_tilts
from etcli.core.registration.tilt_axis import FEWEST_TILTS, TiltAxis, com_axis
from etcli.core.registration.transforms import Transforms, Views, lies_along_x
from etcli.core.registration.view_order import Order

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

COARSE_PX, FINE_PX = 64, 192  # sizes that views are binned to, one after the other
# binned further, views favour angles that are wrong by some hundredths of a degree, and show no atoms
ANGLE_PX = 96
JUDGING_ROUNDS, ROUGH_ROUNDS = 8, 5
ANGLE_STEPS_DEG = 1.0, 0.4
REPAIRS = 2
FARTHEST_AXIS = 0.25  # of the width, from the middle
VERTICAL = TiltAxis(0.0, 0.0, np.nan, np.nan, np.nan)
MOST_DOUBTFUL = 0.5  # of the views; if more are doubtful, the doubts are ignored


@dataclass(frozen=True, eq=False)
class Matched:
    """Result of a comparison with reprojections: shifts, tilt axis and tilt angles.

    Parameters
    ----------
    shifts : Shifts
        The quality is the correlation of a view's details with its prediction from other views. The residual
        combines the root mean square displacement from the prediction, and half of that between two halves of
        the rows.
    axis : TiltAxis
        The tilt axis of the shifted views.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles, refined if that was requested.
    order : Order
        Whether the views agree with the order of their tilt angles.
    from_known : bool
        Whether the axis is one that was known before and that the views confirm, instead of the result of a
        search.
    """

    shifts: Shifts
    axis: TiltAxis
    tilt_deg: Float
    order: Order = Order.AS_STATED
    from_known: bool = False


def match_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    start: Shifts | None = None,
    axis: TiltAxis | None = None,
    before: Transforms | None = None,
    free_shifts: bool = True,
    free_tilts: bool = False,
    reference: int | None = None,
    background: float | None = None,
    shown: Bool | None = None,
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
        Tilt axis to start from; when not given, found from the centre of mass, or assumed to be vertical.
    before : Transforms, optional
        Transforms that make the axis roughly vertical, if it is not vertical in the views.
    free_shifts, free_tilts : bool
        Whether shifts and tilt angles are refined; the axis always is.
    reference : int, optional
        View that is not shifted, counted from 0; when not given, the one nearest 0° that is not doubtful.
    background : float, optional
        Level of the empty surroundings; when not given, the first percentile of all pixels.
    shown : ndarray of shape (ny, nx), bool, optional
        The pixels of the views to reconstruct and compare; the others count as not seen.
    iterations : int
        Maximum number of rounds at each of two scales.
    threads : int
        Number of threads.
    progress : callable, optional
        Called with the number of rounds that are done or no longer needed, 2 `iterations` in all.

    Returns
    -------
    Matched
        With fewer than five tilt angles, the shifts are those of the start and are not compared with
        anything.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or the views have nothing in common.
    UsageError
        If the reference or a number is out of range.
    ConvergenceError
        If the shifts are fixed and no angle of the axis fits best, or the specimen reaches the sides of the
        views.

    Notes
    -----
    In each round a volume is reconstructed from all views that can be trusted and projected at every tilt,
    and each view is moved to where it correlates best with its projection. The position of the specimen as a
    whole stays about the same as at the start: steps that are constant along the axis, or proportional to cos
    θ or sin θ across it, are removed; a constant across the axis moves the axis. Views are binned to 64 and
    then to 192 px. The rounds at each scale are accelerated by Anderson's mixing and end when no view
    moves by more than 0.005 binned pixels. The angle of the axis is the one at which the predictions fit the
    views best.

    If the specimen reaches the sides of all views, the parts outside would bias the shifts: those of the
    start are kept, and compared by structures smaller than some binned pixels. Pixels that a view does not
    show are taken from its prediction, so that no border moves with it.

    At the end every sixth view is left out of the reconstruction that it is compared with, within a quarter
    of the field: a view that fits better elsewhere, such as one lattice period away, is moved there.

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
    masked = None if shown is None else MaskedViews(views, shown, level=background)
    if start is None:
        start = starting_shifts(views, tilt, background=background, masked=masked, threads=threads)
        # The reference of these shifts may be a view with the specimen half outside.
        start = replace(start, shift_px=start.shift_px - np.median(start.shift_px, axis=0))
    _check_shifts(start, len(tilt))
    if len(np.unique(tilt)) < FEWEST_TILTS:
        fixed = int(np.argmin(np.abs(tilt))) if reference is None else reference
        return _without_comparison(replace(start, shift_px=start.shift_px - start.shift_px[fixed]), tilt)
    lying = before is not None and lies_along_x(before.turned_deg)
    series = SeriesPyramid(views, background, threads, lying, masked)
    if masked is not None and axis is None:
        axis = VERTICAL  # the centre of mass is that of a part
    rounds = Rounds(iterations, free_shifts, free_tilts, progress or no_progress, converged=not free_shifts)
    alignment, verdict, axis_is_known = _align_coarse_to_fine(series, tilt, start, axis, rounds, before)
    if reference is None:
        certain = verdict.alike & ~verdict.doubtful
        candidates = np.flatnonzero(certain if certain.any() else verdict.alike)
        reference = int(candidates[np.argmin(np.abs(tilt[candidates]))])
    elif not verdict.alike[reference]:
        raise UsageError(
            f"reference view {reference + 1} does not match its prediction from other views; choose another"
        )
    # The shift of the reference is zero, which moves the axis.
    across = Transforms.rotation(alignment.angle_deg, 1).matrix[0, 0] @ alignment.shift_px[reference]
    alignment = replace(
        alignment,
        shift_px=alignment.shift_px - alignment.shift_px[reference],
        offset_px=float(alignment.offset_px - across),
    )
    shifts = Shifts(
        alignment.shift_px, verdict.quality, verdict.doubtful, verdict.residual_px, verdict.step_px
    )
    axis = _final_axis(alignment, verdict, axis_is_known)
    order = series.level(series.factor(ANGLE_PX)).order(alignment, verdict.agreed)
    return Matched(shifts, axis, alignment.tilt_deg, order)


def match_roughly(views: Views, tilt_deg: Float, *, size_px: int, threads: int = 1) -> Verdict:
    """Align a series at one coarse scale, with the axis of its centre of mass, and compare left-out views.

    Parameters
    ----------
    views, tilt_deg, threads
        As for `match_views`.
    size_px : int
        Views are binned to this size.

    Returns
    -------
    Verdict

    Raises
    ------
    DataError, ConvergenceError
        If the views have nothing in common.
    """
    start = starting_shifts(views, tilt_deg, threads=threads)
    start = replace(start, shift_px=start.shift_px - np.median(start.shift_px, axis=0))
    series = SeriesPyramid(views, None, threads)
    scale = series.level(series.factor(size_px))
    axis = _starting_axis(scale, tilt_deg, start)
    alignment = Alignment(start.shift_px, axis.angle_deg, float(np.nan_to_num(axis.offset_px)), tilt_deg)
    trusted = _first_trusted(start)
    if scale.positive:
        alignment, trusted = Rounds(ROUGH_ROUNDS).iterate(scale, alignment, trusted, min(scale.shape) // 4)
    return scale.compare_left_out(alignment, trusted)


def judge_shifts(
    views: Views,
    tilt_deg: ArrayLike,
    shifts: Shifts,
    *,
    axis: TiltAxis | None = None,
    background: float | None = None,
    threads: int = 1,
) -> Matched:
    """Compare a series, registered by any method, with reprojections of its reconstruction.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`.
    shifts : Shifts
        Shifts by any method; they are not changed.
    axis : TiltAxis, optional
        Tilt axis of the shifted views, which is not changed; when not given, that of the centre of mass, with
        its offset refined.

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
    _check_shifts(shifts, len(tilt))
    if len(np.unique(tilt)) < FEWEST_TILTS:
        return _without_comparison(shifts, tilt)
    series = SeriesPyramid(views, background, threads)
    judge = series.level(series.factor(COARSE_PX))
    free_offset = axis is None or bool(np.isnan(axis.offset_px))
    axis_is_known = axis is not None
    if axis is None:
        axis = _starting_axis(judge, tilt, shifts)
        axis_is_known = np.isfinite(axis.angle_sigma_deg)
    alignment = Alignment(shifts.shift_px, axis.angle_deg, float(np.nan_to_num(axis.offset_px)), tilt)
    trusted = _first_trusted(shifts)
    if free_offset and judge.positive:
        alignment, trusted = Rounds(JUDGING_ROUNDS, free_shifts=False).iterate(
            judge, alignment, trusted, NEAR_PX
        )
    verdict = judge.compare_left_out(alignment, trusted, free_offset=free_offset)
    doubtful = verdict.doubtful | shifts.doubtful
    judged = Shifts(shifts.shift_px, verdict.quality, doubtful, verdict.residual_px, verdict.step_px)
    order = series.level(series.factor(ANGLE_PX)).order(alignment, verdict.agreed)
    return Matched(judged, _final_axis(alignment, verdict, axis_is_known), tilt, order)


def _align_coarse_to_fine(
    series: SeriesPyramid,
    tilt: Float,
    start: Shifts,
    axis: TiltAxis | None,
    rounds: Rounds,
    before: Transforms | None,
) -> tuple[Alignment, Verdict, bool]:
    """Align from coarse to fine and compare left-out views; return also whether the axis is known."""
    judge = series.level(series.factor(COARSE_PX))
    axis = axis or _starting_axis(judge, tilt, start)
    offset_px = float(np.nan_to_num(axis.offset_px))
    alignment = Alignment(start.shift_px, axis.angle_deg, offset_px, tilt, before)
    trusted = _first_trusted(start)
    if not (judge.positive or rounds.free_shifts):
        raise ConvergenceError("the specimen reaches the sides of the views; use another method")
    if not judge.positive:  # parts of the specimen outside the views would bias the shifts
        rounds.progress(2 * rounds.iterations)
        return alignment, judge.compare_left_out(alignment, trusted), False
    alignment, trusted = rounds.iterate(judge, alignment, trusted, min(judge.shape) // 4)
    quiet = replace(rounds, progress=no_progress)

    def refine_angle(alignment: Alignment, steps_deg: tuple[float, ...], size_px: int) -> Alignment:
        with suppress(ConvergenceError) if rounds.free_shifts else nullcontext():
            return series.level(series.factor(size_px)).refine_angle(
                alignment, trusted, steps_deg, free_shifts=rounds.free_shifts
            )
        return alignment

    axis_is_known = bool(np.isfinite(axis.angle_sigma_deg))
    if not axis_is_known:
        alignment = refine_angle(alignment, ANGLE_STEPS_DEG, COARSE_PX)
        axis_is_known = alignment.angle_deg != axis.angle_deg
        alignment, trusted = quiet.iterate(judge, alignment, trusted, NEAR_PX)
    alignment = refine_angle(alignment, ANGLE_STEPS_DEG[1:], ANGLE_PX)
    fine = series.level(series.factor(FINE_PX))
    alignment, trusted = rounds.iterate(fine, alignment, trusted, NEAR_PX)
    rounds = quiet
    axis_rounds = replace(rounds, free_shifts=False, free_tilts=False, converged=True)

    def finish(alignment: Alignment, trusted: Bool) -> tuple[Alignment, Verdict]:
        if rounds.free_shifts:
            alignment, _ = axis_rounds.iterate(judge, alignment, trusted, NEAR_PX)
        return alignment, judge.compare_left_out(alignment, trusted)

    alignment, verdict = finish(alignment, trusted)
    for _ in range(REPAIRS):
        elsewhere = verdict.elsewhere & rounds.free_shifts
        if not elsewhere.any():
            break
        alignment = alignment.moved(np.where(elsewhere[:, np.newaxis], verdict.step_px, 0))
        alignment, trusted = rounds.iterate(judge, alignment, trusted | elsewhere, NEAR_PX)
        with suppress(ConvergenceError):
            alignment = judge.refine_angle(alignment, trusted, ANGLE_STEPS_DEG, free_shifts=True)
        alignment, trusted = rounds.iterate(judge, alignment, trusted, NEAR_PX)
        alignment, verdict = finish(alignment, trusted)
    return alignment, verdict, axis_is_known


def _without_comparison(shifts: Shifts, tilt_deg: Float) -> Matched:
    """Return the shifts without a comparison, for a series of too few views."""
    unknown = TiltAxis(np.nan, np.nan, np.nan, np.nan, np.nan)
    return Matched(replace(shifts, residual_px=np.nan), unknown, tilt_deg)


def _first_trusted(start: Shifts) -> Bool:
    """Return a mask of the views that the first reconstruction uses."""
    few_doubtful = bool(np.mean(start.doubtful) <= MOST_DOUBTFUL)
    trusted: Bool = np.logical_not(start.doubtful) if few_doubtful else np.greater(start.quality, 0)
    return trusted if trusted.any() else np.ones_like(trusted)


def _check_shifts(shifts: Shifts, n_views: int) -> None:
    """Raise DataError unless there is one shift per view."""
    if len(shifts.shift_px) != n_views:
        raise DataError(f"{n_views} views but {len(shifts.shift_px)} shifts; one per view is needed")


def starting_shifts(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    background: float | None = None,
    masked: MaskedViews | None = None,
    threads: int = 1,
) -> Shifts:
    """Find shifts that projection matching can start from.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`.
    masked : MaskedViews, optional
        The views, if only a part of them is compared.

    Returns
    -------
    Shifts
        From common lines, or from correlation if the specimen does not lie between the sides of the views, or
        only a part of it is compared.
    """
    if masked is not None:
        region, seen = masked.region, cast(Views, masked)
        return correlate_views(seen, tilt_deg, background=background, region=region, threads=threads)
    if background is not None:
        try:
            return common_line_views(views, tilt_deg, background=background, threads=threads)
        except (ConvergenceError, DataError):
            pass
    return correlate_views(views, tilt_deg, background=background, threads=threads)


def _starting_axis(scale: MatchingScale, tilt_deg: Float, start: Shifts) -> TiltAxis:
    """Find the axis of the shifted views from the centre of mass, or assume it to be vertical and central."""
    if not scale.positive:
        return VERTICAL
    moved = Transforms.shifts(start.shift_px / scale.factor)
    try:
        axis = com_axis(scale.images, tilt_deg, background=0.0, transforms=moved)
    except (ConvergenceError, DataError):
        return VERTICAL
    if abs(axis.offset_px) > FARTHEST_AXIS * scale.shape[1]:
        return VERTICAL
    return replace(axis, offset_px=axis.offset_px * scale.factor, offset_sigma_px=np.nan, residual_px=np.nan)


def _final_axis(alignment: Alignment, verdict: Verdict, is_known: bool) -> TiltAxis:
    """Return the tilt axis of an alignment; angle and offset are NaN if they were only assumed."""
    angle_and_offset = (alignment.angle_deg, alignment.offset_px) if is_known else (np.nan, np.nan)
    return TiltAxis(*angle_and_offset, np.nan, np.nan, verdict.residual_px)
