"""A tilt series at some scale: aligned, compared with its own reconstructions, and judged by them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError
from etcli.core.parabola import lowest
from etcli.core.parallel import ordered_map
from etcli.core.registration.correlation import FAILED
from etcli.core.registration.reprojection import (
    DETAIL_PX,
    ITERATIONS,
    Comparison,
    Group,
    ViewDeviation,
    reproject,
)
from etcli.core.registration.shifts import jumps, like_neighbours, outlier_limit, running_median
from etcli.core.registration.tilt_axis import is_inside
from etcli.core.registration.transforms import Transforms, Views, compose, resample

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]

NEAR_PX = 2  # binned pixels that a view may move in a round once the coarsest level is done
FOLDS = 6
ANGLE_ITERATIONS = 80  # a reconstruction that has not converged prefers other angles
BANDS = 5  # of rows in each of two halves that are compared on their own
MOST_TURNS = 8  # in search of the best angle, each by at most two steps
OUTLYING = 6 * 1.4826  # median deviations of the quality: that view is not where it belongs, or spoilt
SHORT = 0.1  # of the usual quality is not worth mentioning
ELSEWHERE_PX = 1.5  # binned, by which a left-out view fits better at another place, not nearby
BEYOND = 1.3  # times what chance achieves
SURE = 0.5  # of the usual quality, or that place is an accident
ROBUST_ROUNDS, SMALLEST_PX = 5, 1e-3
SMALLEST_SIDE_PX = 16
IN_ORDER, FEWEST_IN_ORDER = 0.25, 8  # of the likeness; measured: right .3 to 1, mixed up below .28; views
TINY = np.finfo(np.float32).tiny
FAINTEST = 1.0  # percentile of all pixels taken for the background where none is known


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
    before : Transforms, optional
        What is applied to the views before all this.
    """

    shift_px: Float
    angle_deg: float
    offset_px: float
    tilt_deg: Float
    before: Transforms | None = None

    def transforms(self) -> Transforms:
        """Return what brings the views to the upright central axis."""
        n_views = len(self.tilt_deg)
        shifts = Transforms.shifts(self.shift_px)
        moved = shifts if self.before is None else compose(self.before, shifts)
        turned = compose(moved, Transforms.rotation(self.angle_deg, n_views))
        return compose(turned, Transforms.shifts(np.tile([-self.offset_px, 0.0], (n_views, 1))))

    def moved(self, step_px: Float, offset_px: float = 0.0) -> "Alignment":
        """Return the alignment with the turned views moved by ``step_px`` and the axis by ``offset_px``."""
        turn = Transforms.rotation(self.angle_deg, 1).matrix[0]
        return replace(
            self, shift_px=self.shift_px + step_px @ turn, offset_px=self.offset_px + float(offset_px)
        )


