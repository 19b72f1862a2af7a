"""Registration of a tilt series by centres of mass, for a specimen between the sides of the views.

A segment of the specimen, cut perpendicular to the axis, keeps its mass and its height when the specimen is
tilted, and its centre of mass moves across the axis as a + b cos θ + c sin θ. Deviations from this motion are
shifts of the views.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.background import rim_level
from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, NonFiniteViewError, UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.registration.row_moments import (
    FEWEST_VIEWS,
    STEADY,
    RowMoments,
    fit_motion,
    profile_centres,
    steadiness,
)
from etcli.core.registration.shifts import Shifts, checked_tilts, jumps, outlier_limit
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Indices = NDArray[np.intp]
Region = tuple[slice, slice]
FindHeights = Callable[[Float, Float, Float | None], Float]

SIZE_PX = 512  # views are binned to at most this
SMALLEST_PX = 16
ROUNDS = 6  # of positioning the window and measuring in it
SETTLED_PX = 0.01
ROBUST_ROUNDS = 10
BLOCKS = 8  # of neighbouring views; what stands out in the mean of one of them is specimen
SMOOTH_PX = 2.0
FAINT = 0.02  # of the brightest
N_SIGMA = 5.0
MARGIN_PX = 3.0  # around the specimen, and the same again for the fade
SIDES = 1 / 32  # of the width
SIDE_LIMIT = 0.1  # intensity at the sides, relative to the specimen's
END_LIMIT = 0.05  # mass of the outermost rows, relative to the heaviest
SEGMENTS = 12
OUTSIDE = 0.002  # fraction of the mass above and below the segments
MASS_CHANGE = 0.25  # a view whose segments differ by more shows only part of the specimen, or something else
FEWEST_WHOLE = 0.75  # fraction of the views that must show the whole specimen
FAILED = 0.3  # quality
BLANK = 0.1  # of the mass of the median view
NEGLIGIBLE = 1e-6
OTHER_METHODS = "use --method pc or match"


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
    """Find the shifts of a tilt series from the centres of mass of a specimen wholly inside the views.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its axis vertical; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, at least four different ones.
    reference : int, optional
        View that is not shifted, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level of the empty surroundings; measured around the specimen in each view when not given.
    region : (slice, slice), optional
        Rows and columns that contain the specimen.
    threads : int
        Views processed at the same time.
    progress : callable, optional
        Called with 1 for every view that has been read; each is read once.

    Returns
    -------
    Shifts
        The quality is 1 minus the relative root mean square deviation of the masses of segments from those in
        the other views, and at least 0. A view below 0.75 is doubtful; one below 0.3, or blank, is skipped,
        and its shift is interpolated. The residual is the root mean square distance of the centres of the
        segments from their fitted paths.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or there are fewer than four different tilt angles.
    UsageError
        If there is no such reference view or the region is too small.
    ConvergenceError
        If the specimen reaches beyond the views, or its mass changes from view to view.

    Notes
    -----
    Along the axis the centre of mass does not move. Across it, the centre x of segment j, one of twelve of
    equal mass m, is fitted by a_j + b_j cos θ_k + c_j sin θ_k + s_k in view k, weighted by the inverse of its
    variance Σ(x - x_j)²/m_j² in white noise. Segments whose mass changes get less weight, and so do outliers
    (Cauchy). A part of s of the form a + b cos θ + c sin θ is equivalent to a motion of the specimen, so of
    all s that fit, the smallest are chosen, by a robust fit.

    Noise contributes in proportion to its distance from the centre. So moments are measured in a window that
    follows the specimen, in some rounds: 1 where the smoothed mean of any eighth of the series stands out,
    and some pixels around. As the window encloses the specimen tightly, an error of the background hardly
    matters.

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


def _centres_along(mass: Float, variance: Float, previous: Float | None) -> Float:
    """Return the centres of mass of the views along the axis."""
    typical = np.median(mass, axis=0)
    if max(typical[:2].mean(), typical[-2:].mean()) > END_LIMIT * typical.max():
        raise ConvergenceError(
            "the specimen continues above or below the views, so its centre of mass is not visible; "
            "use --method com-cl"
        )
    return np.asarray(mass @ np.arange(mass.shape[1]) / mass.sum(axis=1))


