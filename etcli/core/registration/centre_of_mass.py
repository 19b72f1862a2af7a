"""Registration of a tilt series by the mass of a specimen that lies between the sides of the views.

A slab of the specimen, cut across the axis, keeps its mass and its height when the specimen turns, and its
centre of mass moves across the axis as a + b cos θ + c sin θ. What the views do beyond that is their shift.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.background import rim_level
from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.registration.row_moments import (
    FEWEST_VIEWS,
    STEADY,
    RowMoments,
    fit_motion,
    profile_centers,
    steadiness,
)
from etcli.core.registration.shifts import Shifts, checked_tilts, jumps, outlier_limit
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Indices = NDArray[np.intp]
Region = tuple[slice, slice]
Along = Callable[[Float, Float, Float | None], Float]

SIZE_PX = 512  # that views are binned to
SMALLEST_PX = 16
ROUNDS = 6  # of placing the window and measuring in it
SETTLED_PX = 0.01
ROBUST_ROUNDS = 10
BLOCKS = 8  # of neighbouring views; what shows in the mean of one of them is specimen
SMOOTH_PX = 2.0
FAINT = 0.02  # of the brightest
N_SIGMA = 5.0
MARGIN_PX = 3.0  # around the specimen, and again as much to fade out
SIDES = 1 / 32  # of the width
SIDE_LIMIT = 0.1  # intensity at the sides, relative to the specimen's
END_LIMIT = 0.05  # mass of the outermost rows, relative to the heaviest
SLABS = 12
OUTSIDE = 0.002  # share of the mass above and below the slabs
MASS_CHANGE = 0.25  # a view whose slabs differ by more does not show the specimen alone, or not all of it
FEWEST_WHOLE = 0.75  # share of the views that must show it
FAILED = 0.3  # quality
BLANK = 0.1  # of the mass of the median view
NEGLIGIBLE = 1e-6
OTHERS = "use --method pc or match"


def com_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    reference: int | None = None,
    background: float | None = None,
    region: Region | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Find the shifts of the views of a specimen that lies wholly inside them, from its centres of mass.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its axis upright; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, at least four different ones.
    reference : int, optional
        View that stays where it is, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level of the empty surroundings. When not given, what each view shows around the specimen.
    region : (slice, slice), optional
        Rows and columns that hold the specimen.
    threads : int
        Views worked on at the same time.
    progress : callable, optional
        Called with 1 for every view that has been read; each is read once.

    Returns
    -------
    Shifts
        The quality is 1 less the root mean square deviation of the masses of slabs from those of the other
        views, relative to them, and at least 0. Below 0.75 a view is doubtful; below 0.3, or blank, it is
        passed over and its shift is interpolated. The residual is the root mean square distance of the
        centres of the slabs from their paths.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or there are fewer than four different tilt angles.
    UsageError
        If the reference or the region is unfit.
    ConvergenceError
        If the specimen reaches beyond the views, or its mass changes from view to view.

    Notes
    -----
    Along the axis the centre of mass stays. Across it, the centre x of slab j, one of twelve of equal mass
    m, is fitted by a_j + b_j cos θ_k + c_j sin θ_k + s_k in view k, weighted by the inverse of its variance
    Σ(x - x_j)²/m_j² in white noise. Slabs count less whose mass changes, and so do outliers (Cauchy). A part
    of s of the form a + b cos θ + c sin θ is the same as a motion of the specimen, so of all s that fit, the
    smallest are taken, by a robust fit.

    Noise weighs with its distance from the centre. So moments are taken in a window that follows the
    specimen, in some rounds: 1 where the smoothed mean of any eighth of the series stands out, and some
    pixels around. As the window is about the specimen, an error of the background hardly matters.

    References
    ----------
    M. C. Scott et al., Nature 483, 444 (2012), doi:10.1038/nature10934.
    T. Sanders, M. Prange, C. Akatay, P. Binev, Adv. Struct. Chem. Imaging 1, 4 (2015),
    doi:10.1186/s40679-015-0005-7.
    """
    return mass_shifts(
        views,
        tilt_deg,
        _centres_along,
        reference=reference,
        background=background,
        region=region,
        threads=threads,
        progress=progress,
    )


def _centres_along(mass: Float, variance: Float, before: Float | None) -> Float:
    """Return the centres of mass of views along the axis."""
    typical = np.median(mass, axis=0)
    if max(typical[:2].mean(), typical[-2:].mean()) > END_LIMIT * typical.max():
        raise ConvergenceError(
            "the specimen goes on above or below the views, so its centre of mass is not seen; "
            "use --method com-cl"
        )
    return np.asarray(mass @ np.arange(mass.shape[1]) / mass.sum(axis=1))