@dataclass(frozen=True)
class SeriesPyramid:
    """The series at any scale; its axis lies along x where ``lying``."""

    views: Views
    background: float | None
    threads: int
    lying: bool = False

    def factor(self, size_px: int) -> int:
        """Return the least factor that bins the views to a size, and leaves something of narrow ones."""
        ny, nx = int(self.views.shape[1]), int(self.views.shape[2])
        return min(ceil(max(ny, nx) / size_px), max(min(ny, nx) // SMALLEST_SIDE_PX, 1))

    def level(self, factor: int) -> "MatchingScale":
        """Bin the views and take off what is not the specimen."""
        shrink = partial(bin_image, factor=factor)
        images = np.array(
            list(ordered_map(lambda k: shrink(self.views[k]), range(len(self.views)), threads=self.threads))
        )
        if not np.isfinite(images.sum(dtype=np.float64)):
            bad = int(np.argmin(np.isfinite(images.sum(axis=(1, 2), dtype=np.float64))))
            raise DataError(f"view {bad + 1} holds values that are not finite; exclude it or mend the file")
        if np.ptp(images) == 0:
            raise DataError("the views show nothing: all their pixels are equal")
        mean = images.mean(axis=0, dtype=np.float64)
        mean = mean.T if self.lying else mean
        surroundings = self._surroundings(images)
        lone = [(level, sign) for level, sign in surroundings if is_inside(sign * (mean - level))]
        inside = bool(lone)
        level, sign = (lone or surroundings)[0]
        images -= np.float32(level)
        images *= np.float32(sign)
        if not inside:
            for image in images:
                image -= ndimage.gaussian_filter(image, DETAIL_PX, mode="nearest")
        shape = mean.shape[0], mean.shape[1]
        return MatchingScale(images, shape, factor, inside, self.threads)

    def _surroundings(self, images: Image) -> list[tuple[float, int]]:
        """Return possible levels of the empty surroundings; -1 where the specimen is darker than these."""
        if self.background is not None:
            return [(self.background, 1 if images.mean(dtype=np.float64) >= self.background else -1)]
        dark, bright = np.percentile(images, [FAINTEST, 100 - FAINTEST])
        return [(float(dark), 1), (float(bright), -1)]


@dataclass(frozen=True, eq=False)
class Verdict:
    """How views compare with what others predict for them.

    Parameters
    ----------
    step_px : ndarray of shape (n_views, 2), float64
        By how much to move each view to where it fits best, in pixels of the series.
    quality : ndarray of shape (n_views,), float64
        Correlation of details there.
    alike, elsewhere, doubtful : ndarray of shape (n_views,), bool
        Whether a view is like what is predicted; whether that is at another place; whether to look at it.
    residual_px : float
        Root mean square of the steps, and of half the difference between two halves of the rows.
    in_order : bool
        Whether views next to each other in tilt are more alike than others.
    """

    step_px: Float
    quality: Float
    alike: Bool
    elsewhere: Bool
    doubtful: Bool
    residual_px: float
    in_order: bool


@dataclass(frozen=True, eq=False)
class MatchingScale:
    """The series at one scale: binned views without background, and their shape once the axis is upright.

    The density is kept ``positive`` unless the specimen reaches the sides of the views.
    """

    images: Image
    shape: tuple[int, int]
    factor: int
    positive: bool
    threads: int

    def aligned(self, alignment: Alignment, predicted: Image | None) -> tuple[Image, Image]:
        """Return the views on the upright central axis, and where they show something."""
        transforms = alignment.transforms().scaled(1 / self.factor)
        turned = ordered_map(
            lambda item: resample(*item, shape=self.shape, fill=np.nan),
            zip(self.images, transforms.matrix, transforms.shift_px, strict=True),
            threads=self.threads,
        )
        views = np.array(list(turned))
        shown = np.isfinite(views)
        np.copyto(views, 0 if predicted is None else predicted, where=~shown)
        return views, shown.astype(np.float32)

    def compared(self, views: Image, shown: Image, predicted: Image, reach_px: int) -> list[ViewDeviation]:
        """Compare each view with its prediction, and where there are three, its tilt."""

        def compare(k: int) -> ViewDeviation:
            turned = predicted[1:, k] if len(predicted) > 1 else None
            return self._comparison.misfit(
                views[k], predicted[0, k], shown=shown[k], reach_px=reach_px, turned=turned
            )

        return list(ordered_map(compare, range(len(views)), threads=self.threads))

    def turned(self, alignment: Alignment, trusted: Bool, steps_deg: tuple[float, ...]) -> Alignment:
        """Return the alignment with the axis at the angle at which the prediction fits the views best."""
        for step in steps_deg:
            alignment = self._turned(alignment, trusted, step)
        return alignment

    def _turned(self, alignment: Alignment, trusted: Bool, step_deg: float) -> Alignment:
        """Look for the best angle on a grid, and between its points by a parabola."""

        def at(place: float) -> Alignment:
            return replace(alignment, angle_deg=alignment.angle_deg + place * step_deg)

        residual = cache(lambda place: self.residual(at(place), trusted))
        middle = 0
        for _ in range(MOST_TURNS):
            around = [residual(middle + k) for k in (-1, 0, 1)]
            turn = lowest(around)
            if around[0] - 2 * around[1] + around[2] > 0 and abs(turn) <= 1:
                return at(middle + turn)
            far, near = middle + round(turn), middle + int(np.sign(turn))
            middle = far if residual(far) < residual(near) else near
        raise ConvergenceError(
            f"no tilt axis within {2 * MOST_TURNS * step_deg:g}° explains the views best; are they "
            "registered? Give its rough angle, or use another method"
        )

    def residual(self, alignment: Alignment, trusted: Bool) -> float:
        """Return the mean square of what the reconstruction does not explain of the views."""
        used = np.flatnonzero(trusted)
        views, shown, predicted = self._predicted(alignment, [(used, used)], ANGLE_ITERATIONS)
        misfits = self.compared(views[used], shown[used], predicted[:, used], 0)
        return float(np.mean([misfit.residual**2 for misfit in misfits]))

    def left_out(self, alignment: Alignment, trusted: Bool, *, free_offset: bool = True) -> Verdict:
        """Compare each view with what others predict for it; what a free offset explains does not count."""
        order = np.argsort(alignment.tilt_deg, kind="stable")
        folds = [order[k::FOLDS] for k in range(min(FOLDS, len(order)))]
        everything = np.flatnonzero(trusted)
        left = [np.setdiff1d(everything, fold) for fold in folds]
        groups = [(used if used.size else everything, fold) for used, fold in zip(left, folds, strict=True)]
        views, shown, predicted = self._predicted(alignment, groups, ITERATIONS)
        misfits = self.compared(views, shown, predicted, self._far_px)
        quality = np.array([misfit.quality for misfit in misfits])
        self._check_beyond_chance(quality, shown)
        like = alike(quality, alignment.tilt_deg)
        sure = like & convincing(quality, alignment.tilt_deg)
        agreed = trusted & sure if (trusted & sure).any() else sure

        def steps(misfits: list[ViewDeviation]) -> Float:
            measured = -self.factor * np.array([misfit.displacement_px for misfit in misfits])
            step, offset_px = unexplained(measured, alignment.tilt_deg, agreed)
            return step if free_offset else step - [offset_px, 0.0]

        step = steps(misfits)
        halves = [
            steps(self.compared(views, shown * band, predicted, NEAR_PX)) for band in _bands(self.shape[0])
        ]
        size = np.hypot(*step.T)
        spread = np.hypot(*(halves[0] - halves[1]).T) / 2
        residual = np.sqrt(np.mean(size[agreed] ** 2) + np.mean(spread[agreed] ** 2))
        far = size > np.minimum(outlier_limit(size[agreed]), max(ELSEWHERE_PX * self.factor, 1.0))
        jumped = np.zeros(len(order), bool)
        jumped[order] = jumps(alignment.shift_px[order], least_px=self.factor * self._far_px)
        doubtful = ~sure | far | jumped | self._repeated(order)
        elsewhere = (quality > SURE * np.median(quality)) & (size > ELSEWHERE_PX * self.factor)
        seen = order[agreed[order]]
        in_order = len(seen) < FEWEST_IN_ORDER or self._likeness_of_neighbours(views[seen]) > IN_ORDER
        return Verdict(step, quality, like, elsewhere, doubtful, float(residual), in_order)

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self.shape)

    @property
    def _far_px(self) -> int:
        """A quarter of the view, in binned pixels."""
        return min(self.shape) // 4

    def _check_beyond_chance(self, quality: Float, shown: Image) -> None:
        """Refuse views that are no more like their predictions than noise would be at the best place."""
        places = (2 * self._far_px + 1) ** 2
        best = np.sqrt(2 * np.log(places)) * self._comparison.chance(shown)
        if np.median(quality / best) < BEYOND:
            raise DataError(
                "the views have nothing in common with what others predict, beyond what noise has; "
                "do they show a specimen, and are the tilt angles right?"
            )

    def _predicted(
        self, alignment: Alignment, groups: Sequence[Group], iterations: int
    ) -> tuple[Image, Image, Image]:
        """Return the aligned views, where they show something, and their predictions."""
        predict = partial(
            reproject,
            tilt_deg=alignment.tilt_deg,
            groups=groups,
            positive=self.positive,
            iterations=iterations,
            threads=self.threads,
        )
        views, shown = self.aligned(alignment, None)
        predicted = predict(views)
        if not shown.all():  # once more, with what views do not have taken from the predictions
            views, shown = self.aligned(alignment, predicted[0])
            predicted = predict(views)
        return views, shown, predicted

    def _likeness_of_neighbours(self, views: Image) -> float:
        """Tell how much of the likeness of views depends on their order: 1 if each is most like the next one.

        It is 0 if neighbours are as much alike as any two views.
        """
        details = np.array([view - ndimage.gaussian_filter(view, DETAIL_PX) for view in views])
        flat = (details * self._comparison.window).reshape(len(views), -1)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), TINY)
        likeness = flat @ flat.T
        np.fill_diagonal(likeness, np.nan)
        usual, best = np.nanmean(likeness), np.mean(np.nanmax(likeness, axis=1))
        return float((np.mean(np.diag(likeness, 1)) - usual) / max(best - usual, TINY))

    def _repeated(self, order: NDArray[np.intp]) -> Bool:
        """Tell which views are the same image as a neighbour in angle: one of the two was not taken there."""
        same = [np.array_equal(self.images[one], self.images[next_]) for one, next_ in pairwise(order)]
        repeated = np.zeros(len(order), bool)
        repeated[order[:-1]] |= same
        repeated[order[1:]] |= same
        return repeated


