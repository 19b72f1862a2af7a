"""Tilt axis by the sharpness of slices, for foils and specimens that extend beyond the views.

A particle reconstructed about a wrong axis becomes an arc. For slices at many heights along the axis, the
offsets at which the particles are most compact lie on a straight line: its value in the middle is the offset
of the axis, its slope the remaining angle of the axis from the vertical.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError, NonFiniteViewError, UsageError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import WIDTHS, SlabProjector, to_slab
from etcli.core.registration.shifts import checked_tilts
from etcli.core.registration.tilt_axis import FEWEST_TILTS, LARGEST_SIGMA_DEG, TiltAxis, alignment_matrix
from etcli.core.registration.transforms import Transforms, Views, compose, resample, turned_shape
from etcli.core.solvers.filtered_backprojection import ramp, view_weights

Float = NDArray[np.float64]
Image = NDArray[np.float32]

SMALLEST_PX = 32  # of a view
FINE_PX, COARSE_PX = 256, 128  # views are binned to at most this
FINE_ROWS, COARSE_ROWS = 128, 32  # slices
SPAN = 0.8  # of the height of the views, over which the slices are distributed
SMOOTH_PX = 1.0  # standard deviation, so that nothing depends on where interpolation falls between pixels
WIDE, NARROW_PX = 1 / 8, 4.0  # standard deviation, of the width and in pixels: slower changes are subtracted
FADE = 0.05  # of the size of the views, over which they fade at their borders
FULL, EMPTY = 0.8, 0.95  # radii in half widths: the weight in a slice is 1 up to the first, 0 from the second
SEARCH_STEP_DEG = 3.0
INCLINATIONS = np.linspace(-0.5, 0.5, 7)  # between two angles of the search, in units of its step
FARTHEST = 1 / 8  # of the width: largest distance of the axis from the middle
NEAR_PX = np.arange(-2.0, 3.0)  # offsets to which a parabola is fitted
LARGEST_STEP_PX, LARGEST_STEP_DEG = 2.0, 1.5
STILL_PX, STILL_DEG = 0.2, 0.1
ROUNDS = 10
BLOCKS = 8  # of the jackknife
AGREE_SIGMA = 3.0
CURVE_DEG = np.linspace(-10.0, 10.0, 41)


@dataclass(frozen=True, eq=False)
class AxisSearch:
    """Sharpness of the slices as a function of the angle and of the offset of the axis, for a plot.

    Parameters
    ----------
    angle_deg, angle_value : ndarray of shape (n_angles,), float64
        Angles, and the sharpness at the best offset for each.
    offset_px, offset_value : ndarray of shape (n_offsets,), float64
        Offsets, and the sharpness for each at the angle that was found.
    """

    angle_deg: Float
    angle_value: Float
    offset_px: Float
    offset_value: Float


@dataclass(frozen=True)
class SearchedAxis(TiltAxis):
    """Tilt axis found by a search over angles and offsets.

    Parameters
    ----------
    search : AxisSearch
        Sharpness for the axes tried, relative to the best.
    """

    search: AxisSearch = field(compare=False, repr=False)


def sum_axis(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    limit_deg: float = 15.0,
    limit_px: float | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> SearchedAxis:
    """Find the tilt axis for which slices are sharpest; the views need not show the whole specimen.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type; a memory map is read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    transforms : Transforms, optional
        Transforms that register the views, if they are not registered.
    start_deg, limit_deg : float
        The axis is searched for within `limit_deg` of `start_deg`.
    limit_px : float, optional
        The axis is searched for within this distance of the middle of the views; an eighth of the width when
        not given.
    threads : int
        Views and slices processed at the same time.
    progress : callable, optional
        Called with 1 for every view that has been read, once for each.

    Returns
    -------
    SearchedAxis
        The residual is NaN.

    Raises
    ------
    DataError
        If there are fewer than five tilt angles, a view holds NaN, or the views are too small.
    UsageError
        If a limit is out of range.
    ConvergenceError
        If the axis is beyond a limit, or its angle is uncertain by more than 1°.

    Notes
    -----
    The measure of sharpness is Σ w f³ over filtered back-projections f of band-passed views, with a disc w
    that fades towards the sides of the views. Σ f² does not work: a displacement of all views changes only
    phases in Fourier space. The sign of the measure is that of its sum over all axes tried, so that dark
    particles work as well. Views are displaced by the part of a constant that is not of the form a cos θ +
    b sin θ, so that the specimen stays where it is and only its sharpness changes. Every slice gives a
    parabola of the measure against the offset; the axis is at the maximum of their sum, for an offset that is
    linear in height. So slices at different angles, which cut the specimen at other places, are never
    compared.

    The information is in small particles: of a large smooth body only the outline changes, slightly and where
    the missing wedge hides it. First, variations over an eighth of the width are removed from the views, then
    those over 4 pixels; the second result is more precise, and is used if it agrees with the first.

    References
    ----------
    T. Donath, F. Beckmann, A. Schreyer, J. Opt. Soc. Am. A 23, 1048 (2006), doi:10.1364/JOSAA.23.001048:
    other measures.
    """
    tilt = checked_tilts(views, tilt_deg)
    shape = turned_shape((views.shape[1], views.shape[2]), start_deg)
    farthest_px = FARTHEST * shape[1] if limit_px is None else limit_px
    _validate(tilt, shape, limit_deg, farthest_px)
    factor, images = _read(views, threads, progress)
    registration = transforms or Transforms.identity(len(tilt))
    prepared = partial(_Slices.of, images, factor, registration, tilt, start_deg=start_deg, threads=threads)
    coarse = prepared(size=COARSE_PX, n_rows=COARSE_ROWS)
    angle, offset, sign = _grid_search(coarse, start_deg, limit_deg, farthest_px)
    wide = prepared(size=FINE_PX, n_rows=FINE_ROWS).climb(angle, offset, sign)
    if wide is None:
        raise ConvergenceError("the slices become sharpest about no axis; use another method")
    narrow = prepared(size=FINE_PX, n_rows=FINE_ROWS, wide_px=NARROW_PX)
    angle, offset = wide.axis.tolist()
    estimate = wide.confirmed_by(narrow.climb(angle, offset, sign))
    (angle, offset), (angle_sigma, offset_sigma) = estimate.axis.tolist(), estimate.sigma.tolist()
    if angle_sigma > LARGEST_SIGMA_DEG:
        raise ConvergenceError(
            f"the angle of the axis, {angle:.1f}°, is uncertain by {angle_sigma:.1f}°; "
            "give it, or use another method"
        )
    search = coarse.curves(angle, offset, farthest_px, sign)
    return SearchedAxis(angle, offset, angle_sigma, offset_sigma, residual_px=np.nan, search=search)


@dataclass(frozen=True, eq=False)
class _Estimate:
    """Estimated axis: angle in degrees and offset in pixels of the views, with standard deviations."""

    axis: Float
    sigma: Float

    def confirmed_by(self, finer: "_Estimate | None") -> "_Estimate":
        """Return the estimate from finer detail if it agrees; else this one, with a larger uncertainty."""
        if finer:
            difference = finer.axis - self.axis
            agrees = (np.abs(difference) < AGREE_SIGMA * np.hypot(self.sigma, finer.sigma)).all()
            if agrees and finer.sigma.prod() < AGREE_SIGMA**2 * self.sigma.prod():
                # The difference from coarser detail is not noise, but comes from the shape of the specimen.
                return _Estimate(finer.axis, np.hypot(finer.sigma, difference / 2))
        return _Estimate(self.axis, AGREE_SIGMA * self.sigma)


@dataclass(frozen=True, eq=False)
class _Slices:
    """Band-passed and binned views, small enough to reconstruct slices from them many times."""

    images: list[Image]
    factor: int
    transforms: Transforms
    tilt_deg: Float
    shape: tuple[int, int]
    n_rows: int
    threads: int

    @classmethod
    def of(
        cls,
        images: list[Image],
        factor: int,
        transforms: Transforms,
        tilt_deg: Float,
        *,
        start_deg: float,
        threads: int,
        size: int,
        n_rows: int,
        wide_px: float | None = None,
    ) -> "_Slices":
        """Bin views, already binned by ``factor``, to at most ``size`` pixels, and band-pass them."""
        further = ceil(max(images[0].shape) / size)

        def prepare(image: Image) -> Image:
            binned = bin_image(image, further)
            return _band_pass(binned, wide_px or WIDE * max(binned.shape))

        filtered = list(ordered_map(prepare, images, threads=threads))
        ny, nx = turned_shape((filtered[0].shape[0], filtered[0].shape[1]), start_deg)
        factor *= further
        known = transforms.scaled(1 / factor)
        return cls(filtered, factor, known, tilt_deg, (ny, nx), min(n_rows, int(SPAN * ny)), threads)

    @property
    def spacing_px(self) -> float:
        """Distance between neighbouring slices, in pixels of these views."""
        return SPAN * self.shape[0] / self.n_rows

    @property
    def height_px(self) -> Float:
        """Heights of the slices from the middle, in pixels of these views."""
        return np.asarray(self.spacing_px * (np.arange(self.n_rows) - centre(self.n_rows)))

    def rows(self, angle_deg: float) -> Image:
        """Return the rows (view, row, x) of the views that become slices, with the axis vertical."""
        matrix, shift = alignment_matrix(angle_deg, 0.0)
        n_views = len(self.images)
        squeezed = np.diag([1, 1 / self.spacing_px]) @ matrix
        to_rows = Transforms(np.tile(squeezed, (n_views, 1, 1)), np.tile(shift, (n_views, 1)))
        upright = compose(self.transforms, to_rows)
        rotated = ordered_map(
            lambda view: resample(*view, shape=(self.n_rows, self.shape[1]), fill=0.0),
            zip(self.images, upright.matrix, upright.shift_px, strict=True),
            threads=self.threads,
        )
        return np.stack(list(rotated))

    def sharpness(self, angle_deg: float, offset_px: Float) -> Float:
        """Return the sharpness of every slice for every offset of the axis, in pixels of these views."""
        nx = self.shape[1]
        size = scipy.fft.next_fast_len(2 * nx, real=True)
        rows = self.rows(angle_deg)
        response = ramp(size).astype(np.float32)[:, np.newaxis]
        spectra = [
            scipy.fft.rfft(to_slab(rows[:, first : first + WIDTHS[-1]]), size, axis=1) * response
            for first in range(0, self.n_rows, WIDTHS[-1])
        ]
        wave = 2j * np.pi * scipy.fft.rfftfreq(size)
        constant_part = _beyond_translation(self.tilt_deg)
        weight, disc_weights = view_weights(self.tilt_deg), _disc_weights(nx)
        geometry = SliceGeometry(self.tilt_deg, n_detector=nx, thickness=nx, width=nx)

        def measure(job: tuple[float, NDArray[np.complex64]]) -> Image:
            offset, spectrum = job
            # Displaced by phase factors: after interpolation, slices would be sharper at some offsets.
            phase = np.exp(np.multiply.outer(offset * constant_part, wave)).astype(np.complex64)
            filtered = scipy.fft.irfft(spectrum * phase[..., np.newaxis], size, axis=1)[:, :nx]
            projector = SlabProjector(geometry, n_slices=spectrum.shape[-1])
            slices = projector.interpolate(np.ascontiguousarray(filtered), view_weight=weight)
            cube = slices * slices
            cube *= slices
            return disc_weights @ cube.reshape(disc_weights.size, -1)

        jobs = ((offset, spectrum) for offset in offset_px for spectrum in spectra)
        measured = np.concatenate(list(ordered_map(measure, jobs, threads=self.threads)))
        return measured.reshape(len(offset_px), -1)[:, : self.n_rows].astype(np.float64)

    def climb(self, angle_deg: float, offset_px: float, sign: float) -> _Estimate | None:
        """Return the axis of greatest sharpness near a first estimate; None if there is no maximum."""
        offset = offset_px / self.factor
        for _ in range(ROUNDS):
            values = sign * self.sharpness(angle_deg, offset + NEAR_PX)
            inclination, step = _parabola_maximum(self.height_px, values)
            if np.isnan(inclination):  # far from the maximum: take the best of the offsets
                inclination, step = 0.0, NEAR_PX[np.argmax(values.sum(axis=1))]
                if step == 0:
                    return None
            angle_deg += np.clip(inclination, -LARGEST_STEP_DEG, LARGEST_STEP_DEG)
            offset += np.clip(step, -LARGEST_STEP_PX, LARGEST_STEP_PX)
            if abs(inclination) < STILL_DEG and abs(step) < STILL_PX:
                break
        else:
            return None
        blocks = np.array_split(np.arange(self.n_rows), BLOCKS)
        results = [
            _parabola_maximum(np.delete(self.height_px, block), np.delete(values, block, axis=1))
            for block in blocks
        ]
        sigma = np.sqrt(BLOCKS - 1) * np.std(results, axis=0)
        if np.isnan(sigma).any():
            return None
        to_views = np.array([1, self.factor])
        return _Estimate(to_views * [angle_deg, offset], to_views * sigma)

    def curves(self, angle_deg: float, offset_px: float, farthest_px: float, sign: float) -> AxisSearch:
        """Return the sharpness as a function of angle and of offset around an axis."""
        reach = ceil(farthest_px / self.factor)
        offset = offset_px / self.factor + np.arange(-reach, reach + 1.0)
        values = _sum_along_lines(sign * self.sharpness(angle_deg, offset), self.height_px, CURVE_DEG)
        values /= values.max()
        at_angle = values[np.argmin(np.abs(CURVE_DEG))]
        return AxisSearch(angle_deg + CURVE_DEG, values.max(axis=1), self.factor * offset, at_angle)


def _grid_search(
    slices: _Slices, start_deg: float, limit_deg: float, farthest_px: float
) -> tuple[float, float, float]:
    """Return angle and offset of the best axis within the limits, and the sign of the measure."""
    n_steps = ceil(limit_deg / SEARCH_STEP_DEG)
    step = limit_deg / n_steps
    angles = start_deg + step * np.arange(-n_steps, n_steps + 1)
    reach = ceil(farthest_px / slices.factor)
    offsets = np.arange(-reach, reach + 1.0)
    measured = np.array([slices.sharpness(angle, offsets) for angle in angles])
    sign = float(np.sign(measured.sum()))
    values = np.array(
        [_sum_along_lines(sign * each, slices.height_px, step * INCLINATIONS) for each in measured]
    )
    # At another angle, slices show other parts of the specimen: compare the gain in sharpness, not its value.
    values -= values.mean(axis=(1, 2), keepdims=True)
    best_angle, line, best_offset = np.unravel_index(np.argmax(values), values.shape)
    angle, offset = (
        float(angles[best_angle] + step * INCLINATIONS[line]),
        slices.factor * float(offsets[best_offset]),
    )
    if abs(angle - start_deg) >= limit_deg or best_offset in (0, len(offsets) - 1):
        raise ConvergenceError(
            f"no tilt axis within {limit_deg:g}° of {start_deg:g}° and {farthest_px:.0f} px of the middle; "
            "give its rough angle (--axis), or use another method"
        )
    return angle, offset, sign


def _sum_along_lines(values: Float, height_px: Float, inclination_deg: Float) -> Float:
    """Sum the values (n_offsets, n_rows) of all slices along inclined lines: (n_inclinations, n_offsets)."""
    n_offsets, n_rows = values.shape
    displacement = np.multiply.outer(np.tan(np.deg2rad(inclination_deg)), height_px)
    position = np.arange(n_offsets)[:, np.newaxis] - displacement[:, np.newaxis, :]
    row = np.broadcast_to(np.arange(n_rows), position.shape)
    samples = ndimage.map_coordinates(values, [position, row], order=1, mode="nearest")
    return np.asarray(samples.sum(axis=-1))


def _parabola_maximum(height_px: Float, values: Float) -> tuple[float, float]:
    """Return the inclination in degrees and the offset at the maximum of the parabolas' sum, or NaN."""
    bend, slope, _ = np.polyfit(NEAR_PX, values, 2)
    curvature = -2 * np.array([[bend.sum(), -bend @ height_px], [-bend @ height_px, bend @ height_px**2]])
    if not (np.linalg.eigvalsh(curvature) > 0).all():
        return np.nan, np.nan
    offset, inclination = np.linalg.solve(curvature, [slope.sum(), -slope @ height_px])
    return float(np.rad2deg(np.arctan(inclination))), float(offset)


