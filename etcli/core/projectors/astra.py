"""ASTRA's CPU projectors and solvers in this suite's layout: a cross-check and a second backend.

The only module that imports astra, and only when something is computed.
"""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SlabGeometry, centre
from etcli.core.projectors.slab import HOST

KERNELS = ("linear", "strip")
"""Joseph's projector and the area-weighted one."""

Array = NDArray[np.float32]


def astra_available() -> bool:
    """Tell whether the ASTRA toolbox is installed.

    Returns
    -------
    bool
        True where the other functions of this module can be expected to work.
    """
    return find_spec("astra") is not None


class AstraProjector:
    """Project slabs slice by slice with ASTRA's CPU code.

    Volumes have the shape (thickness, width, n_slices), sinograms (n_views, n_detector, n_slices), as for
    `etcli.core.projectors.slab.SlabProjector`; here any number of slices will do.

    Parameters
    ----------
    geometry : SlabGeometry
        Views and slice.
    n_slices : int
        Slices of the slab.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    References
    ----------
    W. van Aarle et al., Ultramicroscopy 157 (2015) 35, doi:10.1016/j.ultramic.2015.05.002.
    """

    device = HOST

    def __init__(self, geometry: SlabGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if kernel not in KERNELS:
            raise UsageError(f"no projection kernel named {kernel!r}; use one of {', '.join(KERNELS)}")
        self.geometry = geometry
        self.n_slices = n_slices
        self.kernel = kernel
        self.domain_shape = (geometry.thickness, geometry.width, n_slices)
        self.range_shape = (geometry.n_views, geometry.n_detector, n_slices)

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
        out = np.empty(self.range_shape, np.float32) if out is None else out
        for k in range(self.n_slices):
            out[..., k] = _run("FP", volume[..., k], self.geometry, self.kernel)
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
        out = np.empty(self.domain_shape, np.float32) if out is None else out
        for k in range(self.n_slices):
            out[..., k] = _run("BP", sinogram[..., k], self.geometry, self.kernel)
        return out


def astra_sirt(sinogram: Array, geometry: SlabGeometry, *, iterations: int, kernel: str = "linear") -> Array:
    """Reconstruct one slice with ASTRA's own SIRT.

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector), float32
        The same row of all views.
    geometry : SlabGeometry
        Views and slice.
    iterations : int
        Sweeps over all views, from zero.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    Returns
    -------
    ndarray of shape (thickness, width), float32
        Density per voxel.
    """
    return _run("SIRT", sinogram, geometry, kernel, iterations=iterations)


def astra_fbp(sinogram: Array, geometry: SlabGeometry, *, kernel: str = "linear") -> Array:
    """Reconstruct one slice with ASTRA's own filtered back-projection (Ram-Lak filter).

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector), float32
        The same row of all views.
    geometry : SlabGeometry
        Views and slice, without an axis offset.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    Returns
    -------
    ndarray of shape (thickness, width), float32
        Density per voxel.
    """
    return _run("FBP", sinogram, geometry, kernel)


def _run(algorithm: str, data: Array, geometry: SlabGeometry, kernel: str, *, iterations: int = 1) -> Array:
    """Project one slice ("FP") or make one from its projections (any other algorithm).

    ASTRA's slices begin with the row of the highest coordinate, ours with the lowest. What it allocates lives
    until it is told otherwise.
    """
    import astra

    slice_geometry = astra.create_vol_geom(geometry.thickness, geometry.width)
    views = _views(geometry)
    forward = algorithm == "FP"
    delete = []
    try:
        projector = astra.create_projector(kernel, views, slice_geometry)
        delete.append((astra.projector, projector))
        volume = astra.data2d.create(
            "-vol", slice_geometry, np.ascontiguousarray(data[::-1]) if forward else 0
        )
        delete.append((astra.data2d, volume))
        sinogram = astra.data2d.create("-sino", views, 0 if forward else np.ascontiguousarray(data))
        delete.append((astra.data2d, sinogram))
        settings = astra.astra_dict(algorithm)
        settings["ProjectorId"] = projector
        settings["ProjectionDataId"] = sinogram
        settings["VolumeDataId" if forward else "ReconstructionDataId"] = volume
        task = astra.algorithm.create(settings)
        delete.append((astra.algorithm, task))
        astra.algorithm.run(task, iterations)
        result: Array = astra.data2d.get(sinogram) if forward else astra.data2d.get(volume)[::-1]
        return result
    finally:
        for kind, identifier in reversed(delete):
            kind.delete(identifier)


def _views(geometry: SlabGeometry) -> dict[str, object]:
    """Return the projection geometry as ASTRA describes it."""
    import astra

    shift = centre(geometry.n_detector) - geometry.centre_px
    if not shift.any():
        views: dict[str, object] = astra.create_proj_geom(
            "parallel", 1.0, geometry.n_detector, np.deg2rad(geometry.tilt_deg)
        )
        return views
    cos, sin = geometry.cos, geometry.sin
    # a view: direction of the ray, centre of the detector, step from pixel to pixel
    vectors = np.stack([sin, -cos, shift * cos, shift * sin, cos, sin], axis=1)
    views = astra.create_proj_geom("parallel_vec", geometry.n_detector, vectors)
    return views