def unexplained(step_px: Float, tilt_deg: Float, trusted: Bool) -> tuple[Float, float]:
    """Split steps into what moves the axis across itself and what is left without moving the specimen.

    Parameters
    ----------
    step_px : ndarray of shape (n_views, 2)
        Steps of the views in pixels.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    trusted : ndarray of shape (n_views,), bool
        Views to which the motion of the specimen is fitted, outliers counting less.

    Returns
    -------
    left_px : ndarray of shape (n_views, 2), float64
        What is left.
    offset_px : float
        By how much the axis moves.
    """
    tilt_rad = np.deg2rad(tilt_deg)
    constant = np.ones_like(tilt_rad)
    across, fitted = _without(
        step_px[:, 0], np.stack([constant, np.cos(tilt_rad), np.sin(tilt_rad)], axis=1), trusted
    )
    along, _ = _without(step_px[:, 1], constant[:, np.newaxis], trusted)
    return np.stack([across, along], axis=1), -float(fitted[0])


def _without(values: Float, design: Float, trusted: Bool) -> tuple[Float, Float]:
    """Return what a robust fit leaves of values, and its coefficients."""
    weight = trusted.astype(np.float64)
    for _ in range(ROBUST_ROUNDS):
        root = np.sqrt(weight)
        fitted = np.linalg.lstsq(design * root[:, np.newaxis], values * root)[0]
        left = values - design @ fitted
        scale = max(3 * float(np.median(np.abs(left[trusted]))), SMALLEST_PX)
        weight = trusted / (1 + (left / scale) ** 2)
    return left, np.asarray(fitted, np.float64)


