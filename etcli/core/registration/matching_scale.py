"""Tilt series at one scale (binning): aligned, and compared with reprojections of its reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError, NonFiniteViewError
from etcli.core.geometry import centre
from etcli.core.parabola import lowest
from etcli.core.parallel import ordered_map
from etcli.core.registration.alignment import Alignment
from etcli.core.registration.correlation import FAILED
from etcli.core.registration.masked_views import MaskedViews
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
from etcli.core.registration.transforms import Views, resample
from etcli.core.registration.view_order import Order, fits_other_tilt, order_of_views

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]

NEAR_PX = 2  # binned pixels that a view may move in a round after the coarsest level
FOLDS = 6
ANGLE_ITERATIONS = 80  # a reconstruction that has not converged favours other angles
BANDS = 5  # of rows, in each of two halves that are compared separately
MOST_MOVES = 8  # moves in the search for the best angle, each by at most two steps
OUTLYING = 6 * 1.4826  # median deviations of the quality: beyond this, a view is misplaced or damaged
SHORT = 0.1  # of the typical quality; a smaller deficit is ignored
ELSEWHERE_PX = 1.5  # binned; a left-out view that fits better farther away than this is misplaced
BEYOND = 1.3  # times the best correlation by chance
SURE = 0.5  # of the median quality; with less, a better fit elsewhere is accidental
ROBUST_ROUNDS, SMALLEST_PX = 5, 1e-3
SMALLEST_SIDE_PX = 16
MOSTLY = 0.5  # of a pixel must be shown
TINY = np.finfo(np.float32).tiny
FAINTEST = 1.0  # percentile of all pixels, used as the background level if none is given


@dataclass(frozen=True)
class SeriesPyramid:
    """Series that can be binned to any scale; its tilt axis is along x if ``lying``, else along y.

    If the views are ``masked``, only what these show is compared and reconstructed.
    """

    views: Views
    background: float | None
    threads: int
    lying: bool = False
    masked: MaskedViews | None = None

    def factor(self, size_px: int) -> int:
        """Return the smallest factor that bins the views to a size, or less to keep a short side."""
        ny, nx = int(self.views.shape[1]), int(self.views.shape[2])
        return min(ceil(max(ny, nx) / size_px), max(min(ny, nx) // SMALLEST_SIDE_PX, 1))

    def level(self, factor: int) -> "MatchingScale":
        """Bin the views and subtract the background; a specimen darker than it is inverted."""
        bin_view = partial(bin_image, factor=factor)
        views = self.masked or self.views
        images = np.array(
            list(ordered_map(lambda k: bin_view(views[k]), range(len(views)), threads=self.threads))
        )
        if not np.isfinite(images.sum(dtype=np.float64)):
            first_bad = int(np.argmin(np.isfinite(images.sum(axis=(1, 2), dtype=np.float64))))
            raise NonFiniteViewError(first_bad)
        if np.ptp(images) == 0:
            raise DataError("the views show nothing: all their pixels are equal")
        mean = images.mean(axis=0, dtype=np.float64)
        mean = mean.T if self.lying else mean
        surroundings = self._surroundings(images)
        enclosed = [(level, sign) for level, sign in surroundings if is_inside(sign * (mean - level))]
        inside = bool(enclosed)
        level, sign = (enclosed or surroundings)[0]
        images -= np.float32(level)
        images *= np.float32(sign)
        if not inside:
            for image in images:
                image -= ndimage.gaussian_filter(image, DETAIL_PX, mode="nearest")
        shape = mean.shape[0], mean.shape[1]
        shown = None
        if self.masked is not None:
            shown = ndimage.binary_erosion(self.masked.binned(factor), border_value=True)
        return MatchingScale(images, shape, factor, inside, self.threads, shown)

    def _surroundings(self, images: Image) -> list[tuple[float, int]]:
        """Return possible levels of the surroundings and the sign of the contrast (-1: darker specimen)."""
        if self.background is not None:
            return [(self.background, 1 if images.mean(dtype=np.float64) >= self.background else -1)]
        dark, bright = np.percentile(images, [FAINTEST, 100 - FAINTEST])
        return [(float(dark), 1), (float(bright), -1)]


@dataclass(frozen=True, eq=False)
class Verdict:
    """Result of the comparison of every view with its prediction from other views.

    Parameters
    ----------
    step_px : ndarray of shape (n_views, 2), float64
        Move that brings each view to where it fits best, in pixels of the series.
    quality : ndarray of shape (n_views,), float64
        Correlation of details there.
    alike, elsewhere, doubtful : ndarray of shape (n_views,), bool
        Whether a view matches its prediction; whether it does so at another position; whether to inspect it.
    residual_px : float
        Root mean square of the steps, and of half the difference between two halves of the rows.
    agreed : ndarray of shape (n_views,), bool
        Views that the residual is that of: trusted, and well predicted.
    """

    step_px: Float
    quality: Float
    alike: Bool
    elsewhere: Bool
    doubtful: Bool
    residual_px: float
    agreed: Bool


@dataclass(frozen=True, eq=False)
class MatchingScale:
    """Series at one scale: binned views without background, and their shape once the axis is vertical.

    Negative density is excluded (``positive``) unless the specimen reaches the sides of the views. Only what
    is ``shown`` is compared.
    """

    images: Image
    shape: tuple[int, int]
    factor: int
    positive: bool
    threads: int
    shown: Bool | None = None

    def align(self, alignment: Alignment) -> Image:
        """Return the views with the axis vertical and central; NaN where they show nothing."""
        transforms = alignment.transforms().scaled(1 / self.factor)
        rotated = ordered_map(
            lambda item: resample(*item, shape=self.shape, fill=np.nan),
            zip(self.images, transforms.matrix, transforms.shift_px, strict=True),
            threads=self.threads,
        )
        aligned = np.array(list(rotated))
        if self.shown is not None:
            shown = self.shown.astype(np.float32)
            for view, matrix, shift_px in zip(aligned, transforms.matrix, transforms.shift_px, strict=True):
                seen = resample(shown, matrix, shift_px, shape=self.shape, method="linear", fill=0.0)
                view[seen < MOSTLY] = np.nan
        return aligned

    def compare_views(
        self, views: Image, predicted: Image, reach_px: int, *, weight: Image | float = 1.0
    ) -> list[ViewDeviation]:
        """Compare each view with its prediction; with three predictions per view, its tilt as well."""

        def compare(k: int) -> ViewDeviation:
            turned = predicted[1:, k] if len(predicted) > 1 else None
            shown = np.isfinite(views[k])
            return self._comparison.misfit(
                np.where(shown, views[k], np.float32(0)),
                predicted[0, k],
                shown=shown * np.float32(weight),
                reach_px=reach_px,
                turned=turned,
            )

        return list(ordered_map(compare, range(len(views)), threads=self.threads))

    def refine_angle(
        self, alignment: Alignment, trusted: Bool, steps_deg: tuple[float, ...], *, free_shifts: bool
    ) -> Alignment:
        """Return the alignment with the angle of the axis for which the predictions fit the views best."""
        for step in steps_deg:
            pivot_px = self._centres_px(alignment, trusted) if free_shifts else np.zeros((len(trusted), 2))
            alignment = self._refine_angle(alignment, trusted, step, pivot_px)
        return alignment

    def _centres_px(self, alignment: Alignment, trusted: Bool) -> Float:
        """Return where aligned views show the centre of mass, in pixels of the series, from the middle."""
        views = np.nan_to_num(self.align(alignment))
        mass = np.maximum(views.sum(axis=(1, 2), dtype=np.float64), TINY)
        y, x = (np.arange(n) - centre(n) for n in self.shape)
        across, along = views.sum(axis=1) @ x / mass, views.sum(axis=2) @ y / mass
        centres_px = self.factor * np.stack([across, along], axis=1)
        unexplained_px, _ = split_motion(centres_px, alignment.tilt_deg, trusted)
        return centres_px - unexplained_px

    def _refine_angle(
        self, alignment: Alignment, trusted: Bool, step_deg: float, pivot_px: Float
    ) -> Alignment:
        """Search for the best angle on a grid, and by a parabola between its points."""

        def alignment_at(steps: float) -> Alignment:
            return alignment.turned(steps * step_deg, pivot_px)

        residual = cache(lambda steps: self.residual(alignment_at(steps), trusted))
        middle = 0
        for _ in range(MOST_MOVES):
            around = [residual(middle + k) for k in (-1, 0, 1)]
            offset = lowest(around)
            if around[0] - 2 * around[1] + around[2] > 0 and abs(offset) <= 1:
                return alignment_at(middle + offset)
            far, near = middle + round(offset), middle + int(np.sign(offset))
            middle = far if residual(far) < residual(near) else near
        raise ConvergenceError(
            f"no tilt axis within {2 * MOST_MOVES * step_deg:g}° explains the views best; are they "
            "registered? Give its rough angle (--axis), or use another method"
        )

    def residual(self, alignment: Alignment, trusted: Bool) -> float:
        """Return the mean square of the relative residuals of the views after reprojection."""
        used = np.flatnonzero(trusted)
        views = self.align(alignment)
        predicted = self.predict(views, alignment, [(used, used)], iterations=ANGLE_ITERATIONS)
        deviations = self.compare_views(views[used], predicted[:, used], 0)
        return float(np.mean([deviation.residual**2 for deviation in deviations]))

    def compare_left_out(self, alignment: Alignment, trusted: Bool, *, free_offset: bool = True) -> Verdict:
        """Compare each view with its prediction from others; steps due to a free offset are ignored."""
        order = np.argsort(alignment.tilt_deg, kind="stable")
        folds = [order[k::FOLDS] for k in range(min(FOLDS, len(order)))]
        trusted_views = np.flatnonzero(trusted)
        others = [np.setdiff1d(trusted_views, fold) for fold in folds]
        groups = [
            (used if used.size else trusted_views, fold) for used, fold in zip(others, folds, strict=True)
        ]
        views = self.align(alignment)
        predicted = self.predict(self._complete(views, alignment, groups), alignment, groups)
        deviations = self.compare_views(views, predicted, self._far_px)
        quality = np.array([deviation.quality for deviation in deviations])
        self._check_beyond_chance(quality, np.isfinite(views).astype(np.float32))
        similar = similar_views(quality, alignment.tilt_deg)
        certain = similar & well_matched(quality, alignment.tilt_deg)
        agreed = trusted & certain if (trusted & certain).any() else certain

        def steps(deviations: list[ViewDeviation]) -> Float:
            measured = -self.factor * np.array([deviation.displacement_px for deviation in deviations])
            step, offset_px = split_motion(measured, alignment.tilt_deg, agreed)
            return step if free_offset else step - [offset_px, 0.0]

        step = steps(deviations)
        halves = [
            steps(self.compare_views(views, predicted, NEAR_PX, weight=band))
            for band in _bands(self.shape[0])
        ]
        size = np.hypot(*step.T)
        spread = np.hypot(*(halves[0] - halves[1]).T) / 2
        residual = np.sqrt(np.mean(size[agreed] ** 2) + np.mean(spread[agreed] ** 2))
        far = size > np.minimum(outlier_limit(size[agreed]), max(ELSEWHERE_PX * self.factor, 1.0))
        jumped = np.zeros(len(order), bool)
        jumped[order] = jumps(alignment.shift_px[order], least_px=self.factor * self._far_px)
        turned = fits_other_tilt(views, predicted[0], folds, self._comparison)
        doubtful = ~certain | far | jumped | turned | self._find_repeated(order)
        elsewhere = (quality > SURE * np.median(quality)) & (size > ELSEWHERE_PX * self.factor)
        return Verdict(step, quality, similar, elsewhere, doubtful, float(residual), agreed)

    def order(self, alignment: Alignment, agreed: Bool) -> Order:
        """Check whether views next to each other in tilt are more similar than others."""
        order = np.argsort(alignment.tilt_deg, kind="stable")
        return order_of_views(self.align(alignment)[order[agreed[order]]], self._comparison)

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self.shape)

    @property
    def _far_px(self) -> int:
        """A quarter of the view, in binned pixels."""
        return min(self.shape) // 4

    def _check_beyond_chance(self, quality: Float, shown: Image) -> None:
        """Raise DataError if the views match their predictions no better than noise at its best position."""
        n_positions = (2 * self._far_px + 1) ** 2
        best = np.sqrt(2 * np.log(n_positions)) * self._comparison.chance(shown)
        if np.median(quality / best) < BEYOND:
            raise DataError(
                "the views match their predictions from other views no better than noise; "
                "do they show a specimen, and are the tilt angles right?"
            )

    def _complete(self, views: Image, alignment: Alignment, groups: Sequence[Group]) -> Image:
        """Return the views, with what they do not show from a reconstruction with nothing there.

        Where little is shown, unknown pixels would let a reconstruction agree with any view.
        """
        shown = np.isfinite(views)
        if shown.all():
            return views
        predicted = self.predict(np.where(shown, views, np.float32(0)), alignment, groups)
        return np.where(shown, views, predicted[0])

    def predict(
        self,
        views: Image,
        alignment: Alignment,
        groups: Sequence[Group],
        *,
        iterations: int = ITERATIONS,
        turns_deg: Sequence[float] = (0.0,),
    ) -> Image:
        """Predict the aligned views from reconstructions of other views; see `reproject`."""
        return reproject(
            views,
            alignment.tilt_deg,
            groups=groups,
            positive=self.positive,
            iterations=iterations,
            turns_deg=turns_deg,
            threads=self.threads,
        )

    def _find_repeated(self, order: NDArray[np.intp]) -> Bool:
        """Find the views that are identical to a neighbour: one of the two was not taken at its angle."""
        same = [np.array_equal(self.images[one], self.images[next_]) for one, next_ in pairwise(order)]
        repeated = np.zeros(len(order), bool)
        repeated[order[:-1]] |= same
        repeated[order[1:]] |= same
        return repeated


def split_motion(step_px: Float, tilt_deg: Float, trusted: Bool) -> tuple[Float, float]:
    """Split steps into a displacement of the axis and the part that no motion of the specimen explains.

    Parameters
    ----------
    step_px : ndarray of shape (n_views, 2)
        Steps of the views in pixels.
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    trusted : ndarray of shape (n_views,), bool
        Views to which the motion of the specimen is fitted; outliers get less weight.

    Returns
    -------
    residual_px : ndarray of shape (n_views, 2), float64
        Steps minus the fitted motion of the specimen and of the axis.
    offset_px : float
        Displacement of the axis.
    """
    tilt_rad = np.deg2rad(tilt_deg)
    constant = np.ones_like(tilt_rad)
    across, coefficients = _robust_residual(
        step_px[:, 0], np.stack([constant, np.cos(tilt_rad), np.sin(tilt_rad)], axis=1), trusted
    )
    along, _ = _robust_residual(step_px[:, 1], constant[:, np.newaxis], trusted)
    return np.stack([across, along], axis=1), -float(coefficients[0])


def _robust_residual(values: Float, design: Float, trusted: Bool) -> tuple[Float, Float]:
    """Return the residuals of a robust linear fit, and its coefficients."""
    weight = trusted.astype(np.float64)
    for _ in range(ROBUST_ROUNDS):
        root = np.sqrt(weight)
        coefficients = np.linalg.lstsq(design * root[:, np.newaxis], values * root)[0]
        residual = values - design @ coefficients
        scale = max(3 * float(np.median(np.abs(residual[trusted]))), SMALLEST_PX)
        weight = trusted / (1 + (residual / scale) ** 2)
    return residual, np.asarray(coefficients, np.float64)


def _neighbour_median(values: Float, tilt_deg: Float) -> Float:
    """Return the running median over neighbours in tilt angle."""
    order = np.argsort(tilt_deg, kind="stable")
    typical = np.empty_like(values)
    typical[order] = running_median(values[order])
    return typical


def well_matched(quality: Float, tilt_deg: Float) -> Bool:
    """Find the views that match their predictions so well that their positions are certain."""
    typical = _neighbour_median(quality, tilt_deg)
    deficit = typical - quality
    return np.asarray(
        deficit <= np.maximum(OUTLYING * _neighbour_median(np.abs(deficit), tilt_deg), SHORT * typical)
    )


def similar_views(quality: Float, tilt_deg: Float) -> Bool:
    """Find the views that match their predictions about as well as their neighbours in angle."""
    order = np.argsort(tilt_deg, kind="stable")
    similar = np.zeros(len(quality), bool)
    similar[order] = like_neighbours(quality[order], FAILED)
    if similar.sum() < 3:
        raise DataError(
            "the views have nothing in common with their reconstruction; are the tilt angles right?"
        )
    return similar


def _bands(n_rows: int) -> list[Image]:
    """Return the weights of rows in two complementary sets of bands, one column each."""
    wave = np.cos(2 * np.pi * BANDS * np.arange(n_rows, dtype=np.float32) / n_rows)[:, np.newaxis]
    return [np.asarray(np.sqrt((1 + sign * wave) / 2), np.float32) for sign in (1, -1)]
