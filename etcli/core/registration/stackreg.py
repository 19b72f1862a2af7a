"""Registration of a tilt series by least squares, each view to its neighbour in angle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import DataError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.registration.least_squares import (
    SMALLEST_PX,
    Motion,
    PairFit,
    farthest_px,
    register_pair,
    rotation,
)
from etcli.core.registration.shifts import Shifts, checked_tilts, jumps, like_neighbours
from etcli.core.registration.transforms import Transforms, Views

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Indices = NDArray[np.intp]
Region = tuple[slice, slice]
Pair = tuple[int, int]

SIZE_PX = 512  # that views are binned to
WIDTHS_PX = np.sqrt(2) ** np.arange(7)  # of smoothing; all but the last are tried
LEAST_SIGNAL = 1e-3  # in the power of the gradient
MEASURED = 4  # views that tell how much to smooth
SURVEYED = 8  # pairs of views that tell whether to stretch
SURVEYED_STEP = 3  # far enough apart to tell a foil from a particle
STEEPEST_DEG = 80.0  # no foil can be seen beyond it
FAILED = 0.5  # of the neighbours' quality: in a chain a wrong link costs more than one view less


@dataclass(frozen=True, eq=False)
class RigidAlignment:
    """How to turn and shift each view of a series, and how far to trust that.

    Parameters
    ----------
    transforms : Transforms
        A rotation and a shift a view.
    quality : ndarray of shape (n_views,), float64
        How well the view matched, at most 1.
    doubtful : ndarray of shape (n_views,), bool
        Views to look at: blank, unlike their neighbours, or away from the smooth motion.
    """

    transforms: Transforms
    quality: Float
    doubtful: NDArray[np.bool_]


def stackreg_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    reference: int | None = None,
    max_shift_px: float | None = None,
    region: Region | None = None,
    stretch: bool | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Find the shifts that make each view of a tilt series most like its neighbour in angle.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its axis upright; each view is read once.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    reference : int, optional
        View that stays where it is, counted from 0; the one nearest 0° when not given.
    max_shift_px : float, optional
        Largest displacement, along x and along y, looked for between two views; half the view when not
        given.
    region : (slice, slice), optional
        Rows and columns to be compared.
    stretch : bool, optional
        Whether views are stretched across the axis by the ratio of the cosines to be compared, as a foil
        needs it and a needle or particle does not. When not given, whatever makes the views more alike.
    threads : int
        Pairs of views worked on at the same time.
    progress : callable, optional
        Called with 1 for every view that is done, twice for each.

    Returns
    -------
    Shifts
        The quality is the correlation with the neighbour that fits better. A failed view, one below half of
        its neighbours' median, is passed over; it gets an interpolated shift and is doubtful. The residual
        is NaN: no shift is measured twice.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or fewer than two views have anything in common.
    UsageError
        If the reference, the region or a number is unfit.

    Notes
    -----
    Views are binned to at most 512 px, smoothed as far as lets least noise into the shifts, and each is
    registered to the one before it in angle as by `etcli.core.registration.least_squares.register_pair`.
    Where view k, stretched by r = cos θ_i / cos θ_k about the axis, comes to lie on view i when moved by d,
    s_k = (s_i + d)/r across the axis and s_i + d along it, from the reference outwards. The stretch ends at
    80°.

    References
    ----------
    P. Thévenaz, U. E. Ruttimann, M. Unser, IEEE Trans. Image Process. 7, 27 (1998), doi:10.1109/83.650848.
    """
    found = _chained(
        views, tilt_deg, "translation", reference, max_shift_px, region, stretch, threads, progress
    )
    return Shifts(found.transforms.shift_px, found.quality, found.doubtful, np.nan)


def rigid_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    reference: int | None = None,
    max_shift_px: float | None = None,
    region: Region | None = None,
    stretch: bool | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> RigidAlignment:
    """Find the turns and shifts that make each view of a tilt series most like its neighbour in angle.

    Parameters
    ----------
    views, tilt_deg, reference, max_shift_px, region, stretch, threads, progress
        As for `stackreg_views`.

    Returns
    -------
    RigidMotion
        Qualities and doubtful views as for `stackreg_views`; the reference gets the identity.

    Raises
    ------
    DataError, UsageError
        As for `stackreg_views`.

    Notes
    -----
    As for `stackreg_views`, where view k comes to lie on view i by a turn A and a shift d: A_k = A_i A, and
    A_i d + d_i in the place of s_i + d. Small turns of a specimen in space look like turns of the view where
    its height varies along the axis, and add up: use this only where the views do turn.
    """
    return _chained(views, tilt_deg, "rigid", reference, max_shift_px, region, stretch, threads, progress)


