"""Registration of a tilt series by least squares, each view to its neighbour in tilt angle."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, pi

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import DataError, NonFiniteViewError, UsageError
from etcli.core.parallel import ordered_map
from etcli.core.registration.least_squares import (
    SMALLEST_PX,
    Motion,
    PairFit,
    register_pair,
    rotation,
    shift_limit_px,
)
from etcli.core.registration.shifts import Shifts, checked_tilts, jumps, like_neighbours
from etcli.core.registration.transforms import Transforms, Views

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Indices = NDArray[np.intp]
Region = tuple[slice, slice]
Pair = tuple[int, int]

SIZE_PX = 512  # views are binned to at most this
WIDTHS_PX = np.sqrt(2) ** np.arange(7)  # of smoothing; all but the last are tried
LEAST_SIGNAL = 1e-3  # as a fraction of the power of the gradient
MEASURED = 4  # views from which the smoothing is chosen
SURVEYED = 8  # pairs of views from which it is decided whether to stretch
SURVEYED_STEP = 3  # far enough apart to distinguish a foil from a particle
STEEPEST_DEG = 80.0  # no foil can be seen at higher tilts
FAILED = 0.5  # of the neighbours' quality: in a chain, a wrong link costs more than one missing view


@dataclass(frozen=True, eq=False)
class RigidAlignment:
    """Rotation and shift of every view, with its quality and whether it is doubtful.

    Parameters
    ----------
    transforms : Transforms
        A rotation and a shift per view.
    quality : ndarray of shape (n_views,), float64
        How well the view matched, at most 1.
    doubtful : ndarray of shape (n_views,), bool
        Views to inspect: blank, unlike their neighbours, or away from the smooth motion.
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
    """Find the shifts of a tilt series by least squares between each view and its neighbour in angle.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its tilt axis vertical; each view is read once.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    reference : int, optional
        View that is not shifted, counted from 0; the one nearest 0° when not given.
    max_shift_px : float, optional
        Largest displacement considered between two views, along x and along y; half the view when not
        given.
    region : (slice, slice), optional
        Rows and columns to compare.
    stretch : bool, optional
        Whether views are stretched across the axis by the ratio of the cosines before they are compared:
        right for a foil, wrong for a needle or particle. When not given, whichever makes the views more
        similar.
    threads : int
        Pairs of views processed at the same time.
    progress : callable, optional
        Called with 1 for every view that is done, twice for each.

    Returns
    -------
    Shifts
        The quality is the correlation with the neighbour that fits better. A failed view, one below half of
        its neighbours' median, is skipped; it gets an interpolated shift and is doubtful. The residual is
        NaN: no shift is measured twice.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or fewer than two views have anything in common.
    UsageError
        If the reference, the region or a number is out of range.

    Notes
    -----
    Views are binned to at most 512 px and smoothed by the Gaussian that leaves the least noise in the shifts.
    Each is registered to the previous one in angle by `etcli.core.registration.least_squares.register_pair`.
    If view k, stretched by r = cos θ_i / cos θ_k about the axis, matches view i after a move by d, then
    s_k = (s_i + d)/r across the axis and s_i + d along it; the shifts add up from the reference outwards. The
    stretch stays constant beyond 80°.

    References
    ----------
    P. Thévenaz, U. E. Ruttimann, M. Unser, IEEE Trans. Image Process. 7, 27 (1998), doi:10.1109/83.650848.
    """
    alignment = _register_chain(
        views, tilt_deg, "translation", reference, max_shift_px, region, stretch, threads, progress
    )
    return Shifts(alignment.transforms.shift_px, alignment.quality, alignment.doubtful, np.nan)


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
    """Find the rotations and shifts of a tilt series by least squares between neighbours in angle.

    Parameters
    ----------
    views, tilt_deg, reference, max_shift_px, region, stretch, threads, progress
        As for `stackreg_views`.

    Returns
    -------
    RigidAlignment
        Qualities and doubtful views as for `stackreg_views`; the reference gets the identity.

    Raises
    ------
    DataError, UsageError
        As for `stackreg_views`.

    Notes
    -----
    As for `stackreg_views`, but view k is brought onto view i by a rotation A and a shift d: A_k = A_i A,
    with A_i d + d_i instead of s_i + d. Small rotations of a specimen in space look like rotations of the
    view if its height varies along the axis, and add up: use this only if the views are really rotated.
    """
    return _register_chain(
        views, tilt_deg, "rigid", reference, max_shift_px, region, stretch, threads, progress
    )


