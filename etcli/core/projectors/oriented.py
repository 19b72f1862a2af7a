"""The projector of whole volumes for views of any orientation, as atomic and dual-axis tomography need it."""

from functools import partial
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.core.parallel import ordered_map
from etcli.core.projectors import _oriented
from etcli.core.projectors.slab import HOST, _checked, _target

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Ints = NDArray[np.intp]
Three = tuple[int, int, int]

X, Y, Z = 0, 1, 2
ROLES = ((X, Z, Y), (Y, Z, X), (Z, Y, X))
"""Planes, rows and columns where the beam is nearest to x, y or z; columns lie close together in memory."""
ORTHOGONAL = 1e-6
LOADED = 2
"""Boxes of the volume in memory, a thread."""


class OrientedProjector:
    """Project volumes along any directions and apply the exact transpose.

    Volumes have the shape (nz, ny, nx), sinograms (n_views, n_v, n_u); both are float32 and C-contiguous. One
    projector may serve several threads at once.

    Parameters
    ----------
    rotation : array_like of shape (n_views, 3, 3)
        Orthogonal matrices R that take a point (x, y, z) of the specimen to the microscope, whose beam is
        along z; see `etcli.core.orientation.rotation_matrices`.
    shape : (int, int, int)
        Voxels of the volume, (nz, ny, nx).
    detector_shape : (int, int), optional
        Pixels of a view, (n_v, n_u); by default (ny, nx).
    centre_px : array_like of shape (n_views, 2), optional
        Where the centre of the volume is seen in each view, (u, v) from the centre of the view.
    threads : int
        Threads to work on. The result does not depend on their number.

    Attributes
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Angle of each view about the y axis of the specimen, in degrees.

    Raises
    ------
    UsageError
        If a matrix is not orthogonal, or numbers do not fit.

    Notes
    -----
    The point r, from the centre of the volume, is seen at u = (R r)_x, v = (R r)_y from the centre of the
    view. A voxel of value 1 contributes its path length in voxels. This is Joseph's method [1]_ in three
    dimensions: in each plane of voxels perpendicular to the axis that is nearest to the beam, the ray of a
    pixel is sampled once, by bilinear interpolation with zeros outside the volume, and the sum is divided by
    the cosine between axis and beam. For views tilted about y it is the ``linear`` kernel of
    `etcli.core.projectors.slab.SlabProjector`.

    References
    ----------
    .. [1] P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572.
    """

    device = HOST

    def __init__(
        self,
        rotation: ArrayLike,
        shape: tuple[int, ...],
        detector_shape: tuple[int, ...] | None = None,
        *,
        centre_px: ArrayLike | None = None,
        threads: int = 1,
    ) -> None:
        self._rotation = matrices = np.asarray(rotation, np.float64)
        _check_rotations(matrices)
        n_views = len(matrices)
        centres = np.zeros((n_views, 2)) if centre_px is None else np.asarray(centre_px, np.float64)
        if centres.shape != (n_views, 2) or not np.isfinite(centres).all():
            raise UsageError(f"{n_views} views need as many finite centres (u, v)")
        self.domain_shape = (*shape,)
        self.range_shape = (n_views, *(shape[1:] if detector_shape is None else detector_shape))
        if len(shape) != 3 or len(self.range_shape) != 3 or min(self.domain_shape + self.range_shape) < 1:
            raise UsageError(
                f"a volume of shape {self.domain_shape} or views of shape {self.range_shape[1:]} cannot be"
            )
        self.threads = threads
        self._centre_px = centres
        self.tilt_deg = np.rad2deg(np.arctan2(-matrices[:, Z, X], matrices[:, Z, Z]))
        nearest = abs(matrices[:, Z]).argmax(axis=1)
        self._seen = [
            (views, roles)
            for axis, roles in enumerate(ROLES)
            if (views := np.flatnonzero(nearest == axis)).size
        ]
        self._aspects = [
            _Aspect(views, matrices[views], centres[views], roles, self.domain_shape, self.range_shape)
            for views, roles in self._seen
        ]

    def of_views(self, views: Ints) -> "OrientedProjector":
        """Return the projector of some of the views.

        Parameters
        ----------
        views : ndarray of int
            Counted from 0.

        Returns
        -------
        OrientedProjector
        """
        return type(self)(
            self._rotation[views],
            self.domain_shape,
            self.range_shape[1:],
            centre_px=self._centre_px[views],
            threads=self.threads,
        )

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project a volume.

        Parameters
        ----------
        volume : ndarray of shape (nz, ny, nx), float32
            Density per voxel.
        out : ndarray of shape (n_views, n_v, n_u), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (n_views, n_v, n_u), float32
            Line integrals, in voxels.
        """
        volume = _checked(volume, self.domain_shape, "volume")
        out = _target(out, self.range_shape)
        out[:] = 0
        for aspect in self._aspects:
            aspect.project(volume, out, self.threads)
        return out

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Apply the transpose of the projection.

        Parameters
        ----------
        sinogram : ndarray of shape (n_views, n_v, n_u), float32
            Views.
        out : ndarray of shape (nz, ny, nx), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (nz, ny, nx), float32
            Every voxel is the sum of the pixels it contributes to, with the same weights.
        """
        images = _checked(sinogram, self.range_shape, "sinogram").copy()
        out = _target(out, self.domain_shape)
        out[:] = 0
        for aspect in self._aspects:
            aspect.backproject(images, out, self.threads)
        return out