def mass_shifts(
    views: Views,
    tilt_deg: ArrayLike,
    find_heights: FindHeights,
    *,
    reference: int | None,
    background: float | None,
    region: Region | None,
    threads: int,
    progress: Callable[[int], None] | None,
) -> Shifts:
    """Find the shifts of views across the axis from centres of mass, and along it with a given function.

    Parameters
    ----------
    find_heights : callable
        Takes the masses (n, ny) of the rows of some views, those of least tilt first; their variances (ny,)
        from noise, up to a factor, 0 where there is no specimen; and the previous heights (n,), None at
        first. Returns the heights (n,) of the views, in rows, up to a constant. The variances are for a view
        of height 0; in a view of height h they apply h rows further up.
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
    usable, height, segments = _follow_specimen(series, tilt, find_heights)
    if reference is None:
        reference = int(usable[np.argmin(np.abs(tilt[usable]))])
    if reference not in usable:
        raise UsageError(f"reference view {reference + 1} is blank or unlike the others; choose another")
    deviation, misfit = _path_deviations(segments, tilt[usable])
    across = _unexplained_shifts(deviation, tilt[usable], 1 / (1 + ((segments.gain - 1) / STEADY) ** 2))
    measured = -series.factor * np.stack([across, height], axis=1)
    shift_px = np.stack([np.interp(tilt, tilt[usable], column) for column in measured.T], axis=1)
    shift_px[usable] = measured
    quality = np.zeros(len(tilt))
    quality[usable] = segments.quality
    doubtful = quality < 1 - MASS_CHANGE
    misfit_px = series.factor * misfit
    doubtful[usable] |= jumps(measured) | (misfit_px > outlier_limit(misfit_px))
    residual_px = float(np.sqrt(np.mean(misfit_px**2)))
    return Shifts(shift_px - shift_px[reference], quality, doubtful, residual_px)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Common frame of views of one shape, each moved back by its offset (x, y) in whole pixels."""

    shape: tuple[int, ...]
    offset: Indices

    @property
    def pad(self) -> Indices:
        """Margin (x, y) of the canvas around a view, at each border."""
        return np.asarray(np.abs(self.offset).max(axis=0))

    def part(self, offset: Indices) -> tuple[slice, ...]:
        """Return the part of the canvas that a view with this offset covers."""
        first = (self.pad - offset)[::-1]
        return tuple(slice(start, start + n) for start, n in zip(first, self.shape, strict=True))

    @property
    def middle(self) -> tuple[slice, ...]:
        """Part of the canvas that a view without offset covers."""
        return self.part(np.zeros(2, np.intp))