@dataclass(frozen=True, eq=False)
class _BinnedRegion:
    """Binned region of all views, with the settings for the registration of pairs.

    ``middle_px`` (x, y) is the vector from the middle of the views to that of the region, in pixels of the
    views; ``reach_px`` is the largest displacement, in binned pixels.
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
        """Return the factor by which the second of two views is stretched before the comparison."""
        return float(self.cosine[pair[0]] / self.cosine[pair[1]]) if self.stretched else 1.0

    def fits(self, pairs: Sequence[Pair]) -> Iterator[PairFit]:
        """Register the second view of each pair to the first, in pixels and about the middle of the views."""
        return ordered_map(self._fit, pairs, threads=self.threads)

    def _fit(self, pair: Pair) -> PairFit:
        """Register one pair; see `fits`."""
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


def _register_chain(
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
    """Register each view to its neighbour and add up the motions from the reference outwards."""
    tilt = checked_tilts(views, tilt_deg)
    if reference is not None and not 0 <= reference < len(tilt):
        raise UsageError(f"reference view {reference + 1} asked for, but there are {len(tilt)}")
    report = progress or (lambda _: None)
    series = _read_binned(views, tilt, motion, max_shift_px, region, threads, report)
    order = np.argsort(tilt, kind="stable")
    samples = series.images[order[:: ceil(len(order) / MEASURED)]]
    series = replace(series, smooth_px=_best_smoothing(samples, len(order) / 4))
    series = replace(series, stretched=_is_stretched(series, order) if stretch is None else stretch)
    usable, fits, quality = _register_neighbours(series, order, report)
    if reference is None:
        reference = int(usable[np.argmin(np.abs(tilt[usable]))])
    if reference not in usable:
        raise UsageError(f"reference view {reference + 1} is blank or unlike its neighbours; choose another")
    stretches = [series.stretch(pair) for pair in _successive_pairs(usable)]
    motions = _accumulate(fits, stretches, int(np.flatnonzero(usable == reference)[0]))
    doubtful = np.ones(len(tilt), bool)
    doubtful[usable] = jumps(motions * [np.hypot(*views.shape[1:]) / 4, 1, 1]) | _poor_fits(fits)
    rank = np.argsort(order)
    angle_rad, right, up = (np.interp(rank, rank[usable], column) for column in motions.T)
    matrix = np.array([rotation(angle) for angle in angle_rad])
    return RigidAlignment(Transforms(matrix, np.stack([right, up], axis=1)), quality, doubtful)


def _read_binned(
    views: Views,
    tilt_deg: Float,
    motion: Motion,
    max_shift_px: float | None,
    region: Region | None,
    threads: int,
    report: Callable[[int], None],
) -> _BinnedRegion:
    """Read the region of all views and bin it."""
    window = region or (slice(None), slice(None))
    rows, columns = (range(n)[part] for n, part in zip(views.shape[1:], window, strict=True))
    if min(len(rows), len(columns)) < SMALLEST_PX or rows.step != 1 or columns.step != 1:
        raise UsageError(
            f"a region of {len(columns)} x {len(rows)} pixels cannot be compared; "
            f"it needs at least {SMALLEST_PX} pixels each way"
        )
    sides = sorted((len(rows), len(columns)))
    factor = min(ceil(sides[1] / SIZE_PX), sides[0] // SMALLEST_PX)
    images = np.empty((len(views), len(rows) // factor, len(columns) // factor), np.float32)

    def read(view: int) -> None:
        images[view] = bin_image(np.asarray(views[view][window]), factor)
        if not np.isfinite(images[view].sum(dtype=np.float64)):
            raise NonFiniteViewError(view)

    for _ in ordered_map(read, range(len(views)), threads=threads):
        report(1)
    middle_px = [
        (part.start + part.stop - n) / 2 for part, n in zip((columns, rows), views.shape[:0:-1], strict=True)
    ]
    reach_px = max(shift_limit_px(max_shift_px, (len(rows), len(columns))) / factor, 1)
    cosine = np.maximum(np.abs(np.cos(np.deg2rad(tilt_deg))), np.cos(np.deg2rad(STEEPEST_DEG)))
    return _BinnedRegion(images, factor, np.array(middle_px), reach_px, cosine, motion, threads)


def _successive_pairs(views: Indices) -> list[Pair]:
    """Return the pairs of successive views."""
    return [(int(near), int(far)) for near, far in pairwise(views)]


def _best_smoothing(images: Image, n_steps: float) -> float:
    """Return the width of the Gaussian that leaves least noise in the sum of ``n_steps`` displacements."""
    variance = np.sum([_sum_variances(image, n_steps) for image in images], axis=0)
    return float(WIDTHS_PX[np.argmin(variance)])


def _sum_variances(image: Image, n_steps: float) -> Float:
    """Return the variance of a sum of displacements, up to a constant, for every width of smoothing.

    If the power of the gradient is S for signal and N for noise, and smoothing transmits the fraction h, the
    variance of one displacement is Σ h² (2 S N + N²)/(Σ h S)². In the sum, 2 S N does not grow: the noise of
    a view enters successive displacements with opposite signs.
    """
    checkerboard = np.diff(np.diff(image, axis=0), axis=1) / 2  # variance of the noise, hardly any signal
    noise = np.mean(checkerboard**2, dtype=np.float64)
    if noise == 0:
        return np.zeros(len(WIDTHS_PX) - 1)
    gradients = (np.gradient(ndimage.gaussian_filter(image, width)) for width in WIDTHS_PX)
    power = np.array([np.mean(x**2 + y**2, dtype=np.float64) for y, x in gradients])
    of_noise = noise / (4 * pi * WIDTHS_PX**4)
    signal = np.maximum(power - of_noise, LEAST_SIGNAL * power)
    # For the next width, h is the square of that for this one.
    return np.asarray(noise * (2 * signal[1:] + n_steps * of_noise[1:]) / signal[:-1] ** 2)


def _is_stretched(series: _BinnedRegion, order: Indices) -> bool:
    """Check whether views some steps apart are more similar if one of them is stretched."""
    if np.ptp(series.cosine) == 0:
        return False
    step = min(SURVEYED_STEP, len(order) - 1)
    starts = np.unique(np.linspace(0, len(order) - 1 - step, SURVEYED).astype(int))
    pairs = [(int(order[i]), int(order[i + step])) for i in starts]
    unstretched_quality, stretched_quality = (
        sum(fit.quality for fit in replace(series, stretched=choice).fits(pairs)) for choice in (False, True)
    )
    return stretched_quality > unstretched_quality


def _register_neighbours(
    series: _BinnedRegion, order: Indices, report: Callable[[int], None]
) -> tuple[Indices, list[PairFit], Float]:
    """Register neighbours and skip failed views; return the good views, their fits, and all qualities."""
    fit_of_pair: dict[Pair, PairFit] = {}
    quality = np.zeros(len(order))
    usable = order
    while True:
        pairs = _successive_pairs(usable)
        new = [pair for pair in pairs if pair not in fit_of_pair]
        for pair, fit in zip(new, series.fits(new), strict=True):
            fit_of_pair[pair] = fit
            if usable is order:
                report(1)
        fits = [fit_of_pair[pair] for pair in pairs]
        similarity = np.array([fit.quality for fit in fits])
        quality[usable] = np.maximum(np.append(similarity, 0), np.append(0, similarity))
        good = like_neighbours(quality[usable], FAILED)
        if good.sum() < 2:
            raise DataError(
                "fewer than two views have anything in common; are they blank, or farther apart than allowed?"
            )
        if good.all():
            report(1)  # there is one pair fewer than views
            return usable, fits, quality
        usable = usable[good]


def _poor_fits(fits: Sequence[PairFit]) -> NDArray[np.bool_]:
    """Find the views in a row that do not fit one of their neighbours."""
    quality = np.array([fit.quality for fit in fits])
    failed = quality < FAILED * np.median(quality)
    return np.asarray(np.append(failed, False) | np.append(False, failed))


def _accumulate(fits: Sequence[PairFit], stretches: Sequence[float], start: int) -> Float:
    """Return rotation angle and shift (x, y) of views in a row from the motion of each onto the previous."""
    motions = np.zeros((len(fits) + 1, 3))
    scales = np.stack([stretches, np.ones(len(fits))], axis=1)
    for i in range(start, len(fits)):
        angle, shift = motions[i, 0], motions[i, 1:]
        motions[i + 1, 0] = angle + fits[i].angle_rad
        motions[i + 1, 1:] = (rotation(angle) @ fits[i].shift_px + shift) / scales[i]
    for i in reversed(range(start)):
        angle = motions[i + 1, 0] - fits[i].angle_rad
        motions[i, 0] = angle
        motions[i, 1:] = motions[i + 1, 1:] * scales[i] - rotation(angle) @ fits[i].shift_px
    return motions
