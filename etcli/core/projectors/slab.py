"""Slab projector for the CPU: projects many neighbouring slices at once.

All slices perpendicular to the tilt axis share one geometry, so the weight of a voxel in a detector pixel is
computed once and applied to a whole row of slices, which are innermost in memory.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.projectors import _kernels
from etcli.core.projectors._footprints import AREA, HAT, SHARES, area_parameters, hat_parameters
from etcli.core.projectors._kernels import aligned_empty as aligned_empty
from etcli.core.projectors._simd import LANES

KERNELS = ("linear", "strip")
"""Names of the projection kernels, which define the weight of a voxel in a detector pixel."""
COST: Mapping[int, float] = MappingProxyType({16: 0.55, 32: 0.7, 64: 1.0})
"""Relative time of a SIRT iteration on a slab of each width (number of slices), as measured."""
WIDTHS = tuple(COST)
"""Allowed numbers of slices in a slab; the widest slab takes the least time per slice."""

Array = NDArray[np.float32]


class HostDevice:
    """Memory of this machine (the host), as an `etcli.core.projectors.Device`."""

    name = "CPU"
    widths = COST

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Return an uninitialised array; float32 arrays start on a cache line."""
        return aligned_empty(shape) if dtype is np.float32 else np.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...]) -> Array:
        """Return an array of zeros."""
        return np.zeros(shape, np.float32)

    def put(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself, which is on the host already."""
        return array

    def to_slab(self, rows: Array) -> Array:
        """Copy slices to the memory layout of slabs; see `to_slab`."""
        return to_slab(rows)

    def from_slab(self, slab: Array, n_slices: int) -> Array:
        """Copy slices to the memory layout of files; see `from_slab`."""
        return from_slab(slab, n_slices)

    def free_bytes(self) -> None:
        """Return None: on the host, ``--memory`` sets the limit."""
        return

    def session(self) -> AbstractContextManager[None]:
        """Return a context manager that does nothing."""
        return nullcontext()


HOST = HostDevice()


class SlabProjectorBase:
    """Base class of the slab projectors: geometry, kernel and array shapes.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_slices : int
        Slices of the slab.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    Raises
    ------
    UsageError
        If there is no such kernel.
    """

    def __init__(self, geometry: SliceGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if kernel not in KERNELS:
            raise UsageError(f"no projection kernel named {kernel!r}; use one of {', '.join(KERNELS)}")
        self.geometry = geometry
        self.n_slices = n_slices
        self.kernel = kernel
        self.domain_shape = (geometry.thickness, geometry.width, n_slices)
        self.range_shape = (geometry.n_views, geometry.n_detector, n_slices)

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> Self:
        """Return the projector for some of the views.

        Parameters
        ----------
        views : sequence of int
            Counted from 0.

        Returns
        -------
        projector of the same class
        """
        return type(self)(self.geometry.of_views(views), n_slices=self.n_slices, kernel=self.kernel)


class SlabProjector(SlabProjectorBase):
    """Slab projector on the CPU, with its exact transpose.

    Volumes have the shape (thickness, width, n_slices), sinograms (n_views, n_detector, n_slices); both are
    float32 and C-contiguous. One projector may serve several threads at once.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_slices : int
        Slices of the slab, one of ``WIDTHS``.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel; see Notes.

    Raises
    ------
    UsageError
        If there is no such kernel or width.

    Notes
    -----
    A voxel of value 1 contributes its path length in voxels. Let t be its detector position and i a pixel.

    ``linear`` is Joseph's method [1]_: the ray is sampled by linear interpolation once in each row of voxels,
    or each column where it is steep, with zeros outside the slice. The weight is w max(0, 1 - w |i - t|) with
    w = 1 / max(|cos θ|, |sin θ|).

    ``strip`` is the area that the voxel, a unit square, shares with the strip of unit width that the pixel
    sees. A view then holds the mass of the slice exactly.

    References
    ----------
    .. [1] P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572.
    """

    device = HOST

    def __init__(self, geometry: SliceGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if n_slices not in WIDTHS:
            raise UsageError(f"a slab has {', '.join(map(str, WIDTHS))} slices, not {n_slices}")
        super().__init__(geometry, n_slices=n_slices, kernel=kernel)

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project a slab.

        Parameters
        ----------
        volume : ndarray of shape (thickness, width, n_slices), float32
            Density per voxel.
        out : ndarray of shape (n_views, n_detector, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (n_views, n_detector, n_slices), float32
            Line integrals, in voxels.
        """
        volume = _check_array(volume, self.domain_shape, "volume")
        out = _output_array(out, self.range_shape)
        out[:] = 0
        thickness, width, _ = self.domain_shape
        cos, sin = self.geometry.cos, self.geometry.sin
        steep = np.abs(cos) < np.abs(sin)
        # steep views are shallow views of the transposed slice
        for selected, shape, strides, along, across in (
            (~steep, (thickness, width), (width, 1), cos, sin),
            (steep, (width, thickness), (1, width), sin, cos),
        ):
            views = np.flatnonzero(selected)
            if not views.size:
                continue
            along, across = along[views], across[views]
            if self.kernel == "linear":
                formula, parameters = HAT, hat_parameters(np.ones(views.size), 1 / np.abs(along))
            else:
                formula, parameters = AREA, area_parameters(along, across, np.abs(along))
            scratch = _kernels.projection_scratch(formula, self.n_slices)
            _kernels.projection(formula, self.n_slices)(
                volume.reshape(-1), shape, strides, views, along, across, parameters,
                self.geometry.centre_px[views], self.geometry.n_detector, *scratch, out.reshape(-1),
            )  # fmt: skip
        return out

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Apply the transpose of the projection.

        Parameters
        ----------
        sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
            Views.
        out : ndarray of shape (thickness, width, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (thickness, width, n_slices), float32
            Every voxel is the sum of the pixels it contributes to, with the same weights.
        """
        cos, sin = self.geometry.cos, self.geometry.sin
        if self.kernel == "strip":
            return self._gather(sinogram, SHARES, area_parameters(cos, sin, np.ones_like(cos)), out)
        reach = np.maximum(np.abs(cos), np.abs(sin))
        return self._gather(sinogram, HAT, hat_parameters(reach, 1 / reach), out)

    def interpolate(
        self,
        sinogram: Array,
        *,
        view_weight: NDArray[np.float64] | None = None,
        sections: tuple[int, int] | None = None,
        out: Array | None = None,
    ) -> Array:
        """Sum the views at the detector position of every voxel, as needed for filtered back-projection.

        Parameters
        ----------
        sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
            Filtered views, interpolated linearly between pixels and zero outside the detector.
        view_weight : ndarray of shape (n_views,), optional
            Factor of every view, by default 1.
        sections : (int, int), optional
            Range of sections along z to compute, (first, last + 1); by default all.
        out : ndarray of shape (sections, width, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (sections, width, n_slices), float32
            Weighted sum over the views; it does not depend on the kernel, and is not the transpose of the
            projection.
        """
        ones = np.ones(self.geometry.n_views)
        weight = ones if view_weight is None else np.asarray(view_weight, np.float64)
        if weight.shape != ones.shape:
            raise UsageError(f"{ones.size} views need as many weights, not an array of shape {weight.shape}")
        return self._gather(sinogram, HAT, hat_parameters(ones, weight), out, sections)

    def _gather(
        self,
        sinogram: Array,
        formula: int,
        parameters: NDArray[np.float64],
        out: Array | None,
        sections: tuple[int, int] | None = None,
    ) -> Array:
        """Sum, for every voxel, the weighted pixels that its footprint covers."""
        sinogram = _check_array(sinogram, self.range_shape, "sinogram")
        thickness, width, _ = self.domain_shape
        z0, z1 = sections or (0, thickness)
        if not 0 <= z0 < z1 <= thickness:
            raise UsageError(f"there are no sections {z0} to {z1} in a slab of {thickness}")
        out = _output_array(out, (z1 - z0, width, self.n_slices))
        middle = centre(thickness) - z0, centre(width)
        scratch = _kernels.backprojection_scratch(formula, self.n_slices)
        _kernels.backprojection(formula, self.n_slices)(
            sinogram.reshape(-1), out.shape[:2], middle, self.geometry.cos, self.geometry.sin, parameters,
            self.geometry.centre_px, self.geometry.n_detector, *scratch, out.reshape(-1),
        )  # fmt: skip
        return out


def slab_width(n_slices: int) -> int:
    """Return the slab width to use for a number of slices.

    Parameters
    ----------
    n_slices : int
        Number of slices to reconstruct.

    Returns
    -------
    int
        The smallest of ``WIDTHS`` that holds all slices, or the largest where none does.
    """
    return next((width for width in WIDTHS if width >= n_slices), WIDTHS[-1])


def to_slab(rows: Array, *, out: Array | None = None) -> Array:
    """Copy slices from the memory layout of files to that of slabs.

    Parameters
    ----------
    rows : ndarray of shape (n, n_slices, nx), float32
        Views or sections, for example ``series[:, y0:y1]``; at most as many slices as the widest slab.
    out : ndarray of shape (n, nx, width), float32, optional
        Overwritten and returned; by default a new array with the width of `slab_width`.

    Returns
    -------
    ndarray of shape (n, nx, width), float32
        Slices along the last axis, followed by zeros up to the width.
    """
    n, n_slices, nx = rows.shape
    if rows.dtype != np.float32:
        raise _array_error(rows, rows.shape, "rows", "an array of")
    width = slab_width(n_slices) if out is None else out.shape[-1]
    if n_slices > width:
        raise UsageError(f"{n_slices} slices do not fit into a slab of {width}")
    out = _output_array(out, (n, nx, width))
    _transpose(rows, out[..., :n_slices])
    out[..., n_slices:] = 0
    return out


def from_slab(slab: Array, n_slices: int, *, out: Array | None = None) -> Array:
    """Copy slices from the memory layout of slabs to that of files.

    Parameters
    ----------
    slab : ndarray of shape (n, nx, width), float32
        Slices along the last axis.
    n_slices : int
        Slices to keep, from the first.
    out : ndarray of shape (n, n_slices, nx), float32, optional
        Overwritten and returned; it may be a part of a larger array, as in ``volume[:, y0:y1]``.

    Returns
    -------
    ndarray of shape (n, n_slices, nx), float32
        Views or sections.
    """
    n, nx, width = slab.shape
    if n_slices > width:
        raise UsageError(f"a slab of {width} has no {n_slices} slices")
    if out is None:
        out = np.empty((n, n_slices, nx), np.float32)
    elif out.shape != (n, n_slices, nx) or out.dtype != np.float32 or not out.flags.writeable:
        raise _array_error(out, (n, n_slices, nx), "out", "writable")
    _transpose(slab[..., :n_slices], out)
    return out


def _transpose(source: Array, target: Array) -> None:
    """Copy (n, rows, columns) to (n, columns, rows)."""
    if min(source.shape[1:]) < LANES or not source.strides[2] == target.strides[2] == 4:
        target[:] = source.transpose(0, 2, 1)
        return
    addresses = source.ctypes.data, target.ctypes.data
    _kernels.transpose(addresses[0], source.strides[:2], addresses[1], target.strides[:2], source.shape)


def _check_array(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Return the array, or raise UsageError if its shape, type or memory layout does not fit the kernels."""
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise _array_error(array, shape, name, "contiguous")
    return array


def _output_array(out: Array | None, shape: tuple[int, ...]) -> Array:
    """Return ``out`` after validation, or a new array if it is None."""
    if out is None:
        return aligned_empty(shape)
    if not out.flags.writeable:
        raise _array_error(out, shape, "out", "writable")
    return _check_array(out, shape, "out")


def _array_error(array: Array, shape: tuple[int, ...], name: str, quality: str) -> UsageError:
    """Return the UsageError for an array of the wrong shape, type or memory layout."""
    return UsageError(
        f"{name}: expected {quality} float32 of shape {shape}, not {array.dtype} of shape {array.shape}"
    )
