"""Projection matching: a series is aligned to what its own reconstruction predicts, from coarse to fine."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import FAILED, correlate_views
from etcli.core.registration.reprojection import DETAIL_PX, Comparison, Group, Misfit, reproject
from etcli.core.registration.shifts import Shifts, checked_tilts, outlying
from etcli.core.registration.tilt_axis import TiltAxis, com_axis
from etcli.core.registration.transforms import Transforms, Views, compose, resample

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]
Progress = Callable[[int], None]

SIZES_PX = 48, 96, 192  # that views are binned to, one after the other
JUDGED_PX = 96  # the largest size for what takes many reconstructions
NEAR_PX = 2  # binned pixels that a view may move in a round once the coarsest level is done
SETTLED_PX = 0.02
MIXED = 4  # rounds that the acceleration looks back on
FOLDS = 6
BANDS = 5  # of rows in each of two halves that are compared on their own
JUDGING_ROUNDS = 6
ANGLE_STEPS_DEG = 1.0, 0.4
ANGLE_ITERATIONS = 80  # a reconstruction that has not converged prefers other angles
FARTHEST_DEG = 15.0
HALF_DEG = 0.5
LARGEST_TURN_DEG = 1.0  # of a tilt angle in one round
SIDE_LIMIT = 0.25  # intensity at the sides, relative to the mean, beyond which the specimen goes on outside
FAINTEST = 1.0  # percentile of all pixels taken for the background where none is known
ELSEWHERE_PX = 1.5  # a displacement by which a left-out view fits better is another place, not a refinement
REPAIRS = 2
MOST_DOUBTFUL = 0.5  # of the views, or the doubts themselves are doubtful
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where views, tilt axis and tilts are taken to be.

    Parameters
    ----------
    shift_px : ndarray of shape (n_views, 2), float64
        (x, y) by which the content of each view is to move before it is turned.
    angle_deg, offset_px : float
        The tilt axis in the views once moved, as `TiltAxis` has it.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles in degrees.
    """

    shift_px: Float
    angle_deg: float
    offset_px: float
    tilt_deg: Float

    def transforms(self) -> Transforms:
        """Return what brings the views to the upright central axis."""
        n_views = len(self.tilt_deg)
        turned = compose(Transforms.shifts(self.shift_px), Transforms.rotation(self.angle_deg, n_views))
        return compose(turned, Transforms.shifts(np.tile([-self.offset_px, 0.0], (n_views, 1))))

    def moved(self, step_px: Float, offset_px: float = 0.0) -> "Alignment":
        """Return the alignment with the turned views moved by ``step_px`` and the axis by ``offset_px``."""
        turn = Transforms.rotation(self.angle_deg, 1).matrix[0]
        return replace(
            self, shift_px=self.shift_px + step_px @ turn, offset_px=self.offset_px + float(offset_px)
        )


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

    The density is kept positive unless the specimen reaches the sides of the views. Then it is free, and only
    what is smaller than some binned pixels is matched. Pixels that a view does not have are taken from its
    prediction, so that no border moves with it.

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
    series = _Series(views, background, threads)
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
        Tilt axis of the shifted views; found when not given.

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
    rounds = _Rounds(False, False, JUDGING_ROUNDS, _unheard)
    series = _Series(views, background, threads)
    alignment, axis, verdict = _followed(series, tilt, shifts, axis, rounds, SIZES_PX[:2])
    judged = _matched(alignment, axis, verdict, int(np.argmin(np.hypot(*shifts.shift_px.T))))
    kept = replace(judged.shifts, shift_px=shifts.shift_px, doubtful=judged.shifts.doubtful | shifts.doubtful)
    return replace(judged, shifts=kept)


def _unheard(_: int) -> None:
    """Tell nobody how far the work is."""


def _followed(
    series: "_Series",
    tilt: Float,
    start: Shifts,
    axis: TiltAxis | None,
    rounds: "_Rounds",
    sizes_px: tuple[int, ...],
) -> tuple[Alignment, TiltAxis, "_Verdict"]:
    """Align from coarse to fine, and compare the result with views left out."""
    axis = axis or _starting_axis(series, tilt, start)
    alignment = Alignment(start.shift_px, axis.angle_deg, float(np.nan_to_num(axis.offset_px)), tilt)
    sure = bool(np.mean(start.doubtful) <= MOST_DOUBTFUL)
    trusted: Bool = np.logical_not(start.doubtful) if sure else np.greater(start.quality, 0)
    factors = [series.factor(size) for size in sizes_px]
    judge = series.level(series.factor(JUDGED_PX))
    for factor in factors:
        level = judge if factor == judge.factor else series.level(factor)
        reach_px = min(level.shape) // 4 if factor == factors[0] else NEAR_PX
        alignment, trusted = rounds.settle(level, alignment, trusted, reach_px)
        known = not np.isnan(axis.angle_sigma_deg)
        if factor == judge.factor or (factor > judge.factor and not known):
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


