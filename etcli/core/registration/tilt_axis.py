"""Angle and place of the tilt axis in a registered series.

The angle R is from +y to the axis, counter-clockwise positive with row 0 at the bottom; the offset is where
the axis crosses the row through the middle of the view, in pixels from that middle, after the view has been
turned about it by -R so that the axis is vertical.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.registration.center_of_mass import RowMoments, profile_centers, steadiness
from etcli.core.registration.shifts import checked_tilts
from etcli.core.registration.transforms import Transforms, compose, resample

Float = NDArray[np.float64]
Image = NDArray[np.float32]

COARSE_PX, FINE_PX = 128, 512  # views are binned to at most this
COARSE_STEP_DEG = 1.0
FINE_STEPS_DEG = 0.5, 0.2, 0.1, 0.1
MASS_CHANGE = 0.2  # a view whose mass differs by more does not show the whole specimen
FEWEST_WHOLE = 0.75  # share of the views that must show it
SIDE_LIMIT = 0.25  # intensity at the sides, relative to the mean
BLOCKS = 8  # of the jackknife
FEWEST_STEADY = 0.25  # share of the mass
LARGEST_SIGMA_DEG = 1.0
HOUGH_STEP_DEG = 0.1
SHORTEST_LINE_PX = 8
CLEAR_LINES = 5.0  # robust standard deviations of the Hough score above its median


@dataclass(frozen=True)
class TiltAxis:
    """A tilt axis as found.

    Parameters
    ----------
    angle_deg : float
        R, from +y to the axis, counter-clockwise, in degrees.
    offset_px : float
        Where the axis crosses the middle row, from the middle of the view, once vertical; NaN if the method
        does not tell.
    angle_sigma_deg, offset_sigma_px : float
        Standard deviations, from leaving out parts of the specimen; NaN if the method does not tell.
    residual_px : float
        Root mean square distance of the centres of mass from the motion fitted to them; NaN likewise.
    """

    angle_deg: float
    offset_px: float
    angle_sigma_deg: float
    offset_sigma_px: float
    residual_px: float


def alignment_matrix(angle_deg: float, offset_px: float) -> tuple[Float, Float]:
    """Return the transform that turns a tilt axis vertical and brings it to the middle.

    Parameters
    ----------
    angle_deg, offset_px : float
        The axis, as `TiltAxis` has it.

    Returns
    -------
    matrix : ndarray of shape (2, 2), float64
        A = [[cos R, sin R], [-sin R, cos R]], acting on (x, y) about the middle of the view.
    shift_px : ndarray of shape (2,), float64
        d = (-offset, 0).
    """
    return Transforms.rotation(angle_deg, 1).matrix[0], np.array([-offset_px, 0.0])


def com_axis(
    views: NDArray[Any],
    tilt_deg: ArrayLike,
    *,
    background: float,
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    limit_deg: float = 15.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TiltAxis:
    """Find the tilt axis of a specimen that lies wholly inside the views, from its centres of mass.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    background : float
        Level of the empty surroundings.
    transforms : Transforms, optional
        What registers the views, if they are not registered.
    start_deg, limit_deg : float
        The axis is looked for within `limit_deg` of `start_deg`.
    threads : int
        Views worked on at the same time.
    progress : callable, optional
        Called with 1 for every view that has been read, twice for each.

    Returns
    -------
    TiltAxis

    Raises
    ------
    ConvergenceError
        If the specimen is cut by the sides of the views or its mass changes with the tilt, as with a foil;
        if the axis is beyond the limits; or if the specimen does not tell it within 1°.

    Notes
    -----
    With the axis vertical, at every height q the mass m(q) must be the same in all views, and the moment
    must be m(q) (offset + b(q) cos θ + c(q) sin θ): the first two of the consistency conditions of the
    Radon transform. The angle is the one at which what remains of both, each relative to its own variance,
    is least: log Σ Δmass² + log Σ Δmoment². What registration may have left, a shift of each view in x and
    y and its brightness, is fitted and does not count. The conditions hold exactly at the axis, so there is
    no error from heights that mix when the axis is tilted; for a compact needle this is the straight line
    of its centres.

    References
    ----------
    T. Sanders, M. Prange, C. Akatay, P. Binev, Adv. Struct. Chem. Imaging 1, 4 (2015),
    doi:10.1186/s40679-015-0005-7.
    D. Ludwig, Commun. Pure Appl. Math. 19, 49 (1966), doi:10.1002/cpa.3160190105.
    """
    tilt = checked_tilts(views, tilt_deg)
    if not 0 < limit_deg <= 45:
        raise UsageError(f"an axis cannot be looked for within {limit_deg:g}°; use a limit up to 45°")
    prepared = partial(
        _Binned.of, views, background=background, transforms=transforms, threads=threads, progress=progress
    )
    coarse = prepared(size=COARSE_PX)
    _check_sides(coarse, start_deg)
    steps = ceil(limit_deg / COARSE_STEP_DEG)
    angles = start_deg + limit_deg * np.arange(-steps, steps + 1) / steps
    moments = [coarse.moments(angle, 0.0) for angle in angles]
    rows = coarse.inside(start_deg + limit_deg).astype(np.float64)
    whole = _whole_views(moments[steps], rows)
    fits = [_consistency(each, tilt, whole=whole, weight=rows) for each in moments]
    best = int(np.argmin([fit.cost for fit in fits]))
    if best in (0, len(angles) - 1):
        raise ConvergenceError(
            f"no tilt axis within {limit_deg:g}° of {start_deg:g}°; give its rough angle, or a larger limit"
        )
    start = float(angles[best]), fits[best].offset_px * coarse.factor
    return _refined(prepared(size=FINE_PX), tilt, whole, *start)


def maximage_axis(
    views: NDArray[Any],
    *,
    background: float,
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    limit_deg: float = 15.0,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> TiltAxis:
    """Find the angle of the tilt axis from the lines that bright particles trace across it.

    Parameters
    ----------
    views, background, transforms, start_deg, limit_deg, threads
        As for `com_axis`; the specimen may reach beyond the views.
    progress : callable, optional
        Called with 1 for every view that has been read.

    Returns
    -------
    TiltAxis
        The angle only; accurate to some tenths of a degree.

    Raises
    ------
    ConvergenceError
        If no lines stand out, or the angle is at its limit.

    Notes
    -----
    The maximum of all views is filtered by Sobel's operator. Each pixel votes in a Hough transform for the
    line through it that is perpendicular to an axis of angle R, by how much more the image changes across
    that line than along it; the angle with the largest sum of squared votes wins.

    References
    ----------
    R. O. Duda, P. E. Hart, Commun. ACM 15, 11 (1972), doi:10.1145/361237.361242.
    """
    binned = _Binned.of(
        views, size=FINE_PX, background=background, transforms=transforms, threads=threads, progress=progress
    )
    brightest = reduce(np.maximum, binned.aligned(start_deg, 0.0))
    angles = np.arange(-limit_deg, limit_deg + HOUGH_STEP_DEG / 2, HOUGH_STEP_DEG)
    votes = _votes(brightest, np.deg2rad(angles))
    best = int(np.argmax(votes))
    height = votes[best] - np.median(votes)
    if best in (0, len(angles) - 1) or height < CLEAR_LINES * 1.4826 * np.median(np.abs(np.diff(votes))):
        raise ConvergenceError(
            f"no lines stand out within {limit_deg:g}° of an axis at {start_deg:g}°; use another method"
        )
    vertex = _vertex(-votes[best - 1 : best + 2])
    angle = start_deg + float(angles[best]) + vertex * HOUGH_STEP_DEG
    return TiltAxis(angle, np.nan, np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class _Binned:
    """A series small enough to be turned many times."""

    images: list[Image]
    factor: int
    background: float
    transforms: Transforms
    threads: int

    @classmethod
    def of(
        cls,
        views: NDArray[Any],
        *,
        size: int,
        background: float,
        transforms: Transforms | None,
        threads: int,
        progress: Callable[[int], None] | None,
    ) -> "_Binned":
        """Bin each view to at most ``size`` pixels."""
        factor = ceil(max(views.shape[1:]) / size)
        images = []
        read = partial(bin_image, factor=factor)
        for image in ordered_map(read, views, threads=threads):
            images.append(image)
            if progress:
                progress(1)
        known = transforms or Transforms.identity(len(views))
        return cls(images, factor, background, known.scaled(1 / factor), threads)

    def shape(self, angle_deg: float) -> tuple[int, int]:
        """Shape of a view turned by an angle: that of the view on its side where the angle is near 90°."""
        ny, nx = self.images[0].shape
        return (ny, nx) if abs(np.cos(np.deg2rad(angle_deg))) > 0.5**0.5 else (nx, ny)

    def upright(self, angle_deg: float, offset_px: float) -> Transforms:
        """Return what registers the binned views and brings an axis (in raw pixels) upright to the middle."""
        matrix, shift = alignment_matrix(angle_deg, offset_px / self.factor)
        n_views = len(self.images)
        turn = Transforms(np.tile(matrix, (n_views, 1, 1)), np.tile(shift, (n_views, 1)))
        return compose(self.transforms, turn)

    def aligned(self, angle_deg: float, offset_px: float) -> Iterator[Image]:
        """Yield the views with the axis upright in the middle."""
        upright = self.upright(angle_deg, offset_px)
        shape = self.shape(angle_deg)

        def turned(view: int) -> Image:
            return resample(
                self.images[view],
                upright.matrix[view],
                upright.shift_px[view],
                shape=shape,
                method="linear",
                fill=self.background,
            )

        return ordered_map(turned, range(len(self.images)), threads=self.threads)

    def moments(self, angle_deg: float, offset_px: float) -> RowMoments:
        """Measure the rows of the views with the axis upright in the middle."""
        return profile_centers(self.aligned(angle_deg, offset_px), background=self.background)

    def inside(self, angle_deg: float) -> NDArray[np.bool_]:
        """Tell which rows, once the axis is upright, lie inside every view over all their length."""
        ny, nx = self.shape(angle_deg)
        tilted_deg = (angle_deg + 45) % 90 - 45
        moved = np.abs(self.upright(angle_deg, 0.0).shift_px[:, 1]).max()
        cut = moved + nx / 2 * abs(np.sin(np.deg2rad(tilted_deg)))
        height = np.abs(np.arange(ny) - centre(ny))
        return np.asarray(
            height <= max(ny / 2 - cut, ny / 4)
        )  # half must do where so little is common to all


@dataclass(frozen=True)
class _Fit:
    """How far the rows are from being those of one specimen turning about the vertical middle of the views."""

    cost: float
    offset_px: float  # of the axis from the middle, binned pixels
    residual_px: float  # of the centres of mass, binned pixels


def _consistency(moments: RowMoments, tilt_deg: Float, *, whole: NDArray[np.bool_], weight: Float) -> _Fit:
    """Measure what the consistency conditions leave of the moments, with rows weighted."""
    root = np.sqrt(weight)
    mass = moments.mass[whole].mean(axis=0)
    tilt_rad = np.deg2rad(tilt_deg[whole])
    # Brightness and shift along the axis of each view are free.
    free = np.linalg.qr(root[:, np.newaxis] * np.stack([mass, np.gradient(mass)], axis=1)).Q
    change = root * (moments.mass[whole] - mass)
    change -= change @ free @ free.T
    # So are the place of each slice and the shift of each view across the axis; its constant part is the offset.
    turning = np.linalg.qr(np.stack([np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)).Q
    moment = root * moments.moment_px[whole]
    moment -= turning @ (turning.T @ moment)
    still = 1 - turning @ turning.sum(axis=0)
    mass = root * mass
    total = max(float(mass @ mass), np.finfo(np.float64).tiny)
    shift = moment @ mass / total
    moment -= np.outer(shift, mass)
    left = np.array([np.sum(change**2), np.sum(moment**2)]) / total
    cost = float(np.sum(np.log(left + np.finfo(np.float64).eps)))
    return _Fit(cost, float(still @ shift / (still @ still)), float(np.sqrt(left[1] / len(shift))))


def _refined(
    series: _Binned, tilt_deg: Float, whole: NDArray[np.bool_], angle: float, offset: float
) -> TiltAxis:
    """Find the axis that fits best, near a first estimate."""
    for step in FINE_STEPS_DEG:
        around = [series.moments(angle + turn, offset) for turn in (-step, 0.0, step)]
        inside = series.inside(angle)
        weight = inside * steadiness(around[1].mass[whole])
        turn, fit = _lowest(around, step, tilt_deg, whole=whole, weight=weight)
        angle, offset = angle + turn, offset + series.factor * fit.offset_px
    mass = inside * np.maximum(np.median(around[1].mass[whole], axis=0), 0)
    steady = float(weight @ mass / max(mass.sum(), np.finfo(np.float64).tiny))
    if steady < FEWEST_STEADY:
        raise ConvergenceError(
            f"only {100 * steady:.0f} % of the specimen keeps its mass at every height over the series; "
            "register it better, take off its background, or use another method"
        )
    blocks = np.array_split(np.flatnonzero(weight), BLOCKS)
    without = [np.where(np.isin(np.arange(len(weight)), block), 0, weight) for block in blocks]
    parts = [_lowest(around, step, tilt_deg, whole=whole, weight=rows) for rows in without]
    scatter = np.std([(turn, series.factor * part.offset_px) for turn, part in parts], axis=0)
    angle_sigma, offset_sigma = np.sqrt(BLOCKS - 1) * scatter
    if angle_sigma > LARGEST_SIGMA_DEG:
        raise ConvergenceError(
            f"the angle of the axis, {angle:.1f}°, is uncertain by {angle_sigma:.1f}°; give it"
        )
    return TiltAxis(angle, offset, float(angle_sigma), float(offset_sigma), series.factor * fit.residual_px)


def _lowest(
    around: list[RowMoments], step: float, tilt_deg: Float, *, whole: NDArray[np.bool_], weight: Float
) -> tuple[float, _Fit]:
    """Return by how much to turn for the least cost, given moments at three angles, and the middle fit."""
    fits = [_consistency(moments, tilt_deg, whole=whole, weight=weight) for moments in around]
    return step * _vertex(np.array([fit.cost for fit in fits])), fits[1]


def _vertex(values: Float) -> float:
    """Return where the parabola through three values is lowest, in steps from the middle one, at most 2."""
    slope, bend = (values[2] - values[0]) / 2, values[0] - 2 * values[1] + values[2]
    return float(np.clip(-slope / bend, -2, 2)) if bend > 0 else float(-2 * np.sign(slope))


def _whole_views(moments: RowMoments, weight: Float) -> NDArray[np.bool_]:
    """Tell which views have the mass of most; the rest are blank or do not show the whole specimen."""
    mass = moments.mass @ weight
    typical = float(np.median(mass))
    whole = np.abs(mass - typical) < MASS_CHANGE * typical
    if whole.mean() < FEWEST_WHOLE:
        raise ConvergenceError(
            f"the mass of the specimen differs by more than {100 * MASS_CHANGE:.0f} % in {np.sum(~whole)} of "
            f"{len(whole)} views, as with a foil or a wrong background; use another method"
        )
    return whole


def _check_sides(series: _Binned, angle_deg: float) -> None:
    """Raise where the specimen reaches the sides of the views, so that its centre of mass is not seen."""
    mean = np.mean(series.images, axis=0, dtype=np.float64) - series.background
    if series.shape(angle_deg) != mean.shape:
        mean = mean.T
    side = max(mean.shape[1] // 32, 1)
    at_sides = max(float(mean[:, :side].mean()), float(mean[:, -side:].mean()))
    if not at_sides < SIDE_LIMIT * mean.mean():
        raise ConvergenceError(
            "the specimen reaches the sides of the views, or the background is wrong; use another method"
        )


def _votes(image: Image, angles_rad: Float) -> Float:
    """Return the sum of squared votes for lines perpendicular to axes of the given angles."""
    ny, nx = image.shape
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    along_y, along_x = ndimage.sobel(smooth, axis=0), ndimage.sobel(smooth, axis=1)
    y, x = np.indices(image.shape) - np.array([centre(ny), centre(nx)])[:, np.newaxis, np.newaxis]
    # A round field, so that lines of all directions have the same chance.
    field = np.clip(min(ny, nx) / 2 - 2 - np.hypot(x, y), 0, 1)
    n_lines = int(np.hypot(ny, nx)) + 3
    votes = np.empty(len(angles_rad))
    for i, angle in enumerate(angles_rad):
        cos, sin = np.cos(angle), np.sin(angle)
        across, along = cos * along_y - sin * along_x, sin * along_y + cos * along_x
        edge = field * np.maximum(np.abs(across) - np.abs(along), 0)
        line = cos * y - sin * x + n_lines / 2
        lower = line.astype(np.intp)
        share = line - lower
        total, length = (
            np.bincount(lower.ravel(), (each * (1 - share)).ravel(), n_lines)
            + np.bincount(lower.ravel() + 1, (each * share).ravel(), n_lines)
            for each in (edge, field)
        )
        votes[i] = np.sum(total**2 / np.maximum(length, SHORTEST_LINE_PX))
    return votes
