"""Simulated dark-field tilt series of a specimen made of solids."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.series import TiltSeries
from etcli.core.simulate.acquisition import AcquisitionErrors, CountingNoise, GroundTruth, record
from etcli.core.simulate.solids import Solid, Specimen

Array = NDArray[np.float64]

SCATTERED = 0.1  # fraction of the incident electrons that the brightest untilted pixel sends to the detector
RAYS_AT_ONCE = 1 << 15  # so that intermediate results stay in the cache


def tilt_series(
    specimen: Specimen,
    tilt_deg: ArrayLike,
    *,
    shape: tuple[int, int],
    rng: np.random.Generator,
    dose_e_A2: float | None = None,
    pixel_A: float = 1.0,
    drift_px: float = 0.0,
    axis_deg: float = 0.0,
    axis_offset_px: float = 0.0,
    tilt_error_deg: float = 0.0,
    background: float = 0.0,
    oversampling: int = 3,
    threads: int = 1,
) -> tuple[TiltSeries, GroundTruth]:
    """Simulate a dark-field STEM tilt series of a specimen.

    Parameters
    ----------
    specimen : Specimen
        Specimen to image.
    tilt_deg : array_like of shape (n_views,)
        Nominal tilt angles in degrees, any order.
    shape : tuple of int
        Pixels (ny, nx) of a view.
    rng : numpy.random.Generator
        Every view has its own generator, spawned from this one, and draws the same numbers whatever the sizes
        of the errors. So adding views at the end or changing an error leaves everything else unchanged.
    dose_e_A2 : float, optional
        Incident electrons per Å² and view; without it there is no noise.
    pixel_A : float
        Pixel size in Å.
    drift_px : float
        Views are displaced in x and y by up to this, uniformly and independently.
    axis_deg, axis_offset_px : float
        Angle and offset of the tilt axis; see `GroundTruth`.
    tilt_error_deg : float
        Standard deviation of the normal error of each tilt angle.
    background : float
        Added to every pixel before the noise, in density · pixels.
    oversampling : int
        Rays per pixel in each direction.
    threads : int
        Views computed at the same time; the result does not depend on it.

    Returns
    -------
    series : TiltSeries
        Views in density · pixels with nominal angles; with noise, counted electrons divided by the
        electrons per unit.
    truth : GroundTruth
        True parameters of the series.

    Raises
    ------
    UsageError
        When a number is out of range, or a dose is given and the untilted view shows nothing.

    Notes
    -----
    An electron count is Poisson distributed. Its mean is proportional to the projected density; the
    cross-section is such that the brightest pixel of the untilted view receives 0.1 of the incident
    electrons.
    """
    nominal = np.atleast_1d(np.asarray(tilt_deg, np.float64))
    _check(nominal, shape, pixel_A=pixel_A)
    errors = AcquisitionErrors(drift_px, axis_deg, axis_offset_px, tilt_error_deg)
    errors.check()
    electrons = None
    if dose_e_A2 is not None:
        electrons = _electrons_per_unit(specimen, shape, dose_e_A2 * pixel_A**2, oversampling)

    def signal(k: int, truth: GroundTruth) -> NDArray[np.float32]:
        return project(
            specimen,
            float(truth.tilt_deg[k]),
            shape=shape,
            shift_px=(float(truth.shift_px[k, 0]), float(truth.shift_px[k, 1])),
            axis_deg=axis_deg,
            axis_offset_px=axis_offset_px,
            oversampling=oversampling,
        )

    noise = CountingNoise(electrons, background)
    data, truth = record(signal, nominal, shape=shape, errors=errors, noise=noise, rng=rng, threads=threads)
    series = TiltSeries.of(data, nominal, name="simulation", pixel_A=pixel_A, axis_deg=axis_deg)
    if dose_e_A2 is not None:
        series = replace(series, views=replace(series.views, dose_e_A2=np.full(len(nominal), dose_e_A2)))
    return series, truth


def project(
    specimen: Specimen,
    tilt_deg: float,
    *,
    shape: tuple[int, int],
    shift_px: tuple[float, float] = (0.0, 0.0),
    axis_deg: float = 0.0,
    axis_offset_px: float = 0.0,
    oversampling: int = 3,
) -> NDArray[np.float32]:
    """Project a specimen exactly along rays, averaged over each pixel.

    Parameters
    ----------
    specimen : Specimen
        Specimen to project.
    tilt_deg : float
        Tilt angle in degrees.
    shape : tuple of int
        Pixels (ny, nx) of the view.
    shift_px : tuple of float
        Displacement (x, y) of the content.
    axis_deg, axis_offset_px : float
        Angle and offset of the tilt axis; see `GroundTruth`.
    oversampling : int
        Rays per pixel in each direction.

    Returns
    -------
    ndarray of shape (ny, nx), float32
        Line integrals of the density, in density · pixels.
    """
    geometry = ViewGeometry.of(tilt_deg, shift_px, axis_deg=axis_deg, axis_offset_px=axis_offset_px)
    image = np.zeros(shape)
    for solid in specimen.solids:
        for rays in rays_through(solid, geometry, shape, oversampling=oversampling):
            image[rays.pixels] += solid.density * rays.pixel_means(rays.length)
    return image.astype(np.float32)


class ViewGeometry(NamedTuple):
    """Direction of the rays of a view, and the place of the tilt axis in it; see `GroundTruth`."""

    cos: float
    sin: float
    turn: Array
    origin: Array

    @classmethod
    def of(
        cls,
        tilt_deg: float,
        shift_px: tuple[float, float] = (0.0, 0.0),
        *,
        axis_deg: float = 0.0,
        axis_offset_px: float = 0.0,
    ) -> "ViewGeometry":
        """Return the geometry of a view, with parameters as those of `project`."""
        cos, sin = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
        axis = np.deg2rad(axis_deg)
        turn = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
        return cls(cos, sin, turn, np.array(shift_px) + turn @ (axis_offset_px, 0))


class Rays(NamedTuple):
    """Rays through a solid that reach some pixels of a view, several in each.

    Parameters
    ----------
    pixels : (slice, slice)
        Rows and columns.
    p, y : ndarray of float64
        Where they reach the detector, across and along the tilt axis.
    first, last : ndarray of float64
        Where they enter and leave the solid, see `Solid.interval`.
    oversampling : int
        Rays per pixel in each direction.
    """

    pixels: tuple[slice, slice]
    p: Array
    y: Array
    first: Array
    last: Array
    oversampling: int

    @property
    def length(self) -> Array:
        """Path of each ray in the solid."""
        return np.maximum(self.last - self.first, 0)

    def pixel_means(self, values: Array) -> Array:
        """Return the mean of the values of the rays of each pixel."""
        rows, columns = self.pixels
        per_pixel = values.reshape(
            rows.stop - rows.start, self.oversampling, columns.stop - columns.start, self.oversampling
        )
        return np.asarray(per_pixel.mean(axis=(1, 3)))


def rays_through(
    solid: Solid, geometry: ViewGeometry, shape: tuple[int, int], *, oversampling: int = 3
) -> Iterator[Rays]:
    """Send rays through a solid to every pixel that its box covers, some rows at a time.

    Parameters
    ----------
    solid : Solid
    geometry : ViewGeometry
    shape : tuple of int
        Pixels (ny, nx) of the view.
    oversampling : int
        Rays per pixel in each direction.

    Yields
    ------
    Rays
    """
    cos, sin, turn, origin = geometry
    rows, columns = _footprint(solid, cos, sin, turn, origin, shape)
    n_rays = max(1, (columns.stop - columns.start) * oversampling**2)
    step = max(1, RAYS_AT_ONCE // n_rays)
    u = _rays(columns, shape[1], oversampling) - origin[0]
    for start in range(rows.start, rows.stop, step):
        band = slice(start, min(start + step, rows.stop))
        v = _rays(band, shape[0], oversampling)[:, None] - origin[1]
        p, y = turn[0, 0] * u + turn[1, 0] * v, turn[0, 1] * u + turn[1, 1] * v
        first, last = solid.interval(p, y, cos=cos, sin=sin)
        yield Rays((band, columns), p, y, first, last, oversampling)


def dose_symmetric(tilt_deg: ArrayLike) -> NDArray[np.intp]:
    """Return the order of acquisition of the views in a dose-symmetric scheme.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees, ascending.

    Returns
    -------
    ndarray of shape (n_views,), intp
        Indices of the views in the order of acquisition: the least tilted, then one to either side,
        changing sides as 0, +, −, −, +, +, …; the longer side is finished alone.

    Raises
    ------
    UsageError
        When the angles are not ascending.

    References
    ----------
    W. J. H. Hagen, W. Wan, J. A. G. Briggs, J. Struct. Biol. 197, 191 (2017),
    doi:10.1016/j.jsb.2016.06.007.
    """
    angles = np.atleast_1d(np.asarray(tilt_deg, np.float64))
    if angles.size == 0 or not (np.diff(angles) > 0).all():
        raise UsageError("a dose-symmetric order needs tilt angles that rise; sort them first")
    start = int(np.argmin(np.abs(angles)))
    up, down = np.arange(start + 1, angles.size), np.arange(start - 1, -1, -1)
    order = [np.array([start])]
    for index in range(max(up.size, down.size)):
        pair = (up, down) if index % 2 == 0 else (down, up)
        order += [side[index : index + 1] for side in pair]
    return np.concatenate(order)


def _check(tilt_deg: Array, shape: tuple[int, int], *, pixel_A: float) -> None:
    """Validate tilt angles, shape and pixel size; raise UsageError."""
    if tilt_deg.ndim != 1 or tilt_deg.size == 0 or not np.isfinite(tilt_deg).all():
        raise UsageError("tilt angles must be a list of finite numbers, one per view")
    if min(shape) < 1:
        raise UsageError(f"views of {shape[1]} × {shape[0]} px are empty; use positive sizes")
    if not 0 < pixel_A < np.inf:
        raise UsageError(f"a pixel of {pixel_A} Å has no area; use a positive size")


def _electrons_per_unit(
    specimen: Specimen, shape: tuple[int, int], incident: float, oversampling: int
) -> float:
    """Return the electrons scattered to the detector per density · pixel, given those incident on a pixel."""
    if not 0 < incident < np.inf:
        raise UsageError("a dose must be positive to give an image; leave it out for one without noise")
    brightest = float(project(specimen, 0.0, shape=shape, oversampling=oversampling).max())
    if not brightest > 0:
        raise UsageError("the untilted view shows nothing that scatters; use a larger field of view")
    return SCATTERED * incident / brightest


def _rays(pixels: slice, n: int, oversampling: int) -> Array:
    """Return the positions of the rays through a range of ``n`` pixels, from the centre of all of them."""
    edge = pixels.start - 0.5 - centre(n)
    count = (pixels.stop - pixels.start) * oversampling
    rays: Array = edge + (np.arange(count) + 0.5) / oversampling
    return rays


def _footprint(
    solid: Solid, cos: float, sin: float, turn: Array, origin: Array, shape: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of a view that the projected box of a solid covers."""
    x, y, z = np.array(np.meshgrid(*np.stack([solid.low, solid.high], axis=1), indexing="ij")).reshape(3, 8)
    corners = turn @ np.stack([x * cos + z * sin, y]) + origin[:, None]
    middle = np.array([[centre(shape[1])], [centre(shape[0])]])
    low = np.floor((corners + middle + 0.5).min(axis=1))
    high = np.ceil((corners + middle + 0.5).max(axis=1))
    (left, right), (bottom, top) = np.clip(np.stack([low, high], axis=1), 0, [[shape[1]], [shape[0]]]).astype(
        int
    )
    return slice(bottom, top), slice(left, right)
