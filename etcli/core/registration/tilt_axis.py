"""Angle and position of the tilt axis in a registered series.

The angle R is from +y to the axis, counter-clockwise positive with row 0 at the bottom. The offset is where
the axis crosses the row through the middle of the view, in pixels from that middle, after the view has been
rotated about the middle by -R so that the axis is vertical.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, reduce
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.geometry import centre
from etcli.core.parabola import lowest
from etcli.core.parallel import ordered_map
from etcli.core.registration.lines import Edges
from etcli.core.registration.row_moments import (
    Consistency,
    RowMoments,
    measure_consistency,
    steadiness,
    turned_moments,
)
from etcli.core.registration.shifts import checked_tilts
from etcli.core.registration.transforms import (
    Transforms,
    Views,
    compose,
    lies_along_x,
    resample,
    turned_shape,
)

Float = NDArray[np.float64]
Image = NDArray[np.float32]

FEWEST_TILTS = 5
COARSE_PX, FINE_PX = 128, 512  # views are binned to at most this
COARSE_STEP_DEG = 1.0
FINE_STEPS_DEG = 0.5, 0.2, 0.1, 0.1
MASS_CHANGE = 0.2  # a view whose mass differs by more does not show the whole specimen
FEWEST_WHOLE = 0.75  # fraction of the views that must show it
SIDE_LIMIT = 0.25  # intensity at the sides, relative to the mean
BLOCKS = 8  # of the jackknife
FEWEST_STEADY = 0.25  # fraction of the mass that must be constant over the series
LARGEST_SIGMA_DEG = 1.0
HOUGH_STEP_DEG = 0.25
CLEAR_LINES = 0.03  # of `Edges.votes`: paths of particles give 0.05 to 0.15, foils and noise below 0.015


@dataclass(frozen=True)
class TiltAxis:
    """Measured tilt axis: angle and offset with standard deviations, and the residual.

    Parameters
    ----------
    angle_deg : float
        R, from +y to the axis, counter-clockwise, in degrees.
    offset_px : float
        Where the axis crosses the middle row once it is vertical, from the middle of the view; NaN if the
        method does not measure it.
    angle_sigma_deg, offset_sigma_px : float
        Standard deviations, from leaving out parts of the specimen; NaN if the method does not measure them.
    residual_px : float
        Root mean square distance from the motion that the method fits: of centres of mass, or of views from
        their reprojections; NaN if the method does not measure it.
    """

    angle_deg: float
    offset_px: float
    angle_sigma_deg: float
    offset_sigma_px: float
    residual_px: float


def alignment_matrix(angle_deg: float, offset_px: float) -> tuple[Float, Float]:
    """Return the transform that makes a tilt axis vertical and brings it to the middle.

    Parameters
    ----------
    angle_deg, offset_px : float
        The axis, as in `TiltAxis`.

    Returns
    -------
    matrix : ndarray of shape (2, 2), float64
        A = [[cos R, sin R], [-sin R, cos R]], acting on (x, y) about the middle of the view.
    shift_px : ndarray of shape (2,), float64
        d = (-offset, 0).
    """
    return Transforms.rotation(angle_deg, 1).matrix[0], np.array([-offset_px, 0.0])


def com_axis(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    background: float,
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    limit_deg: float = 15.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TiltAxis:
    """Find the tilt axis from the centres of mass of a specimen that lies wholly inside the views.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    background : float
        Level of the empty surroundings.
    transforms : Transforms, optional
        Transforms that register the views, if they are not registered.
    start_deg, limit_deg : float
        The axis is searched for within `limit_deg` of `start_deg`.
    threads : int
        Views processed at the same time.
    progress : callable, optional
        Called with 1 for every view that has been read; each is read twice.

    Returns
    -------
    TiltAxis

    Raises
    ------
    DataError
        If there are fewer than five tilt angles.
    UsageError
        If the limit is not between 0 and 45°.
    ConvergenceError
        If the specimen is cut by the sides of the views or its mass changes with the tilt, as with a foil;
        if the axis is beyond the limits; or if its angle is uncertain by more than 1°.

    Notes
    -----
    The axis is the one for which the rows are most consistent (`measure_consistency`): if the axis is
    vertical, the centre of mass at every height moves as offset + b cos θ + c sin θ, with one offset for all
    heights, and the mass stays the same. For a needle this is the straight line through the a(y) of its rows;
    the conditions are also valid for particles that move from row to row because the axis is inclined, and
    are exact at the axis.

    References
    ----------
    T. Sanders, M. Prange, C. Akatay, P. Binev, Adv. Struct. Chem. Imaging 1, 4 (2015),
    doi:10.1186/s40679-015-0005-7.
    """
    tilt = checked_tilts(views, tilt_deg)
    if not 0 < limit_deg <= 45:
        raise UsageError(f"an axis cannot be searched for within {limit_deg:g}°; use a limit up to 45°")
    if len(np.unique(tilt)) < FEWEST_TILTS:
        raise DataError(
            f"{len(np.unique(tilt))} tilt angles do not determine an axis; {FEWEST_TILTS} are needed"
        )
    registration = transforms or Transforms.identity(len(tilt))
    binned = partial(_BinnedSeries.of, views, background=background, threads=threads, progress=progress)
    coarse = binned(range(len(tilt)), registration, size=COARSE_PX)
    _check_sides(coarse, start_deg)
    steps = ceil(limit_deg / COARSE_STEP_DEG)
    angles = start_deg + limit_deg * np.arange(-steps, steps + 1) / steps
    moments = [coarse.moments(angle, 0.0) for angle in angles]
    row_weight = coarse.rows_inside(start_deg + limit_deg).astype(np.float64)
    whole = _whole_views(moments[steps].mass @ row_weight)
    fits = [
        measure_consistency(moments_at_angle.select(whole), tilt[whole], weight=row_weight)
        for moments_at_angle in moments
    ]
    best = int(np.argmin([fit.cost for fit in fits]))
    if best in (0, len(angles) - 1):
        raise ConvergenceError(
            f"no tilt axis within {limit_deg:g}° of {start_deg:g}°; give its rough angle (--axis), or use "
            "another method"
        )
    fine = binned(whole, registration.select(whole), size=FINE_PX)
    return _refine(fine, tilt[whole], float(angles[best]), fits[best].offset_px * coarse.factor)


def maximage_axis(
    views: Views,
    *,
    background: float,
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    limit_deg: float = 15.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TiltAxis:
    """Find the angle of the tilt axis from the paths of bright particles in the maximum of all views.

    Parameters
    ----------
    views, background, transforms, start_deg, limit_deg, threads
        As for `com_axis`; the specimen may reach beyond the views.
    progress : callable, optional
        Called with 1 for every view that has been read.

    Returns
    -------
    TiltAxis
        The angle only, accurate to some tenths of a degree.

    Raises
    ------
    ConvergenceError
        If no lines stand out, or the angle is at its limit.

    Notes
    -----
    Each pixel of the maximum of all views votes in a Hough transform for the line through it that is
    perpendicular to an axis of angle R, by how much more the image changes across that line than along it;
    the angle with the largest variance of the votes is chosen. Paths of different particles that lie nearly
    on one line cause errors of up to a degree, so the result is the mean direction of the edges within some
    degrees of this angle.

    References
    ----------
    R. O. Duda, P. E. Hart, Commun. ACM 15, 11 (1972), doi:10.1145/361237.361242.
    """
    n_views = len(views)
    binned = _BinnedSeries.of(
        views,
        range(n_views),
        transforms or Transforms.identity(n_views),
        size=FINE_PX,
        background=background,
        threads=threads,
        progress=progress,
    )
    edges = Edges.of(binned.brightest(start_deg))
    angles_rad = np.deg2rad(np.arange(-limit_deg, limit_deg + HOUGH_STEP_DEG / 2, HOUGH_STEP_DEG))
    votes = np.array([edges.votes(angle) for angle in angles_rad])
    best = int(np.argmax(votes))
    if best in (0, len(votes) - 1) or votes[best] < CLEAR_LINES:
        raise ConvergenceError(
            f"no lines stand out within {limit_deg:g}° of an axis at {start_deg:g}°; use another method"
        )
    angle = start_deg + float(np.rad2deg(edges.direction(angles_rad[best])))
    return TiltAxis(angle, np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class _BinnedSeries:
    """Binned series without its background, small enough to be rotated many times."""

    images: list[Image]
    factor: int
    transforms: Transforms
    threads: int

    @classmethod
    def of(
        cls,
        views: Views,
        selected: Iterable[int],
        transforms: Transforms,
        *,
        size: int,
        background: float,
        threads: int,
        progress: Callable[[int], None] | None,
    ) -> "_BinnedSeries":
        """Read the chosen views and bin them to at most ``size`` pixels."""
        factor = ceil(max(views.shape[1:]) / size)
        images = []
        for image in ordered_map(lambda view: bin_image(views[view], factor), selected, threads=threads):
            images.append(image - np.float32(background))
            if progress:
                progress(1)
        return cls(images, factor, transforms.scaled(1 / factor), threads)

    def shape(self, angle_deg: float) -> tuple[int, int]:
        """Return the shape of a view after its axis has been made vertical."""
        ny, nx = self.images[0].shape
        return turned_shape((ny, nx), angle_deg)

    def upright_transforms(self, angle_deg: float, offset_px: float) -> Transforms:
        """Return transforms that register the binned views and make an axis (in raw pixels) vertical."""
        matrix, shift = alignment_matrix(angle_deg, offset_px / self.factor)
        n_views = len(self.images)
        to_vertical = Transforms(np.tile(matrix, (n_views, 1, 1)), np.tile(shift, (n_views, 1)))
        return compose(self.transforms, to_vertical)

    def rows_inside(self, angle_deg: float) -> NDArray[np.bool_]:
        """Find the rows that lie inside every view over their full length, once the axis is vertical."""
        ny, nx = self.shape(angle_deg)
        from_vertical = np.deg2rad((angle_deg + 45) % 90 - 45)
        largest_shift = np.abs(self.upright_transforms(angle_deg, 0.0).shift_px[:, 1]).max()
        height = np.abs(np.arange(ny) - centre(ny))
        # At least the middle half of the rows is used, even if less is common to all views.
        return np.asarray(height <= max(ny / 2 - largest_shift - nx / 2 * abs(np.sin(from_vertical)), ny / 4))

    def moments(self, angle_deg: float, offset_px: float) -> RowMoments:
        """Measure the rows of the views with the axis vertical in the middle, without interpolation."""
        upright = self.upright_transforms(angle_deg, offset_px)
        n_rows = self.shape(angle_deg)[0]
        measured = ordered_map(
            lambda view: turned_moments(*view, n_rows=n_rows),
            zip(self.images, upright.matrix, upright.shift_px, strict=True),
            threads=self.threads,
        )
        mass, moment = zip(*measured, strict=True)
        return RowMoments(np.array(mass), np.array(moment))

    def brightest(self, angle_deg: float) -> Image:
        """Return the maximum over all views, with the axis vertical."""
        upright = self.upright_transforms(angle_deg, 0.0)
        rotated = ordered_map(
            lambda view: resample(*view, shape=self.shape(angle_deg), method="linear", fill=0.0),
            zip(self.images, upright.matrix, upright.shift_px, strict=True),
            threads=self.threads,
        )
        return reduce(np.maximum, rotated)


def _refine(series: _BinnedSeries, tilt_deg: Float, angle: float, offset: float) -> TiltAxis:
    """Find the axis that fits best near a first estimate."""
    for step in FINE_STEPS_DEG:
        moments_around = [series.moments(angle + turn, offset) for turn in (-step, 0.0, step)]
        inside = series.rows_inside(angle)
        weight = inside * steadiness(moments_around[1].mass)
        turn, fit = _best_rotation(moments_around, step, tilt_deg, weight=weight)
        angle, offset = angle + turn, offset + series.factor * fit.offset_px
    mass = inside * np.maximum(np.median(moments_around[1].mass, axis=0), 0)
    steady = float(weight @ mass / max(mass.sum(), np.finfo(np.float64).tiny))
    if steady < FEWEST_STEADY:
        raise ConvergenceError(
            f"only {100 * steady:.0f} % of the specimen keeps its mass at every height over the series; "
            "register it better, subtract its background, or use another method"
        )
    blocks = np.array_split(np.flatnonzero(weight), BLOCKS)
    remaining_weights = [np.where(np.isin(np.arange(len(weight)), block), 0, weight) for block in blocks]
    results = [_best_rotation(moments_around, step, tilt_deg, weight=rows) for rows in remaining_weights]
    scatter = np.std([(turn, series.factor * part.offset_px) for turn, part in results], axis=0)
    angle_sigma, offset_sigma = np.sqrt(BLOCKS - 1) * scatter
    if angle_sigma > LARGEST_SIGMA_DEG:
        raise ConvergenceError(
            f"the angle of the axis, {angle:.1f}°, is uncertain by {angle_sigma:.1f}°; give the angle"
        )
    return TiltAxis(angle, offset, float(angle_sigma), float(offset_sigma), series.factor * fit.residual_px)


def _best_rotation(
    moments_around: list[RowMoments], step: float, tilt_deg: Float, *, weight: Float
) -> tuple[float, Consistency]:
    """Return the rotation to the best fit, given moments at three angles, and the fit at the middle one."""
    fits = [measure_consistency(moments, tilt_deg, weight=weight) for moments in moments_around]
    misfit = np.array([fit.misfit for fit in fits])
    # Near the best fit this is the change of the cost; it is a parabola where the cost itself has a cusp.
    return step * lowest(np.sum(misfit / (misfit.mean(axis=0) + np.finfo(np.float64).eps), axis=1)), fits[1]


def _whole_views(mass: Float) -> NDArray[np.intp]:
    """Return the views with a typical mass; the others are blank or do not show the whole specimen."""
    typical = float(np.median(mass))
    whole = np.flatnonzero(np.abs(mass - typical) < MASS_CHANGE * typical)
    if len(whole) < FEWEST_WHOLE * len(mass):
        raise ConvergenceError(
            f"the mass of the specimen differs by more than {100 * MASS_CHANGE:.0f} % in "
            f"{len(mass) - len(whole)} of {len(mass)} views, as with a foil or a wrong background; "
            "use another method"
        )
    return whole


def _check_sides(series: _BinnedSeries, angle_deg: float) -> None:
    """Raise ConvergenceError if the specimen reaches the sides of the views, which hide some of its mass."""
    mean = np.asarray(np.mean(series.images, axis=0, dtype=np.float64))
    if lies_along_x(angle_deg):
        mean = mean.T
    if not is_inside(mean):
        raise ConvergenceError(
            "the specimen reaches the sides of the views, or the background is wrong; use another method"
        )


def is_inside(mean: Float) -> bool:
    """Check whether the specimen lies between the left and right sides of the views.

    Parameters
    ----------
    mean : ndarray of shape (ny, nx)
        The mean of all views, without the level of the surroundings.

    Returns
    -------
    bool
    """
    side = max(mean.shape[1] // 32, 1)
    return bool(max(mean[:, :side].mean(), mean[:, -side:].mean()) < SIDE_LIMIT * mean.mean())