@dataclass(frozen=True, eq=False)
class _BinnedRegion:
    """A region of the views, binned, and how pairs of them are registered.

    ``middle_px`` (x, y) is the middle of the region from that of the views in their pixels; ``reach_px`` the
    largest displacement, in binned pixels.
    """

    images: Image
    factor: int
    middle_px: Float
    reach_px: float
    cosine: Float
    motion: Motion
    threads: int
    smooth_px: float = 1.0
    stretched: bool = False

    def stretch(self, pair: Pair) -> float:
        """Return by how much the second of two views is stretched to be compared with the first."""
        return float(self.cosine[pair[0]] / self.cosine[pair[1]]) if self.stretched else 1.0

    def fits(self, pairs: Sequence[Pair]) -> Iterator[PairFit]:
        """Register the second view of each pair to the first, in pixels and about the middle of the views."""
        return ordered_map(self._fit, pairs, threads=self.threads)

    def _fit(self, pair: Pair) -> PairFit:
        """Register one pair."""
        reference, image = (self.images[view] for view in pair)
        stretch = self.stretch(pair)
        fit = register_pair(
            reference,
            image,
            motion=self.motion,
            stretch=stretch,
            smooth_px=self.smooth_px,
            max_shift_px=self.reach_px,
        )
        moved_px = self.middle_px - fit.matrix @ (self.middle_px * [stretch, 1.0])
        return replace(fit, shift_px=self.factor * fit.shift_px + moved_px)


def _chained(
    views: Views,
    tilt_deg: ArrayLike,
    motion: Motion,
    reference: int | None,
    max_shift_px: float | None,
    region: Region | None,
    stretch: bool | None,
    threads: int,
    progress: Callable[[int], None] | None,
) -> RigidAlignment:
    """Register each view to its neighbour and sum up from the reference outwards."""
    tilt = checked_tilts(views, tilt_deg)
    if reference is not None and not 0 <= reference < len(tilt):
        raise UsageError(f"reference view {reference + 1} asked for, but there are {len(tilt)}")
    report = progress or (lambda _: None)
    series = _read(views, tilt, motion, max_shift_px, region, threads, report)
    order = np.argsort(tilt, kind="stable")
    some = series.images[order[:: ceil(len(order) / MEASURED)]]
    series = replace(series, smooth_px=_smoothing(some, len(order) / 4))
    series = replace(series, stretched=_alike_stretched(series, order) if stretch is None else stretch)
    usable, fits, quality = _linked(series, order, report)
    if reference is None:
        reference = int(usable[np.argmin(np.abs(tilt[usable]))])
    if reference not in usable:
        raise UsageError(f"reference view {reference + 1} is blank or unlike its neighbours; choose another")
    stretches = [series.stretch(pair) for pair in _neighbours(usable)]
    placed = _placed(fits, stretches, int(np.flatnonzero(usable == reference)[0]))
    doubtful = np.ones(len(tilt), bool)
    doubtful[usable] = jumps(placed * [np.hypot(*views.shape[1:]) / 4, 1, 1]) | _loose(fits)
    rank = np.argsort(order)
    angle_rad, right, up = (np.interp(rank, rank[usable], column) for column in placed.T)
    matrix = np.array([rotation(angle) for angle in angle_rad])
    return RigidAlignment(Transforms(matrix, np.stack([right, up], axis=1)), quality, doubtful)


