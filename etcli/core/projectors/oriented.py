"""Projector of whole volumes for views of any orientation, as in atomic and dual-axis tomography."""

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
from etcli.core.projectors.slab import HOST, _check_array, _output_array

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Ints = NDArray[np.intp]
Three = tuple[int, int, int]

X, Y, Z = 0, 1, 2
ROLES = ((X, Z, Y), (Y, Z, X), (Z, Y, X))
"""Axes that count planes, rows and columns of voxels, for a beam nearest to x, y or z; planes lie across the
beam, and neighbouring columns are closer together in memory than neighbouring rows."""
ORTHOGONAL = 1e-6
"""Largest deviation of R Rᵀ from the identity."""
LOADED = 2
"""Boxes of the volume loaded at the same time, per thread."""


class OrientedProjector:
    """Projector of volumes along any directions, with its exact transpose.

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
        Number of threads. The result does not depend on it.

    Attributes
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Angle of each view about the y axis of the specimen, in degrees.

    Raises
    ------
    UsageError
        If a matrix is not orthogonal, or the number of centres or a shape is wrong.

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
                f"cannot project a volume of shape {self.domain_shape} to views of shape "
                f"{self.range_shape[1:]}"
            )
        self.threads = threads
        self._centre_px = centres
        self.tilt_deg = np.rad2deg(np.arctan2(-matrices[:, Z, X], matrices[:, Z, Z]))
        nearest_axis = abs(matrices[:, Z]).argmax(axis=1)
        self._views_and_roles = [
            (views, roles)
            for axis, roles in enumerate(ROLES)
            if (views := np.flatnonzero(nearest_axis == axis)).size
        ]
        self._groups = [
            _ViewGroup(views, matrices[views], centres[views], roles, self.domain_shape, self.range_shape)
            for views, roles in self._views_and_roles
        ]

    def of_views(self, views: Ints) -> "OrientedProjector":
        """Return the projector for some of the views.

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
        volume = _check_array(volume, self.domain_shape, "volume")
        out = _output_array(out, self.range_shape)
        out[:] = 0
        for group in self._groups:
            group.project(volume, out, self.threads)
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
        images = _check_array(sinogram, self.range_shape, "sinogram").copy()
        out = _output_array(out, self.domain_shape)
        out[:] = 0
        for group in self._groups:
            group.backproject(images, out, self.threads)
        return out


def crossings(
    matrices: Float,
    centre_px: Float,
    roles: Three,
    domain_shape: tuple[int, ...],
    range_shape: tuple[int, ...],
) -> Float:
    """Return where the rays of the views cross the planes of voxels, as linear functions of pixel and plane.

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
        For the row and for the column of the crossing: the change with u, with v and from plane to plane,
        and the value for the first pixel in the first plane.
    """
    sizes, detector = np.array(domain_shape[::-1]), np.array(range_shape[:0:-1])  # x first, u first
    plane, row, column = roles
    # the ray of (u, v) is u e_u + v e_v + w e_w, and w follows from the plane that it crosses
    per_plane = matrices[:, Z] / matrices[:, Z, plane, np.newaxis]
    per_pixel = matrices[:, :Z] - matrices[:, :Z, plane, np.newaxis] * per_plane[:, np.newaxis]
    middle = (detector - 1) / 2 + centre_px
    first = (
        (sizes - 1) / 2 - centre(int(sizes[plane])) * per_plane - np.einsum("kj,kji->ki", middle, per_pixel)
    )
    return np.stack([per_pixel[:, 0], per_pixel[:, 1], per_plane, first], axis=-1)[:, [row, column]]


class _Box(NamedTuple):
    """Box of voxels: its first index and its size along planes, rows and columns."""

    start: Three
    shape: Three


