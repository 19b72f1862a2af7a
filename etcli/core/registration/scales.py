"""A tilt series at some scale: aligned, compared with its own reconstructions, and judged by them."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import DataError
from etcli.core.parallel import ordered_map
from etcli.core.registration.correlation import FAILED
from etcli.core.registration.reprojection import DETAIL_PX, Comparison, Group, Misfit, reproject
from etcli.core.registration.shifts import outlying
from etcli.core.registration.transforms import Transforms, Views, compose, resample

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Image = NDArray[np.float32]

NEAR_PX = 2  # binned pixels that a view may move in a round once the coarsest level is done
FOLDS = 6
BANDS = 5  # of rows in each of two halves that are compared on their own
ANGLE_ITERATIONS = 80  # a reconstruction that has not converged prefers other angles
FARTHEST_DEG = 15.0
SIDE_LIMIT = 0.25  # intensity at the sides, relative to the mean, beyond which the specimen goes on outside
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


@dataclass(frozen=True)
class Series:
    """The series at any scale."""

    views: Views
    background: float | None
    threads: int

    def factor(self, size_px: int) -> int:
        """Return the least factor that bins the views to a size."""
        largest: int = max(self.views.shape[1:])
        return ceil(largest / size_px)

    def level(self, factor: int) -> "Scale":
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
        return Scale(images, factor, bool(inside), self.threads)


@dataclass(frozen=True, eq=False)
class Verdict:
    """How views compare with what others predict for them; steps in pixels of the series."""

    step_px: Float
    quality: Float
    doubtful: Bool
    residual_px: float


@dataclass(frozen=True, eq=False)
class Scale:
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

    def left_out(self, alignment: Alignment, trusted: Bool, *, free_offset: bool = True) -> Verdict:
        """Compare each view with what others predict for it; what a free offset explains does not count."""
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
        agreed = trusted & alike(quality, alignment.tilt_deg)

        def steps(misfits: list[Misfit]) -> Float:
            measured = -self.factor * np.array([misfit.displacement_px for misfit in misfits])
            step, offset = unexplained(measured, alignment.tilt_deg, agreed)
            return step if free_offset else step - [offset, 0.0]

        step = steps(misfits)
        bands = _bands(self.shape[0])
        halves = [steps(self.compared(views, shown * band, predicted, NEAR_PX)) for band in bands]
        size = np.hypot(*step.T)
        spread = np.hypot(*(halves[0] - halves[1]).T) / 2
        residual = np.sqrt(np.mean(size[agreed] ** 2) + np.mean(spread[agreed] ** 2))
        doubtful = ~agreed | (size > outlying(size[agreed])) | self._repeated(order)
        return Verdict(step, quality, doubtful, float(residual))

    def _repeated(self, order: NDArray[np.intp]) -> Bool:
        """Tell which views are the same image as a neighbour in angle: one of the two was not taken there."""
        same = [np.array_equal(self.images[one], self.images[next_]) for one, next_ in pairwise(order)]
        repeated = np.zeros(len(order), bool)
        repeated[order[:-1]] |= same
        repeated[order[1:]] |= same
        return repeated


def unexplained(step_px: Float, tilt_deg: Float, trusted: Bool) -> tuple[Float, float]:
    """Split steps into what moves the axis across itself and what is left without moving the specimen."""
    tilt_rad = np.deg2rad(tilt_deg)
    design = np.stack([np.ones_like(tilt_rad), np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)
    constant, cosine, sine = np.linalg.lstsq(design[trusted], step_px[trusted, 0])[0]
    across = step_px[:, 0] - design @ [constant, cosine, sine]
    along = step_px[:, 1] - step_px[trusted, 1].mean()
    return np.stack([across, along], axis=1), -float(constant)


def alike(quality: Float, tilt_deg: Float) -> Bool:
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
