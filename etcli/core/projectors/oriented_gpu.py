"""Oriented projector for the GPU: the same sums as `etcli.core.projectors.oriented`."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.gpu import GPU, blocks, checked, fixed_point, run
from etcli.core.projectors.oriented import OrientedProjector, Three, crossings

SOURCE = Path(__file__).with_name("oriented.cu")
BLOCK = (32, 8)
"""Threads in a block: neighbours along x or u, and along y or v."""

Array = Any


class GpuOrientedProjector(OrientedProjector):
    """Projector of volumes along any directions, on arrays of the GPU, with its exact transpose.

    Parameters
    ----------
    rotation, shape, detector_shape, centre_px
        As for `etcli.core.projectors.oriented.OrientedProjector`; the results agree within float rounding.
    threads : int
        Ignored: one thread of the host is enough.

    Notes
    -----
    Each thread computes its own results, in both directions. So no two threads add to the same number, and
    every run gives the same bits.
    """

    device: Any = GPU

    def __init__(
        self,
        rotation: ArrayLike,
        shape: tuple[int, ...],
        detector_shape: tuple[int, ...] | None = None,
        *,
        centre_px: ArrayLike | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(rotation, shape, detector_shape, centre_px=centre_px, threads=1)

    def forward(self, volume: Array, *, out: Array | None = None) -> Array:
        """Project a volume; arguments and result are those of `OrientedProjector.forward`."""
        volume = checked(volume, self.domain_shape, "volume")
        out = GPU.empty(self.range_shape) if out is None else checked(out, self.range_shape, "out")
        _, n_v, n_u = self.range_shape
        for tables in self._tables:
            grid = (blocks(n_u, BLOCK[0]), blocks(n_v, BLOCK[1]), tables.n_views)
            run(
                SOURCE, "project_planes", grid, BLOCK, volume, *tables.shape, *tables.pitches, tables.views,
                tables.frames, tables.scales, out, n_v, n_u,
            )  # fmt: skip
        return out

    def adjoint(self, sinogram: Array, *, out: Array | None = None) -> Array:
        """Apply the transpose; arguments and result are those of `OrientedProjector.adjoint`."""
        sinogram = checked(sinogram, self.range_shape, "sinogram")
        out = GPU.empty(self.domain_shape) if out is None else checked(out, self.domain_shape, "out")
        out[...] = 0
        nz, ny, nx = self.domain_shape
        grid = (blocks(nx, BLOCK[0]), blocks(ny, BLOCK[1]), nz)
        for tables in self._tables:
            run(
                SOURCE, "backproject_planes", grid, BLOCK, sinogram, *self.range_shape[1:], tables.views,
                tables.n_views, tables.frames, tables.inverse, tables.scales, out, nz, ny, nx, *tables.roles,
            )  # fmt: skip
        return out

    @cached_property
    def _tables(self) -> list["_Tables"]:
        """Tables for the kernels, one set for each group of views with the same nearest axis."""
        return [self._tables_of(views, roles) for views, roles in self._views_and_roles]

    def _tables_of(self, views: NDArray[np.intp], roles: Three) -> "_Tables":
        """Return the tables of a group of views, for which the axes have the same roles."""
        matrices, centres = self._rotation[views], self._centre_px[views]
        frames = crossings(matrices, centres, roles, self.domain_shape, self.range_shape)
        sizes = self.domain_shape[::-1]
        pitches = (1, sizes[0], sizes[0] * sizes[1])
        scales = 1 / abs(matrices[:, 2, roles[0]])
        inverse = np.linalg.inv(frames[:, :, :2])
        return _Tables(
            roles,
            tuple(sizes[axis] for axis in roles),
            tuple(pitches[axis] for axis in roles),
            len(views),
            GPU.put(views.astype(np.int32)),
            fixed_point(frames),
            GPU.put(inverse.astype(np.float32)),
            GPU.put(scales.astype(np.float32)),
        )


class _Tables(NamedTuple):
    """Arguments of the kernels for the views whose beam is nearest to the same axis."""

    roles: Three
    shape: tuple[int, ...]
    pitches: tuple[int, ...]
    n_views: int
    views: Array
    frames: Array
    inverse: Array
    scales: Array