@dataclass(frozen=True, eq=False)
class _BinnedViews:
    """Binned views minus their background, or minus the level at their borders if it is not known."""

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
        """Read each view once and bin it."""
        window = region or (slice(None), slice(None))
        rows, columns = (range(n)[part] for n, part in zip(views.shape[1:], window, strict=True))
        if min(len(rows), len(columns)) < SMALLEST_PX or rows.step != 1 or columns.step != 1:
            raise UsageError(
                f"a region of {len(columns)} x {len(rows)} pixels holds no specimen; "
                f"it needs at least {SMALLEST_PX} pixels each way"
            )
        factor = ceil(max(len(rows), len(columns)) / SIZE_PX)
        images = np.empty((len(views), len(rows) // factor, len(columns) // factor), np.float32)

        def read(view: int) -> None:
            images[view] = bin_image(np.asarray(views[view][window]), factor)
            if not np.isfinite(images[view].sum(dtype=np.float64)):
                raise NonFiniteViewError(view)

        for _ in ordered_map(read, range(len(views)), threads=threads):
            if progress:
                progress(1)
        level = rim_level(images)[:, np.newaxis, np.newaxis] if background is None else background
        np.subtract(images, level, out=images, casting="same_kind")
        return cls(images, factor, background is not None, threads)

    def window(self, selected: Indices, canvas: _Canvas) -> Image:
        """Return a mask over the canvas: 1 where there is specimen, with a margin that fades to 0."""
        body, total, count = np.zeros((3, *np.array(canvas.shape) + 2 * canvas.pad[::-1]), np.float32)
        for block in np.array_split(selected, min(BLOCKS, len(selected))):
            block_sum, n_seen = np.zeros_like(body), np.zeros_like(body)
            for view in block:
                covered = canvas.part(canvas.offset[view])
                block_sum[covered] += self.images[view]
                n_seen[covered] += 1
            total += block_sum
            count += n_seen
            block_sum /= np.sqrt(np.maximum(n_seen, 1) * len(block))  # so that noise is the same everywhere
            np.maximum(body, ndimage.gaussian_filter(block_sum, SMOOTH_PX), out=body)
        noise = _side_strips(body[canvas.middle])
        middle = np.median(noise)
        limit = max(FAINT * body.max(), middle + N_SIGMA * 1.4826 * np.median(np.abs(noise - middle)))
        solid = ndimage.binary_opening(body > limit, np.ones((3, 3)))
        if not solid.any():
            raise ConvergenceError(
                "nothing stands out from the sides of the views; if it is a foil that fills them, "
                f"{OTHER_METHODS}"
            )
        mean = total / np.maximum(count, 1)
        if _side_strips(mean[canvas.middle]).mean(axis=(1, 2)).max() > SIDE_LIMIT * mean[solid].mean():
            raise ConvergenceError(
                "the specimen reaches the sides of the views, as a foil does, or the background is wrong; "
                f"{OTHER_METHODS}"
            )
        distance: Float = ndimage.distance_transform_edt(~solid)
        window: Image = np.clip(2 - distance / MARGIN_PX, 0, 1).astype(np.float32)
        return window

    def moments(self, window: Image, canvas: _Canvas) -> RowMoments:
        """Measure the rows of all views within a window."""

        def specimen(view: int) -> Image:
            image, inside = self.images[view], window[canvas.part(canvas.offset[view])]
            content: Image = image * inside
            if not self.background_is_known:
                content -= _surrounding_level(image - content, inside) * inside
            return content

        contents = ordered_map(specimen, range(len(self.images)), threads=self.threads)
        return profile_centres(contents, background=0.0)


def _surrounding_level(outside: Image, inside: Image) -> np.float32:
    """Return the level around the specimen in a view: the median over rows of the mean outside the window."""
    n_outside = inside.shape[1] - inside.sum(axis=1)
    rows = n_outside > SIDES * inside.shape[1]
    return np.float32(np.median(outside.sum(axis=1)[rows] / n_outside[rows]) if rows.any() else 0)


def _side_strips(image: Image) -> Image:
    """Return the strips at the left and right sides of an image."""
    width = max(int(SIDES * image.shape[1]), 1)
    return np.stack([image[:, :width], image[:, -width:]])


@dataclass(frozen=True, eq=False)
class _Segments:
    """Segments of the specimen of about equal mass, cut perpendicular to the axis, in each view.

    Parameters
    ----------
    centre_px : ndarray of shape (n_views, n_segments)
        Centres of mass.
    sigma : ndarray of shape (n_segments,)
        Standard deviation of the centres due to noise, up to a factor.
    trust : ndarray of shape (n_views, n_segments)
        1 for segments of constant mass, less for others, 0 for those that a view does not show.
    gain, quality : ndarray of shape (n_views,)
        Mass of a view relative to the others, and how well the masses of its segments agree with theirs.
    """

    centre_px: Float
    sigma: Float
    trust: Float
    gain: Float
    quality: Float

    @classmethod
    def of(cls, rows: RowMoments, height: Float, window: Image) -> "_Segments":
        """Divide the specimen into segments, given rows measured in a window and the heights of the views."""
        ny, nx = window.shape
        borders = np.arange(ny + 1) - 0.5
        profile = np.maximum(_sum_between(borders, rows.mass, height).mean(axis=0), 0)
        cumulative = np.concatenate([[0], np.cumsum(profile) / profile.sum()])
        edges = np.interp(np.linspace(OUTSIDE, 1 - OUTSIDE, SEGMENTS + 1), cumulative, borders)

        moments = RowMoments(*(_sum_between(edges, each, height) for each in (rows.mass, rows.moment_px)))
        mass = moments.mass
        typical = np.maximum(np.median(mass, axis=0), 0.01 * mass.mean())
        gain = np.maximum(np.median(mass / typical, axis=1), 0.01)
        edges_in_view = edges + height[:, np.newaxis]
        steady_weight = steadiness(mass / gain[:, np.newaxis])
        trust = steady_weight * (edges_in_view[:, :-1] >= borders[0]) * (edges_in_view[:, 1:] <= borders[-1])
        variation = np.sum(trust * (mass / typical - 1) ** 2, axis=1) / np.maximum(
            trust.sum(axis=1), NEGLIGIBLE
        )

        power, x = np.square(window, dtype=np.float64), np.arange(nx) - centre(nx)
        lever = power @ x**2 - (power @ x) ** 2 / np.maximum(power.sum(axis=1), NEGLIGIBLE)
        variance = _sum_between(edges, lever[np.newaxis], np.zeros(1))[0] / typical**2
        sigma = np.sqrt(np.maximum(variance, NEGLIGIBLE * variance.max()))
        quality = np.where(trust.any(axis=1), np.maximum(1 - np.sqrt(variation), 0), 0)
        return cls(moments.centre_px, sigma, trust, gain, quality)


def _sum_between(edges: Float, rows: Float, height: Float) -> Float:
    """Sum the rows of each view between edges that are displaced by its height."""
    below = np.pad(np.cumsum(rows, axis=1), ((0, 0), (1, 0)))
    borders = np.arange(below.shape[1]) - 0.5
    sums = [np.interp(edges + up, borders, view) for up, view in zip(height, below, strict=True)]
    return np.diff(sums, axis=1)


def _follow_specimen(
    series: _BinnedViews, tilt_deg: Float, find_heights: FindHeights
) -> tuple[Indices, Float, _Segments]:
    """Return the usable views, in the order of their angles, their heights and the segments in them."""
    usable = np.argsort(tilt_deg, kind="stable")
    position = np.zeros((len(tilt_deg), 2))
    known_height: Float | None = None
    for _ in range(ROUNDS):
        canvas = _Canvas(series.images.shape[1:], np.rint(position).astype(np.intp))
        window = series.window(usable, canvas)
        moments = series.moments(window, canvas)
        window = window[canvas.middle]
        mass = moments.mass.sum(axis=1)
        typical = float(np.median(mass))
        usable = usable[mass[usable] > BLANK * typical]
        _check_whole(len(usable), len(mass))

        previous, position = position, np.zeros_like(position)
        position[usable, 0] = moments.moment_px[usable].sum(axis=1) / mass[usable]
        outwards = usable[np.argsort(np.abs(tilt_deg[usable]), kind="stable")]
        variance = np.square(window, dtype=np.float64).sum(axis=1)
        position[outwards, 1] = find_heights(
            moments.mass[outwards], variance, None if known_height is None else known_height[outwards]
        )
        position[usable] -= np.median(position[usable], axis=0)
        known_height = position[:, 1]
        good = _Segments.of(moments.select(usable), known_height[usable], window).quality >= FAILED
        if good.all() and np.abs(position - previous)[usable].max() < SETTLED_PX:
            break
        usable = usable[good]
        _check_whole(len(usable), len(mass))
    segments = _Segments.of(moments.select(usable), position[usable, 1], window)
    _check_whole(int(np.count_nonzero(segments.quality >= 1 - MASS_CHANGE)), len(mass))
    return usable, position[usable, 1], segments


def _check_whole(n_whole: int, n_views: int) -> None:
    """Raise ConvergenceError if too few views show the same mass."""
    if n_whole < FEWEST_WHOLE * n_views:
        raise ConvergenceError(
            f"the mass differs in {n_views - n_whole} of {n_views} views, as with a foil, something that "
            f"enters the field, a wrong background or much noise; {OTHER_METHODS}"
        )


def _path_deviations(segments: _Segments, tilt_deg: Float) -> tuple[Float, Float]:
    """Return the distance of each view from the paths of its segments, and the scatter of the segments."""
    weight = segments.trust / segments.sigma**2
    enough = np.count_nonzero(weight, axis=0) >= FEWEST_VIEWS
    centre_px, sigma, weight = segments.centre_px[:, enough], segments.sigma[enough], weight[:, enough]
    deviation = np.zeros(len(tilt_deg))
    robust = weight
    for _ in range(ROBUST_ROUNDS):
        residual = fit_motion(centre_px - deviation[:, np.newaxis], tilt_deg, weight=robust).residual_px
        mean = np.average(residual, axis=1, weights=robust)
        deviation += mean
        residual -= mean[:, np.newaxis]
        robust = weight * robust_weight(residual / sigma)
    return deviation, np.sqrt(np.average(residual**2, axis=1, weights=robust))


def _unexplained_shifts(across_px: Float, tilt_deg: Float, trust: Float) -> Float:
    """Return the part of the shifts across the axis that no motion of the specimen explains."""
    residual, robust = across_px, trust
    for _ in range(ROBUST_ROUNDS):
        motion = fit_motion(across_px[:, np.newaxis], tilt_deg, weight=robust[:, np.newaxis])
        residual = motion.residual_px[:, 0]
        robust = trust * robust_weight(residual)
    return residual


def robust_weight(deviation: Float) -> Float:
    """Return Cauchy's weights for deviations: about 1, and less for outliers.

    Parameters
    ----------
    deviation : ndarray
        Deviations of equal variance.

    Returns
    -------
    ndarray, float64
        1/(1 + (d/s)²) with s three times the median of |d|.
    """
    size = np.abs(deviation)
    scale = 3 * np.median(size) + NEGLIGIBLE * size.max() + np.finfo(np.float64).tiny
    return np.asarray(1 / (1 + (size / scale) ** 2))