def _read(views: Views, threads: int, progress: Callable[[int], None] | None) -> tuple[int, list[Image]]:
    """Read and bin the views; return the binning factor and the images."""
    factor = ceil(max(views.shape[1:]) / FINE_PX)
    images = []
    binned = ordered_map(lambda k: bin_image(views[k], factor), range(len(views)), threads=threads)
    for number, image in enumerate(binned, start=1):
        if not np.isfinite(image).all():
            raise NonFiniteViewError(number - 1)
        images.append(image)
        if progress:
            progress(1)
    return factor, images


def _validate(tilt_deg: Float, shape: tuple[int, int], limit_deg: float, limit_px: float) -> None:
    """Validate views and limits; raise DataError or UsageError."""
    if len(np.unique(tilt_deg)) < FEWEST_TILTS:
        raise DataError(
            f"{len(np.unique(tilt_deg))} tilt angles do not determine an axis; {FEWEST_TILTS} are needed"
        )
    if min(shape) < SMALLEST_PX:
        raise DataError(
            f"views of {shape[1]} x {shape[0]} pixels do not determine an axis; {SMALLEST_PX} are needed"
        )
    if not 0 < limit_deg <= 45:
        raise UsageError(f"an axis cannot be searched for within {limit_deg:g}°; use a limit up to 45°")
    if not 0 < limit_px <= shape[1] / 2:
        raise UsageError(
            f"an axis cannot be searched for within {limit_px:g} px; use a limit up to {shape[1] // 2} px"
        )


