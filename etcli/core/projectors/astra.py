"""ASTRA's projectors and solvers in the array layout of etcli: a cross-check and a second backend.

This is the only module that imports astra, and it does so only when something is computed.
"""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.projectors.slab import HOST, SlabProjectorBase

Array = NDArray[np.float32]


def astra_available() -> bool:
    """Check whether the ASTRA toolbox is installed.

    Returns
    -------
    bool
        True if the other functions of this module can be expected to work.
    """
    return find_spec("astra") is not None


def cuda_usable() -> bool:
    """Check whether ASTRA was built for CUDA and finds a GPU."""
    import astra

    return bool(astra.use_cuda())


class AstraProjector(SlabProjectorBase):
    """Slab projector that calls ASTRA's CPU code slice by slice.

    Volumes have the shape (thickness, width, n_slices), sinograms (n_views, n_detector, n_slices), as for
    `etcli.core.projectors.slab.SlabProjector`; here any number of slices is allowed.

    Parameters
    ----------
    geometry : SliceGeometry
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


class AstraCudaProjector(SlabProjectorBase):
    """Slab projector that calls ASTRA's 3D code on a GPU; arrays stay on the host.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_slices : int
        Slices of the slab.
    kernel : {"linear"}
        Rays are sampled by linear interpolation in every row or column of voxels. The back-projection
        interpolates between pixels instead, so it is not exactly the transpose.

    References
    ----------
    W. J. Palenstijn et al., J. Struct. Biol. 176, 250 (2011), doi:10.1016/j.jsb.2011.07.017.
    """

    device = HOST

    def __init__(self, geometry: SliceGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if kernel != "linear":
            raise UsageError(f"ASTRA has no kernel {kernel!r} on a GPU; use linear")
        super().__init__(geometry, n_slices=n_slices, kernel=kernel)

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project the volume; ``out`` is overwritten and returned."""
        return self._run("FP3D_CUDA", volume, np.empty(self.range_shape, np.float32) if out is None else out)

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Back-project; ``out`` is overwritten and returned."""
        return self._run(
            "BP3D_CUDA", sinogram, np.empty(self.domain_shape, np.float32) if out is None else out
        )

    def _run(self, algorithm: str, source: Array, out: Array) -> Array:
        """Project or back-project into an array.

        In ASTRA slices are outermost, and in three dimensions the row index increases with the coordinate.
        """
        import astra

        forward = algorithm == "FP3D_CUDA"
        source_slices = np.ascontiguousarray(np.moveaxis(source, 2, 0))
        result_slices = np.zeros((self.n_slices, *out.shape[:2]), np.float32)
        volume, sinogram = (source_slices, result_slices) if forward else (result_slices, source_slices)
        volume_geometry = astra.create_vol_geom(self.geometry.thickness, self.geometry.width, self.n_slices)
        allocated = []
        try:
            settings = astra.astra_dict(algorithm)
            for name, kind, geometry, array in (
                ("VolumeDataId" if forward else "ReconstructionDataId", "-vol", volume_geometry, volume),
                ("ProjectionDataId", "-sino", _views_3d(self.geometry, self.n_slices), sinogram),
            ):
                settings[name] = astra.data3d.link(kind, geometry, array)
                allocated.append((astra.data3d, settings[name]))
            task = astra.algorithm.create(settings)
            allocated.append((astra.algorithm, task))
            astra.algorithm.run(task)
        finally:
            for kind, identifier in reversed(allocated):
                kind.delete(identifier)
        out[...] = np.moveaxis(result_slices, 0, 2)
        return out


def astra_sirt(sinogram: Array, geometry: SliceGeometry, *, iterations: int, kernel: str = "linear") -> Array:
    """Reconstruct one slice with ASTRA's own SIRT.

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector), float32
        The same row of all views.
    geometry : SliceGeometry
        Views and slice.
    iterations : int
        Sweeps over all views, starting from a slice of zeros.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    Returns
    -------
    ndarray of shape (thickness, width), float32
        Density per voxel.
    """
    return _run("SIRT", sinogram, geometry, kernel, iterations=iterations)


def astra_sirt_3d_seconds(geometry: SliceGeometry, n_slices: int, iterations: int) -> float:
    """Measure the time of ASTRA's own SIRT of a whole volume on a GPU, including the data transfers.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_slices : int
        Slices of the volume.
    iterations : int
        Sweeps over all views.

    Returns
    -------
    float
        Seconds.
    """
    import time

    import astra

    volume_geometry = astra.create_vol_geom(geometry.thickness, geometry.width, n_slices)
    allocated = []
    try:
        settings = astra.astra_dict("SIRT3D_CUDA")
        for name, kind, shape, value in (
            ("ReconstructionDataId", "-vol", volume_geometry, 0),
            ("ProjectionDataId", "-sino", _views_3d(geometry, n_slices), 1),
        ):
            settings[name] = astra.data3d.create(kind, shape, value)
            allocated.append((astra.data3d, settings[name]))
        task = astra.algorithm.create(settings)
        allocated.append((astra.algorithm, task))
        start = time.perf_counter()
        astra.algorithm.run(task, iterations)
        return time.perf_counter() - start
    finally:
        for kind, identifier in reversed(allocated):
            kind.delete(identifier)


def astra_fbp(sinogram: Array, geometry: SliceGeometry, *, kernel: str = "linear") -> Array:
    """Reconstruct one slice with ASTRA's own filtered back-projection (Ram-Lak filter).

    Parameters
    ----------
    sinogram : ndarray of shape (n_views, n_detector), float32
        The same row of all views.
    geometry : SliceGeometry
        Views and slice, without an axis offset.
    kernel : {"linear", "strip"}
        Weight of a voxel in a detector pixel.

    Returns
    -------
    ndarray of shape (thickness, width), float32
        Density per voxel.
    """
    return _run("FBP", sinogram, geometry, kernel)


def _run(algorithm: str, data: Array, geometry: SliceGeometry, kernel: str, *, iterations: int = 1) -> Array:
    """Project one slice ("FP") or reconstruct one from its projections (any other algorithm).

    ASTRA's slices start with the row of the highest coordinate, ours with that of the lowest. What ASTRA
    allocates must be deleted explicitly.
    """
    import astra

    slice_geometry = astra.create_vol_geom(geometry.thickness, geometry.width)
    views = _views(geometry)
    forward = algorithm == "FP"
    allocated = []
    try:
        projector = astra.create_projector(kernel, views, slice_geometry)
        allocated.append((astra.projector, projector))
        volume = astra.data2d.create(
            "-vol", slice_geometry, np.ascontiguousarray(data[::-1]) if forward else 0
        )
        allocated.append((astra.data2d, volume))
        sinogram = astra.data2d.create("-sino", views, 0 if forward else np.ascontiguousarray(data))
        allocated.append((astra.data2d, sinogram))
        settings = astra.astra_dict(algorithm)
        settings["ProjectorId"] = projector
        settings["ProjectionDataId"] = sinogram
        settings["VolumeDataId" if forward else "ReconstructionDataId"] = volume
        task = astra.algorithm.create(settings)
        allocated.append((astra.algorithm, task))
        astra.algorithm.run(task, iterations)
        result: Array = astra.data2d.get(sinogram) if forward else astra.data2d.get(volume)[::-1]
        return result
    finally:
        for kind, identifier in reversed(allocated):
            kind.delete(identifier)


def _views(geometry: SliceGeometry) -> dict[str, object]:
    """Return the projection geometry of a slice in ASTRA's form."""
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


def _views_3d(geometry: SliceGeometry, n_slices: int) -> dict[str, object]:
    """Return the projection geometry of a slab in ASTRA's form; the slices are the rows of its detector."""
    import astra

    shift = centre(geometry.n_detector) - geometry.centre_px
    cos, sin, zero = geometry.cos, geometry.sin, np.zeros(geometry.n_views)
    # a view: direction of the ray, centre of the detector, steps from pixel to pixel and from row to row
    vectors = np.stack(
        [sin, -cos, zero, shift * cos, shift * sin, zero, cos, sin, zero, zero, zero, zero + 1], axis=1
    )
    views: dict[str, object] = astra.create_proj_geom(
        "parallel3d_vec", n_slices, geometry.n_detector, vectors
    )
    return views