class _ViewGroup:
    """Group of views whose beam is nearest to the same axis, with the geometry of their rays."""

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
        # rays that are traced together should cross different rows
        swapped = abs(frames[:, 0, 1]) > abs(frames[:, 0, 0])
        frames[swapped, :, :2] = frames[swapped, :, 1::-1]
        self.frames = frames
        self.n_neighbours = np.where(swapped, detector[1], detector[0])
        self.scale = 1 / abs(matrices[:, Z, plane])
        self.swapped_views = views[swapped]

    def project(self, volume: Array, images: Array, threads: int) -> None:
        """Add the projections of the volume to the images."""
        voxels, boxes = volume.reshape(-1), self._boxes()
        buffers = [_new_buffer(boxes[0]) for _ in range(min(LOADED * threads, len(boxes)))]
        shares = np.array_split(np.arange(self.views.size), min(threads, self.views.size))

        def load(box_and_buffer: tuple[_Box, Array]) -> None:
            box, buffer = box_and_buffer
            buffer[:] = 0
            _oriented.load_box(voxels, *self._placement(box), buffer)

        def trace(views: Ints, loaded: list[tuple[_Box, Array]]) -> None:
            for box, buffer in loaded:
                self._trace(0, box, buffer, views, images)

        for first in range(0, len(boxes), len(buffers)):
            loaded = list(zip(boxes[first:], buffers, strict=False))
            for _ in ordered_map(load, loaded, threads=threads):
                pass
            for _ in ordered_map(partial(trace, loaded=loaded), shares, threads=threads):
                pass
        for view in self.swapped_views:
            image = images[view]
            image[:] = image.reshape(image.T.shape).T.copy()

    def backproject(self, images: Array, volume: Array, threads: int) -> None:
        """Add the back-projection of the images to the volume; the images are overwritten."""
        voxels, boxes, views = volume.reshape(-1), self._boxes(), np.arange(self.views.size)

        def collect(share: list[_Box]) -> None:
            buffer = _new_buffer(boxes[0])
            for box in share:
                buffer[:] = 0
                self._trace(1, box, buffer, views, images)
                _oriented.unload_box(voxels, *self._placement(box), buffer)

        for view in self.swapped_views:
            image = images[view]
            image.reshape(image.T.shape)[:] = image.T.copy()
        shares = [boxes[first::threads] for first in range(min(threads, len(boxes)))]
        for _ in ordered_map(collect, shares, threads=threads):
            pass

    def _boxes(self) -> list[_Box]:
        """Divide the volume into boxes."""
        (n_p, n_a, n_b), (most_p, most_a, most_b) = self.shape, _oriented.BOX
        starts = product(range(0, n_p, most_p), range(0, n_a, most_a), range(0, n_b, most_b))
        return [
            _Box((p, a, b), (min(n_p - p, most_p), min(n_a - a, most_a), min(n_b - b, most_b)))
            for p, a, b in starts
        ]

    def _placement(self, box: _Box) -> tuple[int, tuple[int, ...], Three, tuple[int, int]]:
        """Return the offset and strides of a box in the volume, its shape, and its pitches in the buffer."""
        at = sum(i * stride for i, stride in zip(box.start, self.strides, strict=True))
        return at, self.strides, box.shape, _oriented.pitches(box.shape)

    def _trace(self, transposed: int, box: _Box, buffer: Array, indices: Ints, images: Array) -> None:
        """Project a box to some of the views, or apply the transpose."""
        _oriented.tracing(transposed)(
            buffer, box.shape, _oriented.pitches(box.shape), box.start, self.views[indices],
            self.frames[indices], self.n_neighbours[indices], self.scale[indices], images.reshape(-1),
            images[0].size,
        )  # fmt: skip


def _new_buffer(box: _Box) -> Array:
    """Return a buffer of zeros for a box with its margin."""
    return np.zeros(box.shape[0] * _oriented.pitches(box.shape)[0], np.float32)


def _check_rotations(matrices: Float) -> None:
    """Raise UsageError if there are no views or a matrix is not orthogonal."""
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3) or not len(matrices):
        raise UsageError(f"views need a 3 x 3 matrix each, not an array of shape {matrices.shape}")
    deviation = abs(matrices @ matrices.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    orthogonal = deviation < ORTHOGONAL  # not where there is NaN
    if not orthogonal.all():
        raise UsageError(f"the matrix of view {np.argmin(orthogonal) + 1} does not describe a rotation")
