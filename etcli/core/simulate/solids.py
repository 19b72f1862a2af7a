"""Specimens as sums of convex solids, whose projections have closed forms.

A solid is the intersection of quadrics and plates (spaces between parallel planes). A ray crosses it in one
interval, whose ends are roots of quadratic equations, so that projections need no voxels. Positions are in
pixels from the rotation centre.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.series import Volume

Array = NDArray[np.float64]


class Plate(NamedTuple):
    """Space between two parallel planes: ``low <= normal · (x, y, z) <= high``; bounds may be infinite."""

    normal: Array
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Solid:
    """Convex body of one density: the intersection of its quadrics and its plates.

    Parameters
    ----------
    density : float
        Value that it adds to the voxels inside it.
    quadrics : tuple of ndarray of shape (4, 4), float64
        Symmetric matrices; inside is ``v Q v <= 0`` with ``v = (x, y, z, 1)``. Each must be an ellipse,
        not a hyperbola, in planes of constant y, as ellipsoids and the cones along the tilt axis are.
    plates : tuple of Plate
        Pairs of parallel planes.
    low, high : ndarray of shape (3,), float64
        Corners (x, y, z) of a box that encloses the body, not necessarily tightly.
    """

    density: float
    quadrics: tuple[Array, ...]
    plates: tuple[Plate, ...]
    low: Array
    high: Array

    @property
    def is_empty(self) -> bool:
        """Whether the box, and therefore the solid, is empty."""
        return not bool((self.low < self.high).all())

    def cut(self, normal: ArrayLike, low: float = -np.inf, high: float = np.inf) -> "Solid":
        """Return the part between two planes, ``low <= normal · (x, y, z) <= high``.

        Parameters
        ----------
        normal : array_like of shape (3,)
            Direction (x, y, z), of length 1 if the bounds are in pixels.
        low, high : float
            Bounds along the normal, in pixels.

        Returns
        -------
        Solid
            Of the same density.
        """
        plate = Plate(np.asarray(normal, np.float64), low, high)
        corners = np.sort(plate.normal[:, None] * np.stack([self.low, self.high], axis=1), axis=1)
        other_axes = corners.sum(axis=0) - corners
        bounds = np.stack([low - other_axes[:, 1], high - other_axes[:, 0]], axis=1)
        affected = plate.normal != 0
        bounds[affected] = np.sort(bounds[affected] / plate.normal[affected, None], axis=1)
        return replace(
            self,
            plates=(*self.plates, plate),
            low=np.where(affected, np.maximum(self.low, bounds[:, 0]), self.low),
            high=np.where(affected, np.minimum(self.high, bounds[:, 1]), self.high),
        )

    def common(self, other: "Solid", *, density: float) -> "Solid":
        """Return the intersection of two solids, with a given density.

        Parameters
        ----------
        other : Solid
            The second solid.
        density : float
            Density of the result.

        Returns
        -------
        Solid
            The intersection; it may be empty.
        """
        return Solid(
            density,
            self.quadrics + other.quadrics,
            self.plates + other.plates,
            np.maximum(self.low, other.low),
            np.minimum(self.high, other.high),
        )

    def contains(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> NDArray[np.bool_]:
        """Check whether points lie inside the solid.

        Parameters
        ----------
        x, y, z : array_like
            Positions in pixels from the rotation centre; broadcast against each other.

        Returns
        -------
        ndarray of bool
            True inside and on the surface.
        """
        point = np.stack(np.broadcast_arrays(x, y, z, 1.0)).astype(np.float64)
        inside = np.ones(point.shape[1:], bool)
        for quadric in self.quadrics:
            inside &= np.einsum("i...,ij,j...->...", point, quadric, point) <= 0
        for normal, low, high in self.plates:
            height = np.tensordot(normal, point[:3], 1)
            inside &= (low <= height) & (height <= high)
        return inside

    def interval(self, p: Array, y: Array, *, cos: float, sin: float) -> tuple[Array, Array]:
        """Return where rays perpendicular to the tilt axis enter and leave the solid.

        Parameters
        ----------
        p, y : ndarray of float64
            Where the rays reach the detector, across and along the tilt axis, in pixels from the axis
            and from the centre; broadcast against each other.
        cos, sin : float
            Cosine and sine of the tilt angle θ.

        Returns
        -------
        first, last : ndarray of float64
            Positions t along the ray; ``last <= first`` if it misses the solid.

        Notes
        -----
        The ray is ``(x, y, z) = (p cos θ − t sin θ, y, p sin θ + t cos θ)``. On it a quadric is
        ``a t² + 2 b t + c``, with b linear and b² − ac quadratic in (p, y).
        """
        frame = np.array([[cos, 0, sin, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
        along = np.array([-sin, 0, cos, 0])
        reach = float(np.linalg.norm(np.maximum(np.abs(self.low), np.abs(self.high))))
        shape = np.broadcast_shapes(p.shape, y.shape)
        first, last = np.full(shape, -reach), np.full(shape, reach)
        for quadric in self.quadrics:
            a = along @ quadric @ along
            b = frame @ quadric @ along
            d = np.outer(b, b) - a * frame @ quadric @ frame.T
            middle = (b[0] * p + (b[1] * y + b[2])) / -a
            square = p * (d[0, 0] * p + 2 * d[0, 2]) + (y * (d[1, 1] * y + 2 * d[1, 2]) + d[2, 2])
            if d[0, 1]:
                square += 2 * d[0, 1] * (p * y)
            half = np.sqrt(np.maximum(square, 0)) / a
            first, last = np.maximum(first, middle - half), np.minimum(last, middle + half)
        for normal, low, high in self.plates:
            rise = float(normal @ along[:3])
            height = (normal[0] * cos + normal[2] * sin) * p + normal[1] * y
            if abs(rise) < 1e-12:
                last = np.where((low <= height) & (height <= high), last, first)
            else:
                low, high = (low, high) if rise > 0 else (high, low)
                first = np.maximum(first, (low - height) / rise)
                last = np.minimum(last, (high - height) / rise)
        return first, last


def ellipsoid(
    middle: ArrayLike, radii: ArrayLike, *, density: float = 1.0, rotation: ArrayLike | None = None
) -> Solid:
    """Create an ellipsoid.

    Parameters
    ----------
    middle : array_like of shape (3,)
        Its centre (x, y, z), in pixels from the rotation centre.
    radii : float or array_like of shape (3,)
        Half axes along its own x, y, z, in pixels; one number for a sphere.
    density : float
        Value that it adds to the voxels inside it.
    rotation : array_like of shape (3, 3), optional
        Matrix whose columns are the directions of its axes.

    Returns
    -------
    Solid
        The ellipsoid.

    Raises
    ------
    UsageError
        When a radius is not positive.
    """
    middle = np.asarray(middle, np.float64)
    radii = np.broadcast_to(np.asarray(radii, np.float64), 3)
    if not (radii > 0).all():
        raise UsageError(f"an ellipsoid with radii {radii.tolist()} px is empty; use positive radii")
    axes = np.eye(3) if rotation is None else np.asarray(rotation, np.float64)
    form = axes @ np.diag(radii**-2.0) @ axes.T
    quadric = np.block([[form, -(form @ middle)[:, None]], [-(form @ middle), middle @ form @ middle - 1]])
    half = np.sqrt((axes**2) @ radii**2)
    return Solid(density, (quadric,), (), middle - half, middle + half)


def cone(radius: float, slope: float, *, bottom: float, top: float, density: float = 1.0) -> Solid:
    """Create a round truncated cone around the tilt axis, or a cylinder if the slope is zero.

    Parameters
    ----------
    radius : float
        Radius at y = 0, in pixels.
    slope : float
        Growth of the radius with y.
    bottom, top : float
        Its ends along y, in pixels from the centre.
    density : float
        Value that it adds to the voxels inside it.

    Returns
    -------
    Solid
        The part of ``x² + z² <= (radius + slope y)²`` between its ends.

    Raises
    ------
    UsageError
        When it has no length, or its radius is not positive at both ends.
    """
    ends = radius + slope * bottom, radius + slope * top
    if min(ends) <= 0 or top <= bottom:
        raise UsageError(
            f"a cone from y = {bottom} to {top} px with radii {ends[0]} and {ends[1]} px is empty"
        )
    quadric = np.diag([1.0, -(slope**2), 1.0, -(radius**2)])
    quadric[1, 3] = quadric[3, 1] = -radius * slope
    widest = max(ends)
    body = Solid(
        density, (quadric,), (), np.array([-widest, bottom, -widest]), np.array([widest, top, widest])
    )
    return body.cut((0, 1, 0), bottom, top)


def embed(bodies: Sequence[Solid], inclusion: Solid) -> list[Solid]:
    """Return the solids that, added to bodies, replace parts of them by an inclusion.

    Parameters
    ----------
    bodies : sequence of Solid
        Solids that do not overlap each other.
    inclusion : Solid
        Its density replaces that of the bodies; zero for a void.

    Returns
    -------
    list of Solid
        The inclusion, and its intersections with the bodies, which have negative densities.
    """
    taken = [inclusion.common(body, density=-body.density) for body in bodies]
    return [part for part in (inclusion, *taken) if part.density and not part.is_empty]


@dataclass(frozen=True, eq=False)
class Specimen:
    """Specimen as a sum of solids.

    Parameters
    ----------
    solids : tuple of Solid
        Their densities add up where they overlap. Empty ones are left out.
    """

    solids: tuple[Solid, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "solids", tuple(solid for solid in self.solids if not solid.is_empty))

    def density(self, x: ArrayLike, y: ArrayLike, z: ArrayLike) -> Array:
        """Return the density at points.

        Parameters
        ----------
        x, y, z : array_like
            Positions in pixels from the rotation centre; broadcast against each other.

        Returns
        -------
        ndarray of float64
            Sum of the densities of the solids that contain each point.
        """
        total = np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y), np.shape(z)))
        for solid in self.solids:
            total += solid.density * solid.contains(x, y, z)
        return total

    def sections(
        self, shape: tuple[int, int, int], *, oversampling: int = 4
    ) -> Iterator[NDArray[np.float32]]:
        """Rasterise the specimen section by section; each voxel is the mean density in its cube.

        Parameters
        ----------
        shape : tuple of int
            Voxels (nz, ny, nx); the rotation centre is the centre of the volume.
        oversampling : int
            Lines per voxel in y and in z; along x the mean is exact.

        Yields
        ------
        ndarray of shape (ny, nx), float32
            Sections from the lowest z to the highest.
        """
        nz, ny, nx = shape
        within = _subpixel_offsets(oversampling)
        for index in range(nz):
            section = np.zeros((ny, nx))
            z = index - centre(nz) + within
            for solid in self.solids:
                if solid.low[2] <= index - centre(nz) + 0.5 and solid.high[2] >= index - centre(nz) - 0.5:
                    rows = _overlapping_pixels(solid.low[1], solid.high[1], ny)
                    y = np.arange(rows.start, rows.stop)[:, None, None] - centre(ny) + within[:, None]
                    section[rows] += solid.density * _coverage(solid, y, z, nx)
            yield (section.round(12) + 0.0).astype(np.float32)  # 1 − 0.8 − 0.2 becomes 0, and −0 as well

    def volume(self, shape: tuple[int, int, int], *, pixel_A: float = 1.0, oversampling: int = 4) -> Volume:
        """Rasterise the whole specimen.

        Parameters
        ----------
        shape : tuple of int
            Voxels (nz, ny, nx).
        pixel_A : float
            Voxel size in Å.
        oversampling : int
            As for `sections`.

        Returns
        -------
        Volume
            Mean density in each voxel.
        """
        data = np.empty(shape, np.float32)
        for target, section in zip(data, self.sections(shape, oversampling=oversampling), strict=True):
            target[:] = section
        return Volume(data, pixel_A=pixel_A)


def _subpixel_offsets(n: int) -> Array:
    """Return the middles of ``n`` equal parts of a pixel, relative to its centre."""
    return (np.arange(n) + 0.5) / n - 0.5


def _overlapping_pixels(low: float, high: float, n: int) -> slice:
    """Return the range of those of ``n`` pixels that overlap an interval, given relative to their centre."""
    first, last = np.clip([np.floor(low + centre(n) + 0.5), np.ceil(high + centre(n) + 0.5)], 0, n)
    return slice(int(first), int(last))


def _coverage(solid: Solid, y: Array, z: Array, nx: int) -> Array:
    """Return the fraction of each pixel that a solid covers in some rows, from lines along x at all y and z.

    The coverage by an interval is the running sum of two fractions at each end. Ends are rounded to
    2⁻²⁰ px so that these sums are exact, and exactly zero beyond the solid.
    """
    first, last = solid.interval(z, y, cos=0.0, sin=1.0)  # at 90° the path t is −x
    n_rows, width = len(first), nx + 2
    start = np.arange(n_rows)[:, None, None] * width
    steps = np.zeros(n_rows * width)
    for edge, sign in ((-np.maximum(last, first), 1.0), (-first, -1.0)):
        position = np.round(np.clip(edge + centre(nx) + 0.5, 0, nx) * 2**20) / 2**20
        pixel = np.floor(position).astype(np.intp)
        fraction = position - pixel
        steps += sign * np.bincount((start + pixel).ravel(), (1 - fraction).ravel(), steps.size)
        steps += sign * np.bincount((start + pixel + 1).ravel(), fraction.ravel(), steps.size)
    covered: Array = np.cumsum(steps.reshape(n_rows, width)[:, :nx], axis=1) / (y.shape[1] * z.size)
    return covered