def _read(
    views: Views,
    tilt_deg: Float,
    motion: Motion,
    max_shift_px: float | None,
    region: Region | None,
    threads: int,
    report: Callable[[int], None],
) -> _BinnedRegion:
    """Read the region of all views, binned."""
    inside = region or (slice(None), slice(None))
    rows, columns = (range(n)[part] for n, part in zip(views.shape[1:], inside, strict=True))
    if min(len(rows), len(columns)) < SMALLEST_PX or rows.step != 1 or columns.step != 1:
        raise UsageError(
            f"a region of {len(columns)} x {len(rows)} pixels cannot be compared; "
            f"it needs at least {SMALLEST_PX} pixels each way"
        )
    sides = sorted((len(rows), len(columns)))
    factor = min(ceil(sides[1] / SIZE_PX), sides[0] // SMALLEST_PX)
    images = np.empty((len(views), len(rows) // factor, len(columns) // factor), np.float32)

    def read(view: int) -> None:
        images[view] = bin_image(np.asarray(views[view][inside]), factor)
        if not np.isfinite(images[view].sum(dtype=np.float64)):
            raise DataError(f"view {view + 1} holds values that are not finite; exclude it or mend the file")

    for _ in ordered_map(read, range(len(views)), threads=threads):
        report(1)
    middle = [
        (part.start + part.stop - n) / 2 for part, n in zip((columns, rows), views.shape[:0:-1], strict=True)
    ]
    reach_px = max(farthest_px(max_shift_px, (len(rows), len(columns))) / factor, 1)
    cosine = np.maximum(np.abs(np.cos(np.deg2rad(tilt_deg))), np.cos(np.deg2rad(STEEPEST_DEG)))
    return _BinnedRegion(images, factor, np.array(middle), reach_px, cosine, motion, threads)


def _neighbours(views: Indices) -> list[Pair]:
    """Return each of some views with the next one."""
    return [(int(near), int(far)) for near, far in pairwise(views)]


def _smoothing(images: Image, n_steps: float) -> float:
    """Return the Gaussian's width that lets least noise into the sum of so many displacements."""
    variance = np.sum([_variances(image, n_steps) for image in images], axis=0)
    return float(WIDTHS_PX[np.argmin(variance)])


def _variances(image: Image, n_steps: float) -> Float:
    """Return the variance of a sum of displacements, up to a constant, for every width of smoothing.

    Where smoothing leaves h of the power of the gradient, S of signal and N of noise, the variance of one
    displacement is Σ h² (2 S N + N²)/(Σ h S)². In the sum 2 S N does not grow: what the noise of a view does
    to the signal goes into one displacement with the opposite sign as into the next.
    """
    checked = np.diff(np.diff(image, axis=0), axis=1) / 2  # as strong as the noise, with hardly any signal
    noise = np.mean(checked**2, dtype=np.float64)
    if noise == 0:
        return np.zeros(len(WIDTHS_PX) - 1)
    gradients = (np.gradient(ndimage.gaussian_filter(image, width)) for width in WIDTHS_PX)
    power = np.array([np.mean(x**2 + y**2, dtype=np.float64) for y, x in gradients])
    of_noise = noise / (4 * pi * WIDTHS_PX**4)
    signal = np.maximum(power - of_noise, LEAST_SIGNAL * power)
    # Of the next width, h is that of this one squared.
    return np.asarray(noise * (2 * signal[1:] + n_steps * of_noise[1:]) / signal[:-1] ** 2)


def _alike_stretched(series: _BinnedRegion, order: Indices) -> bool:
    """Tell whether views some way apart are more alike when one of them is stretched."""
    if np.ptp(series.cosine) == 0:
        return False
    step = min(SURVEYED_STEP, len(order) - 1)
    starts = np.unique(np.linspace(0, len(order) - 1 - step, SURVEYED).astype(int))
    pairs = [(int(order[i]), int(order[i + step])) for i in starts]
    as_seen, stretched = (
        sum(fit.quality for fit in replace(series, stretched=choice).fits(pairs)) for choice in (False, True)
    )
    return stretched > as_seen


def _linked(
    series: _BinnedRegion, order: Indices, report: Callable[[int], None]
) -> tuple[Indices, list[PairFit], Float]:
    """Register neighbours, passing over failed views; return the good views, their fits, all qualities."""
    known: dict[Pair, PairFit] = {}
    quality = np.zeros(len(order))
    usable = order
    while True:
        pairs = _neighbours(usable)
        new = [pair for pair in pairs if pair not in known]
        for pair, fit in zip(new, series.fits(new), strict=True):
            known[pair] = fit
            if usable is order:
                report(1)
        fits = [known[pair] for pair in pairs]
        alike = np.array([fit.quality for fit in fits])
        quality[usable] = np.maximum(np.append(alike, 0), np.append(0, alike))
        good = like_neighbours(quality[usable], FAILED)
        if good.sum() < 2:
            raise DataError(
                "fewer than two views have anything in common; are they blank, or farther apart than allowed?"
            )
        if good.all():
            report(1)  # one pair less than views
            return usable, fits, quality
        usable = usable[good]


def _loose(fits: Sequence[PairFit]) -> NDArray[np.bool_]:
    """Tell which views in a row do not fit one of their neighbours."""
    quality = np.array([fit.quality for fit in fits])
    failed = quality < FAILED * np.median(quality)
    return np.asarray(np.append(failed, False) | np.append(False, failed))


def _placed(fits: Sequence[PairFit], stretches: Sequence[float], start: int) -> Float:
    """Return angle and shift (x, y) of views in a row from the motion of each onto the one before it."""
    placed = np.zeros((len(fits) + 1, 3))
    scales = np.stack([stretches, np.ones(len(fits))], axis=1)
    for i in range(start, len(fits)):
        angle, shift = placed[i, 0], placed[i, 1:]
        placed[i + 1, 0] = angle + fits[i].angle_rad
        placed[i + 1, 1:] = (rotation(angle) @ fits[i].shift_px + shift) / scales[i]
    for i in reversed(range(start)):
        angle = placed[i + 1, 0] - fits[i].angle_rad
        placed[i, 0] = angle
        placed[i, 1:] = placed[i + 1, 1:] * scales[i] - rotation(angle) @ fits[i].shift_px
    return placed
