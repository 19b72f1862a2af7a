"""The projector of slabs: many neighbouring slices at once, fast on a CPU.

All slices perpendicular to the tilt axis share one geometry, so the weight of a voxel in a detector pixel is
computed once and applied to a whole row of slices, which lie innermost in memory.
"""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SlabGeometry, centre
from etcli.core.projectors import _kernels

KERNELS = ("linear",)
WIDTHS = (16, 32, 64)
"""Slices in a slab; the widest is the fastest per slice."""

Array = NDArray[np.float32]


class SlabProjector:
    """Project slabs and apply the exact transpose.

    Volumes have the shape (thickness, width, n_slices), sinograms (n_views, n_detector, n_slices); both are
    float32 and C-contiguous. One projector may serve several threads at once.

    Parameters
    ----------
    geometry : SlabGeometry
        Views and slice.
    n_slices : int
        Slices of the slab, one of ``WIDTHS``.
    kernel : {"linear"}
        Weight of a voxel in a detector pixel; see Notes.

    Notes
    -----
    A voxel of value 1 contributes its path length in voxels. With t the detector position of the voxel and
    w = 1 / max(|cos θ|, |sin θ|), its weight in the pixel i is w max(0, 1 - w |i - t|). This is Joseph's
    method [1]_: the ray is sampled once in each row of voxels, or each column where it is steep, by linear
    interpolation, with zeros outside the slice.

    References
    ----------
    .. [1] P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572.
    """

    def __init__(self, geometry: SlabGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if n_slices not in WIDTHS:
            raise UsageError(f"a slab has {', '.join(map(str, WIDTHS))} slices, not {n_slices}; see slab_width")
        if kernel != "linear":
            raise UsageError(f"no projection kernel named {kernel!r}; use 'linear'")
        self.geometry = geometry
        self.n_slices = n_slices
        self.kernel = kernel
        self.domain_shape = (geometry.thickness, geometry.width, n_slices)
        self.range_shape = (geometry.n_views, geometry.n_detector, n_slices)
        self._axis = centre(geometry.n_detector) + geometry.axis_offset_px

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
        volume = _checked(volume, self.domain_shape, "volume")
        out = aligned_empty(self.range_shape) if out is None else _checked(out, self.range_shape, "out")
        out[:] = 0
        width, cos, sin = self.geometry.width, self.geometry.cos, self.geometry.sin
        tile = aligned_empty((_kernels.LINES * _kernels.PITCH * self.n_slices,))
        project = _kernels.projection(self.n_slices)
        shallow = np.abs(cos) >= np.abs(sin)
        # steep views are shallow views of the transposed slice
        for chosen, (n_v, v_stride), (n_u, u_stride), along, across in (
            (shallow, (len(volume), width), (width, 1), cos, sin),
            (~shallow, (width, 1), (len(volume), width), sin, cos),
        ):
            views = np.flatnonzero(chosen)
            if views.size:
                project(
                    volume.reshape(-1), n_v, n_u, v_stride, u_stride,
                    views, along[views], across[views], self._axis, self.geometry.n_detector,
                    tile, out.reshape(-1),
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
        reach = np.maximum(np.abs(self.geometry.cos), np.abs(self.geometry.sin))
        return self._backproject(sinogram, reach, 1 / reach, out)

    def interpolate(
        self, sinogram: Array, *, view_weight: NDArray[np.float64] | None = None, out: Array | None = None
    ) -> Array:
        """Sum the views at the detector position of every voxel, as filtered back-projection needs it.

        Parameters
        ----------
        sinogram : ndarray of shape (n_views, n_detector, n_slices), float32
            Filtered views, interpolated linearly between pixels and zero outside the detector.
        view_weight : ndarray of shape (n_views,), optional
            Factor of every view, by default 1.
        out : ndarray of shape (thickness, width, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        ndarray of shape (thickness, width, n_slices), float32
            Weighted sum over the views. This is not the transpose of the projection.
        """
        ones = np.ones(self.geometry.n_views)
        weight = ones if view_weight is None else np.asarray(view_weight, np.float64)
        if weight.shape != ones.shape:
            raise UsageError(f"{ones.size} views need as many weights, not an array of shape {weight.shape}")
        return self._backproject(sinogram, ones, weight, out)

    def _backproject(
        self, sinogram: Array, reach: NDArray[np.float64], scale: NDArray[np.float64], out: Array | None
    ) -> Array:
        """Gather with the weights ``scale max(0, 1 - |i - t| / reach)``."""
        sinogram = _checked(sinogram, self.range_shape, "sinogram")
        out = aligned_empty(self.domain_shape) if out is None else _checked(out, self.domain_shape, "out")
        tile = aligned_empty((_kernels.TILE_Z * _kernels.TILE_X * self.n_slices,))
        pads = aligned_empty((2, _kernels.RAYS * self.n_slices))
        _kernels.backprojection(self.n_slices)(
            sinogram.reshape(-1), self.geometry.cos, self.geometry.sin, reach, scale, self._axis,
            self.geometry.n_detector, self.geometry.thickness, self.geometry.width,
            tile, pads[0], pads[1], out.reshape(-1),
        )  # fmt: skip
        return out


def slab_width(n_slices: int) -> int:
    """Return the width of the slabs to use for some slices.

    Parameters
    ----------
    n_slices : int
        Slices to be reconstructed.

    Returns
    -------
    int
        The narrowest slab that holds them all, or the widest there is.
    """
    return next((width for width in WIDTHS if width >= n_slices), WIDTHS[-1])


def to_slab(rows: Array, *, out: Array | None = None) -> Array:
    """Bring slices from the order of files to the order of slabs.

    Parameters
    ----------
    rows : ndarray of shape (n, n_slices, nx), float32
        Views or sections, for example ``series[:, y0:y1]``; at most as many slices as the widest slab.
    out : ndarray of shape (n, nx, width), float32, optional
        Overwritten and returned; by default the narrowest slab that holds the slices.

    Returns
    -------
    ndarray of shape (n, nx, width), float32
        The slices innermost, and zeros after the last of them.
    """
    n, n_slices, nx = rows.shape
    width = slab_width(n_slices) if out is None else out.shape[-1]
    if n_slices > width:
        raise UsageError(f"{n_slices} slices do not fit into a slab of {width}")
    out = aligned_empty((n, nx, width)) if out is None else _checked(out, (n, nx, width), "out")
    _kernels.slices_innermost(rows, out)
    return out


def from_slab(slab: Array, n_slices: int, *, out: Array | None = None) -> Array:
    """Bring slices from the order of slabs to the order of files.

    Parameters
    ----------
    slab : ndarray of shape (n, nx, width), float32
        The slices innermost.
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
    elif out.shape != (n, n_slices, nx) or out.dtype != np.float32:
        raise UsageError(f"out: expected float32 of shape {(n, n_slices, nx)}, not {out.dtype} of {out.shape}")
    _kernels.slices_outward(slab, out)
    return out


def aligned_empty(shape: tuple[int, ...]) -> Array:
    """Return an uninitialised array that starts on a cache line, so that no row of a slab straddles two.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.

    Returns
    -------
    ndarray of shape `shape`, float32
        C-contiguous, at an address that is a multiple of 64 bytes.
    """
    size = int(np.prod(shape))
    raw = np.empty(size + 16, np.float32)
    start = -raw.ctypes.data // 4 % 16
    return raw[start : start + size].reshape(shape)


def _checked(array: Array, shape: tuple[int, ...], name: str) -> Array:
    """Refuse an array that the kernels would misread."""
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise UsageError(
            f"{name}: expected contiguous float32 of shape {shape}, not {array.dtype} of shape {array.shape}"
        )
    return array