def _band_pass(image: Image, wide_px: float) -> Image:
    """Smooth an image, subtract its slow variations, and fade it out at the borders."""
    filtered: Image = ndimage.gaussian_filter(image, SMOOTH_PX, mode="nearest")
    filtered -= ndimage.gaussian_filter(image, wide_px, mode="nearest", truncate=2.5)
    for axis, n in enumerate(image.shape):
        from_border = np.minimum(np.arange(n), np.arange(n)[::-1]) + 0.5
        fade = np.sin(np.pi / 2 * np.minimum(from_border / (FADE * n), 1)) ** 2
        filtered *= np.expand_dims(fade.astype(np.float32), 1 - axis)
    return filtered


def _disc_weights(n: int) -> Image:
    """Return the weights of the voxels of a slice, a disc that fades at its border, row by row."""
    from_middle = (np.arange(n) - centre(n)) / (n / 2)
    radius = np.hypot(from_middle[:, np.newaxis], from_middle)
    return np.asarray(np.clip((EMPTY - radius) / (EMPTY - FULL), 0, 1).ravel(), np.float32)


def _beyond_translation(tilt_deg: Float) -> Float:
    """Return, for each view, the part of a unit displacement that no translation of the specimen explains."""
    tilt_rad = np.deg2rad(tilt_deg)
    design = np.stack([np.cos(tilt_rad), np.sin(tilt_rad)], axis=1)
    return np.asarray(1 - design @ np.linalg.lstsq(design, np.ones(len(tilt_rad)))[0])
