"""Slab projector for the GPU: the weights of `etcli.core.projectors.slab`, applied by kernels in CUDA C."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.gpu import GPU, blocks, checked, fixed_point, run
from etcli.core.projectors._footprints import area_parameters, hat_parameters
from etcli.core.projectors.slab import SlabProjectorBase

SOURCE = Path(__file__).with_name("slab.cu")
RUN = 8
"""Neighbouring rays or voxels per thread; the kernels define the same number."""
FOUR = 4
"""Slices per thread."""
RAYS_BLOCK, VOXELS_BLOCK = (8, 8, 4), (8, 4, 8)
"""Largest number of threads in a block: fours of slices, runs of rays or voxels, and views or sections. So 64
neighbouring rays of four neighbouring views share their voxels, and 32 x 8 voxels share their pixels."""

Array = Any
Doubles = NDArray[np.float64]


class GpuSlabProjector(SlabProjectorBase):
    """Slab projector on arrays of the GPU, with its exact transpose.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_slices : int
        Slices of the slab, a multiple of 4; the more, the better the GPU is used.
    kernel : {"linear", "strip"}
        As for `etcli.core.projectors.slab.SlabProjector`; the results agree within float rounding.

    Raises
    ------
    UsageError
        If there is no such kernel or width.

    Notes
    -----
    Each thread computes its own results, in both directions. So no two threads add to the same number, and
    every run gives the same bits.
    """

    device = GPU

    def __init__(self, geometry: SliceGeometry, *, n_slices: int, kernel: str = "linear") -> None:
        if n_slices < FOUR or n_slices % FOUR:
            raise UsageError(f"a slab on a GPU has a multiple of {FOUR} slices, not {n_slices}")
        super().__init__(geometry, n_slices=n_slices, kernel=kernel)

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project a slab.

        Parameters
        ----------
        volume : array of shape (thickness, width, n_slices), float32
            Density per voxel.
        out : array of shape (n_views, n_detector, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        array of shape (n_views, n_detector, n_slices), float32
            Line integrals, in voxels.
        """
        volume = checked(volume, self.domain_shape, "volume")
        out = self._output_array(out, self.range_shape)
        _, n_detector, n = self.range_shape
        for name, lines, pitches, tables in self._projections:
            grid, block = _grid_and_block(RAYS_BLOCK, n, n_detector, tables[0].size)
            views, places, shapes = tables
            run(
                SOURCE, name, grid, block, volume, *lines, *pitches, views, views.size, places, shapes, out,
                n_detector, n // FOUR,
            )  # fmt: skip
        return out

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Apply the transpose of the projection.

        Parameters
        ----------
        sinogram : array of shape (n_views, n_detector, n_slices), float32
            Views.
        out : array of shape (thickness, width, n_slices), float32, optional
            Overwritten and returned.

        Returns
        -------
        array of shape (thickness, width, n_slices), float32
            Every voxel is the sum of the pixels it contributes to, with the same weights.
        """
        return self._gather(sinogram, *self._backprojection, out, (0, self.geometry.thickness))

    def correct(
        self, sinogram: Array, volume: Array, gain: Array, inside: Array, lower: float, upper: float
    ) -> None:
        """Add a back-projection, times a gain, to a volume within bounds, in one pass over both.

        Parameters
        ----------
        sinogram : array of shape (n_views, n_detector, n_slices), float32
            y.
        volume : array of shape (thickness, width, n_slices), float32
            x, becomes x + gain Aᵀ y within the bounds.
        gain : array of shape (thickness, width, 1), float32
            Factor of the back-projection in each voxel.
        inside : array of shape (thickness, width, 1), bool
            Voxels that may change.
        lower, upper : float
            Bounds.
        """
        sinogram = checked(sinogram, self.range_shape, "sinogram")
        volume = checked(volume, self.domain_shape, "volume")
        gain = checked(gain, (*self.domain_shape[:2], 1), "gain")
        assert inside.shape == gain.shape
        name, tables = self._backprojection
        thickness, width, n = self.domain_shape
        grid, block = _grid_and_block(VOXELS_BLOCK, n, width, thickness)
        run(
            SOURCE, name.replace("backproject", "correct"), grid, block, sinogram, *self.range_shape[:2],
            *tables, volume, thickness, width, n // FOUR, gain, inside, lower, upper,
        )  # fmt: skip

    def interpolate(
        self,
        sinogram: Array,
        *,
        view_weight: Doubles | None = None,
        sections: tuple[int, int] | None = None,
        out: Array | None = None,
    ) -> Array:
        """Sum the views at the detector position of every voxel, as needed for filtered back-projection.

        Parameters and result are those of `etcli.core.projectors.slab.SlabProjector.interpolate`.
        """
        ones = np.ones(self.geometry.n_views)
        weight = ones if view_weight is None else np.asarray(view_weight, np.float64)
        if weight.shape != ones.shape:
            raise UsageError(f"{ones.size} views need as many weights, not an array of shape {weight.shape}")
        tables = self._pixel_tables(hat_parameters(ones, weight))
        return self._gather(
            sinogram, "backproject_hat", tables, out, sections or (0, self.geometry.thickness)
        )

    def _gather(
        self,
        sinogram: Array,
        name: str,
        tables: tuple[Array, ...],
        out: Array | None,
        sections: tuple[int, int],
    ) -> Array:
        """Sum, for every voxel, the weighted pixels that its footprint covers."""
        sinogram = checked(sinogram, self.range_shape, "sinogram")
        thickness, width, n = self.domain_shape
        z0, z1 = sections
        if not 0 <= z0 < z1 <= thickness:
            raise UsageError(f"there are no sections {z0} to {z1} in a slab of {thickness}")
        out = self._output_array(out, (z1 - z0, width, n))
        grid, block = _grid_and_block(VOXELS_BLOCK, n, width, z1 - z0)
        run(
            SOURCE, name, grid, block, sinogram, *self.range_shape[:2], *tables, out, z0, z1 - z0, width,
            n // FOUR,
        )  # fmt: skip
        return out

    @cached_property
    def _projections(self) -> list[tuple[str, tuple[int, int], tuple[int, int], tuple[Array, ...]]]:
        """Kernels for shallow and for steep views; steep views are shallow views of the transposed slice.

        Each is the name of a kernel with the numbers of lines and of voxels per line, the pitches from line
        to line and from voxel to voxel, and the tables of its rays.
        """
        (thickness, width, _), cos, sin = self.domain_shape, self.geometry.cos, self.geometry.sin
        steep = np.abs(cos) < np.abs(sin)
        return [
            (f"project_{'hat' if self.kernel == 'linear' else 'area'}", lines, pitches, tables)
            for selected, lines, pitches, along, across in (
                (~steep, (thickness, width), (width, 1), cos, sin),
                (steep, (width, thickness), (1, width), sin, cos),
            )
            if (tables := self._ray_tables(np.flatnonzero(selected), lines, along, across))
        ]

    def _ray_tables(
        self, views: NDArray[np.intp], lines: tuple[int, int], along: Doubles, across: Doubles
    ) -> tuple[Array, ...]:
        """Return the views in order of tilt, the positions where their rays cross lines, and footprints."""
        if not views.size:
            return ()
        views = views[np.argsort(across[views] / along[views], kind="stable")]
        along, across = along[views], across[views]
        if self.kernel == "linear":
            parameters = hat_parameters(np.ones(views.size), 1 / np.abs(along))
        else:
            parameters = area_parameters(along, across, np.abs(along))
        step = 1 / along
        shear = -across * step
        n_lines, n_u = lines
        start = centre(n_u) - self.geometry.centre_px[views] * step - centre(n_lines) * shear
        places = np.stack([start + parameters[:, 0], step, shear], axis=1)
        return GPU.put(views.astype(np.int32)), fixed_point(places), GPU.put(parameters.astype(np.float32))

    @cached_property
    def _backprojection(self) -> tuple[str, tuple[Array, ...]]:
        """Name of the kernel of the transpose, and its tables."""
        cos, sin = self.geometry.cos, self.geometry.sin
        if self.kernel == "strip":
            return "backproject_shares", self._pixel_tables(area_parameters(cos, sin, np.ones_like(cos)))
        reach = np.maximum(np.abs(cos), np.abs(sin))
        return "backproject_hat", self._pixel_tables(hat_parameters(reach, 1 / reach))

    def _pixel_tables(self, parameters: Doubles) -> tuple[Array, ...]:
        """Return the positions of voxels on the detector in each view, and their footprints."""
        thickness, width, _ = self.domain_shape
        cos, sin = self.geometry.cos, self.geometry.sin
        start = self.geometry.centre_px - centre(width) * cos - centre(thickness) * sin
        places = np.stack([start + parameters[:, 0], cos, sin], axis=1)
        return fixed_point(places), GPU.put(parameters.astype(np.float32))

    def _output_array(self, out: Array | None, shape: tuple[int, ...]) -> Array:
        """Return ``out`` after validation, or a new array if it is None."""
        return GPU.empty(shape) if out is None else checked(out, shape, "out")


def _grid_and_block(largest: tuple[int, int, int], n_slices: int, n: int, n_other: int) -> tuple[Any, Any]:
    """Return grid and block for runs along an axis of length n and single steps along one of n_other."""
    fours, runs = n_slices // FOUR, blocks(n, RUN)
    block = (min(largest[0], fours), min(largest[1], runs), min(largest[2], n_other))
    return (blocks(runs, block[1]), blocks(n_other, block[2]), blocks(fours, block[0])), block