def _starting_axis(series: "_Series", tilt_deg: Float, start: Shifts) -> TiltAxis:
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


def _matched(alignment: Alignment, axis: TiltAxis, verdict: "_Verdict", reference: int) -> Matched:
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
class _Series:
    """The series at any scale."""

    views: Views
    background: float | None
    threads: int

    def factor(self, size_px: int) -> int:
        """Return the least factor that bins the views to a size."""
        largest: int = max(self.views.shape[1:])
        return ceil(largest / size_px)

    def level(self, factor: int) -> "_Level":
        """Bin the views and take off what is not the specimen."""
        shrink = partial(bin_image, factor=factor)
        images = np.array(
            list(ordered_map(lambda k: shrink(self.views[k]), range(len(self.views)), threads=self.threads))
        )
        if not np.isfinite(images.sum(dtype=np.float64)):
            bad = int(np.argmin(np.isfinite(images.sum(axis=(1, 2), dtype=np.float64))))
            raise DataError(f"view {bad + 1} holds values that are not finite; exclude it or mend the file")
        level = np.percentile(images, FAINTEST) if self.background is None else self.background
        images -= np.float32(level)
        if images.sum(dtype=np.float64) < 0:  # dark on bright
            images *= -1
        mean = images.mean(axis=0, dtype=np.float64)
        side = max(mean.shape[1] // 32, 1)
        inside = max(mean[:, :side].mean(), mean[:, -side:].mean()) < SIDE_LIMIT * mean.mean()
        if not inside:
            for image in images:
                image -= ndimage.gaussian_filter(image, DETAIL_PX, mode="nearest")
        return _Level(images, factor, bool(inside), self.threads)


@dataclass(frozen=True, eq=False)
class _Verdict:
    """How views compare with what others predict for them; steps in pixels of the series."""

    step_px: Float
    quality: Float
    doubtful: Bool
    residual_px: float


@dataclass(frozen=True, eq=False)
class _Level:
    """The series at one scale: binned views without background."""

    images: Image
    factor: int
    positive: bool
    threads: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the binned views."""
        return self.images.shape[1], self.images.shape[2]

    def aligned(self, alignment: Alignment, predicted: Image | None) -> tuple[Image, Image]:
        """Return the views on the upright central axis, and where they show something."""
        transforms = alignment.transforms().scaled(1 / self.factor)
        turned = ordered_map(
            lambda item: resample(*item, fill=np.nan),
            zip(self.images, transforms.matrix, transforms.shift_px, strict=True),
            threads=self.threads,
        )
        views = np.array(list(turned))
        shown = np.isfinite(views)
        np.copyto(views, 0 if predicted is None else predicted, where=~shown)
        return views, shown.astype(np.float32)

    def compared(self, views: Image, shown: Image, predicted: Image, reach_px: int) -> list[Misfit]:
        """Compare each view with its prediction, and where there are three, its tilt."""
        comparison = Comparison(self.shape)

        def compare(k: int) -> Misfit:
            turned = predicted[1:, k] if len(predicted) > 1 else None
            return comparison.misfit(
                views[k], predicted[0, k], shown=shown[k], reach_px=reach_px, turned=turned
            )

        return list(ordered_map(compare, range(len(views)), threads=self.threads))

    def turned(self, alignment: Alignment, trusted: Bool, steps_deg: tuple[float, ...]) -> Alignment:
        """Return the alignment with the axis at the angle at which the prediction fits the views best."""
        for step in steps_deg:
            for _ in range(ceil(FARTHEST_DEG / step)):
                around = [
                    replace(alignment, angle_deg=alignment.angle_deg + turn) for turn in (-step, 0.0, step)
                ]
                cost = [self.residual(each, trusted) for each in around]
                bend = cost[0] - 2 * cost[1] + cost[2]
                turn = step * float(
                    np.clip(
                        (cost[0] - cost[2]) / (2 * bend) if bend > 0 else np.sign(cost[0] - cost[2]), -2, 2
                    )
                )
                alignment = replace(alignment, angle_deg=alignment.angle_deg + turn)
                if abs(turn) <= step:
                    break
        return alignment

    def residual(self, alignment: Alignment, trusted: Bool) -> float:
        """Return the mean square of what the reconstruction does not explain of the views."""
        views, shown = self.aligned(alignment, None)
        used = np.flatnonzero(trusted)
        predicted = reproject(
            views,
            alignment.tilt_deg,
            groups=[(used, used)],
            positive=self.positive,
            iterations=ANGLE_ITERATIONS,
            threads=self.threads,
        )
        misfits = self.compared(views[used], shown[used], predicted[:, used], 0)
        return float(np.mean([misfit.residual**2 for misfit in misfits]))

    def left_out(self, alignment: Alignment, trusted: Bool) -> _Verdict:
        """Compare each view with what other views predict for it."""
        order = np.argsort(alignment.tilt_deg, kind="stable")
        everything = np.arange(len(order))
        folds = [order[k::FOLDS] for k in range(min(FOLDS, len(order)))]
        groups: list[Group] = [(np.setdiff1d(everything[trusted], fold), fold) for fold in folds]
        views, shown = self.aligned(alignment, None)
        predict = partial(
            reproject,
            tilt_deg=alignment.tilt_deg,
            groups=groups,
            positive=self.positive,
            threads=self.threads,
        )
        predicted = predict(views)
        if not shown.all():
            views, shown = self.aligned(alignment, predicted[0])
            predicted = predict(views)
        misfits = self.compared(views, shown, predicted, min(self.shape) // 4)
        quality = np.array([misfit.quality for misfit in misfits])
        agreed = trusted & _alike(quality, alignment.tilt_deg)

        def steps(misfits: list[Misfit]) -> Float:
            measured = -self.factor * np.array([misfit.displacement_px for misfit in misfits])
            return _unexplained(measured, alignment.tilt_deg, agreed)[0]

        step = steps(misfits)
        bands = _bands(self.shape[0])
        halves = [steps(self.compared(views, shown * band, predicted, NEAR_PX)) for band in bands]
        size = np.hypot(*step.T)
        spread = np.hypot(*(halves[0] - halves[1]).T) / 2
        residual = np.sqrt(np.mean(size[agreed] ** 2) + np.mean(spread[agreed] ** 2))
        doubtful = ~agreed | (size > outlying(size[agreed]))
        return _Verdict(step, quality, doubtful, float(residual))


@dataclass(frozen=True)
class _Rounds:
    """Reconstruct, project, move, until nothing moves."""

    free_shifts: bool
    free_tilts: bool
    iterations: int
    progress: Progress

    def settle(
        self, level: _Level, alignment: Alignment, trusted: Bool, reach_px: int
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
            trusted = _alike(quality, alignment.tilt_deg)
            measured = -level.factor * np.array([misfit.displacement_px for misfit in misfits])
            step, offset = _unexplained(measured, alignment.tilt_deg, trusted)
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


def _unexplained(step_px: Float, tilt_deg: Float, trusted: Bool) -> tuple[Float, float]:
    """Split steps into what moves the axis across itself and what is left without moving the specimen."""
    tilt_rad = np.deg2rad(tilt_deg)
    design = np.stack([np.ones_like(tilt_rad), np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)
    constant, cosine, sine = np.linalg.lstsq(design[trusted], step_px[trusted, 0])[0]
    across = step_px[:, 0] - design @ [constant, cosine, sine]
    along = step_px[:, 1] - step_px[trusted, 1].mean()
    return np.stack([across, along], axis=1), -float(constant)


def _alike(quality: Float, tilt_deg: Float) -> Bool:
    """Tell which views are about as much like their predictions as their neighbours in angle."""
    order = np.argsort(tilt_deg, kind="stable")
    typical = np.empty_like(quality)
    typical[order] = ndimage.median_filter(quality[order], 11, mode="mirror")
    alike = (quality > 0) & (quality >= FAILED * typical)
    if alike.sum() < 3:
        raise DataError(
            "the views have nothing in common with their reconstruction; are the tilt angles right?"
        )
    return np.asarray(alike)


def _bands(n_rows: int) -> list[Image]:
    """Return two sets of bands of rows, which together are all of them."""
    wave = np.cos(2 * np.pi * BANDS * np.arange(n_rows, dtype=np.float32) / n_rows)[:, np.newaxis]
    return [np.asarray(np.sqrt((1 + sign * wave) / 2), np.float32) for sign in (1, -1)]


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