def crossings(
    matrices: Float,
    centre_px: Float,
    roles: Three,
    domain_shape: tuple[int, ...],
    range_shape: tuple[int, ...],
) -> Float:
    """Return where the rays of views meet the planes that cross their beams.

    Parameters
    ----------
    matrices, centre_px : ndarray
        Rotations and centres of the views, as for `OrientedProjector`.
    roles : (int, int, int)
        Axes (0 is x) that count planes, rows and columns.
    domain_shape, range_shape : tuple of int
        Those of the projector.

    Returns
    -------
    ndarray of shape (n_views, 2, 4), float64
        For rows and for columns: the changes with u, with v and from plane to plane, and the value for the
        first of all.
    """
    sizes, detector = np.array(domain_shape[::-1]), np.array(range_shape[:0:-1])  # x first, u first
    plane, row, column = roles
    # the ray of (u, v) is u e_u + v e_v + w e_w, and w follows from the plane it is to meet
    per_plane = matrices[:, Z] / matrices[:, Z, plane, np.newaxis]
    per_pixel = matrices[:, :Z] - matrices[:, :Z, plane, np.newaxis] * per_plane[:, np.newaxis]
    middle = (detector - 1) / 2 + centre_px
    first = (
        (sizes - 1) / 2 - centre(int(sizes[plane])) * per_plane - np.einsum("kj,kji->ki", middle, per_pixel)
    )
    return np.stack([per_pixel[:, 0], per_pixel[:, 1], per_plane, first], axis=-1)[:, [row, column]]


class _Box(NamedTuple):
    """Some voxels of a volume: planes, rows and columns."""

    start: Three
    shape: Three