def mass_shifts(
    views: Views,
    tilt_deg: ArrayLike,
    along: Along,
    *,
    reference: int | None,
    background: float | None,
    region: Region | None,
    threads: int,
    progress: Callable[[int], None] | None,
) -> Shifts:
    """Find the shifts of views: across the axis from centres of mass, along it as another function says.

    Parameters
    ----------
    along : callable
        Takes the masses (n, ny) of the rows of some views, those of least tilt first; the variances (ny,)
        that noise gives them, up to a factor, 0 where there is no specimen; and the heights (n,) found
        before, None at first. Returns the heights (n,) of the views, in rows, up to a constant. Variances
        belong to a view of height 0; one of height h shows the same h rows further up.
    views, tilt_deg, reference, background, region, threads, progress
        As for `com_views`.

    Returns
    -------
    Shifts

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As for `com_views`.
    """
    tilt = checked_tilts(views, tilt_deg)
    if reference is not None and not 0 <= reference < len(tilt):
        raise UsageError(f"reference view {reference + 1} asked for, but there are {len(tilt)}")
    series = _BinnedViews.of(views, background=background, region=region, threads=threads, progress=progress)
    usable, height, slabs = _settled(series, tilt, along)
    if reference is None:
        reference = int(usable[np.argmin(np.abs(tilt[usable]))])
    if reference not in usable:
        raise UsageError(f"reference view {reference + 1} is blank or unlike the others; choose another")
    beside, misfit = _off_their_paths(slabs, tilt[usable])
    across = _beyond_motion(beside, tilt[usable], 1 / (1 + ((slabs.gain - 1) / STEADY) ** 2))
    measured = -series.factor * np.stack([across, height], axis=1)
    shift_px = np.stack([np.interp(tilt, tilt[usable], column) for column in measured.T], axis=1)
    shift_px[usable] = measured
    quality = np.zeros(len(tilt))
    quality[usable] = slabs.quality
    doubtful = quality < 1 - MASS_CHANGE
    misfit_px = series.factor * misfit
    doubtful[usable] |= jumps(measured) | (misfit_px > outlier_limit(misfit_px))
    residual_px = float(np.sqrt(np.mean(misfit_px**2)))
    return Shifts(shift_px - shift_px[reference], quality, doubtful, residual_px)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Views of a common shape over each other, each moved back by its offset (x, y) in whole pixels."""

    shape: tuple[int, ...]
    offset: Indices

    @property
    def pad(self) -> Indices:
        """By how much (x, y) the frame is larger than a view, at each border."""
        return np.asarray(np.abs(self.offset).max(axis=0))

    def part(self, offset: Indices) -> tuple[slice, ...]:
        """Return where in the frame a view lies."""
        starts = (self.pad - offset)[::-1]
        return tuple(slice(start, start + n) for start, n in zip(starts, self.shape, strict=True))

    @property
    def middle(self) -> tuple[slice, ...]:
        """Where a view without offset lies."""
        return self.part(np.zeros(2, np.intp))


@dataclass(frozen=True, eq=False)
class _BinnedViews:
    """Binned views less their background, or less the level of their sides where it is not known."""

    images: Image
    factor: int
    background_is_known: bool
    threads: int

    @classmethod
    def of(
        cls,
        views: Views,
        *,
        background: float | None,
        region: Region | None,
        threads: int,
        progress: Callable[[int], None] | None,
    ) -> "_BinnedViews":
        """Read the views once, binned."""
        inside = region or (slice(None), slice(None))
        rows, columns = (range(n)[part] for n, part in zip(views.shape[1:], inside, strict=True))
        if min(len(rows), len(columns)) < SMALLEST_PX or rows.step != 1 or columns.step != 1:
            raise UsageError(
                f"a region of {len(columns)} x {len(rows)} pixels holds no specimen; "
                f"it needs at least {SMALLEST_PX} pixels each way"
            )
        factor = ceil(max(len(rows), len(columns)) / SIZE_PX)
        images = np.empty((len(views), len(rows) // factor, len(columns) // factor), np.float32)

        def read(view: int) -> None:
            images[view] = bin_image(np.asarray(views[view][inside]), factor)
            if not np.isfinite(images[view].sum(dtype=np.float64)):
                raise DataError(
                    f"view {view + 1} holds values that are not finite; exclude it or mend the file"
                )

        for _ in ordered_map(read, range(len(views)), threads=threads):
            if progress:
                progress(1)
        level = rim_level(images)[:, np.newaxis, np.newaxis] if background is None else background
        np.subtract(images, level, out=images, casting="same_kind")
        return cls(images, factor, background is not None, threads)

    def window(self, chosen: Indices, frame: _Canvas) -> Image:
        """Return a mask over the frame: where there is specimen, with a margin."""
        body, total, count = np.zeros((3, *np.array(frame.shape) + 2 * frame.pad[::-1]), np.float32)
        for block in np.array_split(chosen, min(BLOCKS, len(chosen))):
            part, n_seen = np.zeros_like(body), np.zeros_like(body)
            for view in block:
                here = frame.part(frame.offset[view])
                part[here] += self.images[view]
                n_seen[here] += 1
            total += part
            count += n_seen
            part /= np.sqrt(np.maximum(n_seen, 1) * len(block))  # the noise is the same everywhere
            np.maximum(body, ndimage.gaussian_filter(part, SMOOTH_PX), out=body)
        noise = _sides(body[frame.middle])
        middle = np.median(noise)
        limit = max(FAINT * body.max(), middle + N_SIGMA * 1.4826 * np.median(np.abs(noise - middle)))
        solid = ndimage.binary_opening(body > limit, np.ones((3, 3)))
        if not solid.any():
            raise ConvergenceError(
                f"nothing stands out from the sides of the views; if it is a foil that fills them, {OTHERS}"
            )
        mean = total / np.maximum(count, 1)
        if _sides(mean[frame.middle]).mean(axis=(1, 2)).max() > SIDE_LIMIT * mean[solid].mean():
            raise ConvergenceError(
                "the specimen reaches the sides of the views, as a foil does, or the background is wrong; "
                f"{OTHERS}"
            )
        distance: Float = ndimage.distance_transform_edt(~solid)
        window: Image = np.clip(2 - distance / MARGIN_PX, 0, 1).astype(np.float32)
        return window

    def moments(self, window: Image, frame: _Canvas) -> RowMoments:
        """Measure the rows of all views within a window."""

        def specimen(view: int) -> Image:
            image, inside = self.images[view], window[frame.part(frame.offset[view])]
            seen: Image = image * inside
            if not self.background_is_known:
                seen -= _level(image - seen, inside) * inside
            return seen

        found = ordered_map(specimen, range(len(self.images)), threads=self.threads)
        return profile_centers(found, background=0.0)


def _level(outside: Image, inside: Image) -> np.float32:
    """Return what surrounds the specimen in a view: the mean outside the window, of the median row."""
    n_outside = inside.shape[1] - inside.sum(axis=1)
    rows = n_outside > SIDES * inside.shape[1]
    return np.float32(np.median(outside.sum(axis=1)[rows] / n_outside[rows]) if rows.any() else 0)


def _sides(image: Image) -> Image:
    """Return the strips at the left and at the right of an image."""
    width = max(int(SIDES * image.shape[1]), 1)
    return np.stack([image[:, :width], image[:, -width:]])


@dataclass(frozen=True, eq=False)
class _Segments:
    """Slabs of about equal mass, cut across the axis, in each view.

    Parameters
    ----------
    centre_px : ndarray of shape (n_views, n_slabs)
        Their centres of mass.
    sigma : ndarray of shape (n_slabs,)
        What noise makes of the centres, up to a factor.
    trust : ndarray of shape (n_views, n_slabs)
        1 for slabs of constant mass, less for others, 0 for those that a view does not show.
    gain, quality : ndarray of shape (n_views,)
        Mass of a view relative to the others, and how well the masses of its slabs agree with theirs.
    """

    centre_px: Float
    sigma: Float
    trust: Float
    gain: Float
    quality: Float

    @classmethod
    def of(cls, rows: RowMoments, height: Float, window: Image) -> "_Segments":
        """Cut the rows of views of some heights that were measured in a window."""
        ny, nx = window.shape
        borders = np.arange(ny + 1) - 0.5
        profile = np.maximum(_between(borders, rows.mass, height).mean(axis=0), 0)
        share = np.concatenate([[0], np.cumsum(profile) / profile.sum()])
        edges = np.interp(np.linspace(OUTSIDE, 1 - OUTSIDE, SLABS + 1), share, borders)

        moments = RowMoments(*(_between(edges, each, height) for each in (rows.mass, rows.moment_px)))
        mass = moments.mass
        typical = np.maximum(np.median(mass, axis=0), 0.01 * mass.mean())
        gain = np.maximum(np.median(mass / typical, axis=1), 0.01)
        at = edges + height[:, np.newaxis]
        steady = steadiness(mass / gain[:, np.newaxis])
        seen = steady * (at[:, :-1] >= borders[0]) * (at[:, 1:] <= borders[-1])
        off = np.sum(seen * (mass / typical - 1) ** 2, axis=1) / np.maximum(seen.sum(axis=1), NEGLIGIBLE)

        power, x = np.square(window, dtype=np.float64), np.arange(nx) - centre(nx)
        lever = power @ x**2 - (power @ x) ** 2 / np.maximum(power.sum(axis=1), NEGLIGIBLE)
        variance = _between(edges, lever[np.newaxis], np.zeros(1))[0] / typical**2
        sigma = np.sqrt(np.maximum(variance, NEGLIGIBLE * variance.max()))
        quality = np.where(seen.any(axis=1), np.maximum(1 - np.sqrt(off), 0), 0)
        return cls(moments.centre_px, sigma, seen, gain, quality)


def _between(edges: Float, rows: Float, height: Float) -> Float:
    """Sum the rows of views of some heights between edges."""
    below = np.pad(np.cumsum(rows, axis=1), ((0, 0), (1, 0)))
    borders = np.arange(below.shape[1]) - 0.5
    sums = [np.interp(edges + up, borders, view) for up, view in zip(height, below, strict=True)]
    return np.diff(sums, axis=1)


def _settled(series: _BinnedViews, tilt_deg: Float, along: Along) -> tuple[Indices, Float, _Segments]:
    """Return the views that can be used, in the order of their angles, their heights and their slabs."""
    usable = np.argsort(tilt_deg, kind="stable")
    place = np.zeros((len(tilt_deg), 2))
    known: Float | None = None
    for _ in range(ROUNDS):
        frame = _Canvas(series.images.shape[1:], np.rint(place).astype(np.intp))
        window = series.window(usable, frame)
        moments = series.moments(window, frame)
        window = window[frame.middle]
        mass = moments.mass.sum(axis=1)
        typical = float(np.median(mass))
        usable = usable[mass[usable] > BLANK * typical]
        _check_whole(len(usable), len(mass))

        before, place = place, np.zeros_like(place)
        place[usable, 0] = moments.moment_px[usable].sum(axis=1) / mass[usable]
        outwards = usable[np.argsort(np.abs(tilt_deg[usable]), kind="stable")]
        variance = np.square(window, dtype=np.float64).sum(axis=1)
        place[outwards, 1] = along(
            moments.mass[outwards], variance, None if known is None else known[outwards]
        )
        place[usable] -= np.median(place[usable], axis=0)
        known = place[:, 1]
        good = _Segments.of(moments.select(usable), known[usable], window).quality >= FAILED
        if good.all() and np.abs(place - before)[usable].max() < SETTLED_PX:
            break
        usable = usable[good]
    slabs = _Segments.of(moments.select(usable), place[usable, 1], window)
    _check_whole(int(np.count_nonzero(slabs.quality >= 1 - MASS_CHANGE)), len(mass))
    return usable, place[usable, 1], slabs


def _check_whole(n_whole: int, n_views: int) -> None:
    """Raise where too few views show the same mass."""
    if n_whole < FEWEST_WHOLE * n_views:
        raise ConvergenceError(
            f"the mass differs in {n_views - n_whole} of {n_views} views, as with a foil, something that "
            f"enters the field, a wrong background or much noise; {OTHERS}"
        )


def _off_their_paths(slabs: _Segments, tilt_deg: Float) -> tuple[Float, Float]:
    """Return by how much each view is off the paths of its slabs, and how far the slabs disagree."""
    weight = slabs.trust / slabs.sigma**2
    told = np.count_nonzero(weight, axis=0) >= FEWEST_VIEWS
    centre_px, sigma, weight = slabs.centre_px[:, told], slabs.sigma[told], weight[:, told]
    beside = np.zeros(len(tilt_deg))
    robust = weight
    for _ in range(ROBUST_ROUNDS):
        left = fit_motion(centre_px - beside[:, np.newaxis], tilt_deg, weight=robust).residual_px
        mean = np.average(left, axis=1, weights=robust)
        beside += mean
        left -= mean[:, np.newaxis]
        robust = weight * robust_weight(left / sigma)
    return beside, np.sqrt(np.average(left**2, axis=1, weights=robust))


def _beyond_motion(across_px: Float, tilt_deg: Float, trust: Float) -> Float:
    """Return what of the shifts of views across the axis no motion of the specimen explains."""
    left, robust = across_px, trust
    for _ in range(ROBUST_ROUNDS):
        motion = fit_motion(across_px[:, np.newaxis], tilt_deg, weight=robust[:, np.newaxis])
        left = motion.residual_px[:, 0]
        robust = trust * robust_weight(left)
    return left


def robust_weight(left: Float) -> Float:
    """Return Cauchy's weights for deviations: 1, less for outliers.

    Parameters
    ----------
    left : ndarray
        Deviations of equal variance.

    Returns
    -------
    ndarray, float64
        1/(1 + (d/s)²) with s three times the median of |d|.
    """
    size = np.abs(left)
    scale = 3 * np.median(size) + NEGLIGIBLE * size.max() + np.finfo(np.float64).tiny
    return np.asarray(1 / (1 + (size / scale) ** 2))