def _typical(values: Float, tilt_deg: Float) -> Float:
    """Return the median of the neighbours in angle."""
    order = np.argsort(tilt_deg, kind="stable")
    typical = np.empty_like(values)
    typical[order] = running_median(values[order])
    return typical


def convincing(quality: Float, tilt_deg: Float) -> Bool:
    """Tell which views are so much like their predictions that they are where they belong."""
    typical = _typical(quality, tilt_deg)
    short = typical - quality
    return np.asarray(short <= np.maximum(OUTLYING * _typical(np.abs(short), tilt_deg), SHORT * typical))


def alike(quality: Float, tilt_deg: Float) -> Bool:
    """Tell which views are about as much like their predictions as their neighbours in angle."""
    order = np.argsort(tilt_deg, kind="stable")
    alike = np.zeros(len(quality), bool)
    alike[order] = like_neighbours(quality[order], FAILED)
    if alike.sum() < 3:
        raise DataError(
            "the views have nothing in common with their reconstruction; are the tilt angles right?"
        )
    return alike


def _bands(n_rows: int) -> list[Image]:
    """Return two sets of bands of rows, which together are all of them."""
    wave = np.cos(2 * np.pi * BANDS * np.arange(n_rows, dtype=np.float32) / n_rows)[:, np.newaxis]
    return [np.asarray(np.sqrt((1 + sign * wave) / 2), np.float32) for sign in (1, -1)]