class _Aspect:
    """Views whose beam is nearest to one axis: how they see the voxels."""

    def __init__(
        self,
        views: Ints,
        matrices: Float,
        centre_px: Float,
        roles: Three,
        domain_shape: tuple[int, ...],
        range_shape: tuple[int, ...],
    ) -> None:
        self.views = views
        sizes, detector = domain_shape[::-1], range_shape[:0:-1]  # x first, u first
        plane = roles[0]
        self.shape = [sizes[axis] for axis in roles]
        self.strides = tuple(prod(sizes[:axis]) for axis in roles)
        frames = crossings(matrices, centre_px, roles, domain_shape, range_shape)
        # rays that are traced together should meet different rows
        turned = abs(frames[:, 0, 1]) > abs(frames[:, 0, 0])
        frames[turned, :, :2] = frames[turned, :, 1::-1]
        self.frames = frames
        self.n_neighbours = np.where(turned, detector[1], detector[0])
        self.scale = 1 / abs(matrices[:, Z, plane])
        self.turned_views = views[turned]

    def project(self, volume: Array, images: Array, threads: int) -> None:
        """Add the projections of the volume to images."""
        voxels, boxes = volume.reshape(-1), self._boxes()
        memories = [_memory(boxes[0]) for _ in range(min(LOADED * threads, len(boxes)))]
        shares = np.array_split(np.arange(self.views.size), min(threads, self.views.size))

        def load(loading: tuple[_Box, Array]) -> None:
            box, memory = loading
            memory[:] = 0
            _oriented.load_box(voxels, *self._where(box), memory)

        def trace(views: Ints, loaded: list[tuple[_Box, Array]]) -> None:
            for box, memory in loaded:
                self._trace(0, box, memory, views, images)

        for first in range(0, len(boxes), len(memories)):
            loaded = list(zip(boxes[first:], memories, strict=False))
            for _ in ordered_map(load, loaded, threads=threads):
                pass
            for _ in ordered_map(partial(trace, loaded=loaded), shares, threads=threads):
                pass
        for view in self.turned_views:
            image = images[view]
            image[:] = image.reshape(image.T.shape).T.copy()

    def backproject(self, images: Array, volume: Array, threads: int) -> None:
        """Add images, which are destroyed, to the volume."""
        voxels, boxes, views = volume.reshape(-1), self._boxes(), np.arange(self.views.size)

        def collect(share: list[_Box]) -> None:
            memory = _memory(boxes[0])
            for box in share:
                memory[:] = 0
                self._trace(1, box, memory, views, images)
                _oriented.unload_box(voxels, *self._where(box), memory)

        for view in self.turned_views:
            image = images[view]
            image.reshape(image.T.shape)[:] = image.T.copy()
        shares = [boxes[first::threads] for first in range(min(threads, len(boxes)))]
        for _ in ordered_map(collect, shares, threads=threads):
            pass

    def _boxes(self) -> list[_Box]:
        """Divide the volume."""
        (n_p, n_a, n_b), (most_p, most_a, most_b) = self.shape, _oriented.BOX
        starts = product(range(0, n_p, most_p), range(0, n_a, most_a), range(0, n_b, most_b))
        return [
            _Box((p, a, b), (min(n_p - p, most_p), min(n_a - a, most_a), min(n_b - b, most_b)))
            for p, a, b in starts
        ]

    def _where(self, box: _Box) -> tuple[int, tuple[int, ...], Three, tuple[int, int]]:
        """Return where a box begins in the volume, and how it lies there and in its memory."""
        at = sum(i * stride for i, stride in zip(box.start, self.strides, strict=True))
        return at, self.strides, box.shape, _oriented.pitches(box.shape)

    def _trace(self, transposed: int, box: _Box, memory: Array, chosen: Ints, images: Array) -> None:
        """Project a box in some of the views, or the transpose."""
        _oriented.tracing(transposed)(
            memory, box.shape, _oriented.pitches(box.shape), box.start, self.views[chosen],
            self.frames[chosen], self.n_neighbours[chosen], self.scale[chosen], images.reshape(-1),
            images[0].size,
        )  # fmt: skip


def _memory(box: _Box) -> Array:
    """Return room for a box with its margin."""
    return np.zeros(box.shape[0] * _oriented.pitches(box.shape)[0], np.float32)


def _check_rotations(matrices: Float) -> None:
    """Refuse what does not turn."""
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3) or not len(matrices):
        raise UsageError(f"views need a 3 x 3 matrix each, not an array of shape {matrices.shape}")
    deviation = abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    good = deviation < ORTHOGONAL  # not where there is NaN
    if not good.all():
        raise UsageError(f"the matrix of view {np.argmin(good) + 1} does not describe a rotation")
