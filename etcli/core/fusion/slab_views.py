"""Projection of a whole volume, slab by slab, for solvers that also couple neighbouring slices."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.fusion._blur import blurred
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import COST, WIDTHS, SlabProjector, aligned_empty, from_slab, to_slab
from etcli.core.solvers.spectral_norm import squared_norm

Array = NDArray[np.float32]

LINEAR = 1 / 12
"""Linear interpolation at a fraction f of a pixel spreads it by f(1 − f) px², in the mean of all f by 1/6."""
POWER_STEPS = 12
PRIOR_COST = 1.3 / WIDTHS[-1]
"""Time of the other steps of an iteration for a slice, relative to the projections of the widest slab."""


@dataclass(frozen=True, eq=False)
class SlabViews:
    """Geometry of a single-axis series, with its projector for slabs.

    Views are kept as (slab, view, x, slice), volumes as (z, x, y) with y rounded up to whole slabs.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    n_rows : int
        Rows of the views, which are the slices of the volume.
    width : int
        Slices of a slab, one of `etcli.core.projectors.slab.WIDTHS`.
    blur : float
        Share of a voxel that the views show at each of its neighbours along z, x and y: `LINEAR` for views
        that were interpolated linearly.
    """

    geometry: SliceGeometry
    n_rows: int
    width: int
    blur: float = 0.0

    @cached_property
    def projector(self) -> SlabProjector:
        """Projector of a slab, A."""
        return SlabProjector(self.geometry, n_slices=self.width)

    @cached_property
    def norm(self) -> float:
        """Norm of A, the square root of the largest eigenvalue of AᵀA."""
        # all slices have the same geometry, so the narrowest slab will do
        return sqrt(squared_norm(SlabProjector(self.geometry, n_slices=WIDTHS[0]), steps=POWER_STEPS))

    @property
    def n_slabs(self) -> int:
        """Number of slabs."""
        return ceil(self.n_rows / self.width)

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """Shape (z, x, y) of volumes, y rounded up."""
        return self.geometry.thickness, self.geometry.width, self.n_slabs * self.width

    @property
    def views_shape(self) -> tuple[int, int, int, int]:
        """Shape (slab, view, x, slice) of views."""
        return self.n_slabs, self.geometry.n_views, self.geometry.n_detector, self.width

    def slabs(self, views: Array) -> Array:
        """Copy views (view, y, x) to slabs, followed by slices of zeros."""
        expected = self.geometry.n_views, self.n_rows, self.geometry.n_detector
        if np.shape(views) != expected:
            raise UsageError(f"views of shape {np.shape(views)}; {expected} is needed (views, rows, columns)")
        out = aligned_empty(self.views_shape)
        for k in range(self.n_slabs):
            rows = views[:, k * self.width : (k + 1) * self.width]
            to_slab(np.ascontiguousarray(rows, np.float32), out=out[k])
        return out

    def rows(self, slabs: Array) -> Array:
        """Copy slabs to views (view, y, x); the opposite of `slabs`."""
        out = np.empty((self.geometry.n_views, self.n_rows, self.geometry.n_detector), np.float32)
        for k in range(self.n_slabs):
            rows = out[:, k * self.width : (k + 1) * self.width]
            from_slab(slabs[k], rows.shape[1], out=rows)
        return out

    def inner_volume(self, volume: Array) -> Array:
        """Copy a volume (z, y, x) to (z, x, y), followed by slices of zeros."""
        nz, nx, ny = self.volume_shape
        if np.shape(volume) != (nz, self.n_rows, nx):
            raise UsageError(
                f"volume of shape {np.shape(volume)}; it must be {(nz, self.n_rows, nx)} (z, y, x)"
            )
        out = aligned_empty((nz, nx, ny))
        out[..., : self.n_rows] = np.asarray(volume, np.float32).transpose(0, 2, 1)
        out[..., self.n_rows :] = 0
        return out

    def outer_volume(self, volume: Array, *, out: Array | None = None) -> Array:
        """Copy a volume (z, x, y) to (z, y, x), without the slices of zeros."""
        nz, nx, _ = self.volume_shape
        out = np.empty((nz, self.n_rows, nx), np.float32) if out is None else out
        out[...] = volume[..., : self.n_rows].transpose(0, 2, 1)
        return out

    def seen(self, volume: Array, out: Array | None = None) -> Array:
        """Return a volume (z, x, y) as the views show it, blurred; the volume itself where they are sharp.

        The operation is its own transpose. ``out`` must be another array.
        """
        if not self.blur:
            return volume
        out = aligned_empty(volume.shape) if out is None else out
        blurred(volume, np.float32(self.blur), self.n_rows, out)
        return out

    def slab_of(self, volume: Array, k: int, out: Array | None = None) -> Array:
        """Return slab k of a volume (z, x, y): the volume itself where there is one slab, else a copy."""
        if self.n_slabs == 1:
            return volume
        out = aligned_empty(self.projector.domain_shape) if out is None else out
        out[...] = volume[..., k * self.width : (k + 1) * self.width]
        return out

    def project(self, volume: Array) -> Array:
        """Project a volume.

        Parameters
        ----------
        volume : ndarray of shape (z, y, x), float32
            Density per voxel.

        Returns
        -------
        ndarray of shape (view, y, x), float32
            Line integrals, in voxels.
        """
        inner, out = self.seen(self.inner_volume(volume)), aligned_empty(self.views_shape)
        for k in range(self.n_slabs):
            self.projector.forward(self.slab_of(inner, k), out=out[k])
        return self.rows(out)

    def back_project(self, views: Array) -> Array:
        """Apply the transpose of the projection.

        Parameters
        ----------
        views : ndarray of shape (view, y, x), float32

        Returns
        -------
        ndarray of shape (z, y, x), float32
        """
        slabs, out = self.slabs(views), aligned_empty(self.volume_shape)
        for k in range(self.n_slabs):
            out[..., k * self.width : (k + 1) * self.width] = self.projector.adjoint(slabs[k])
        return self.outer_volume(self.seen(out))


def slab_width(n_rows: int, n_series: int, threads: int) -> int:
    """Choose the width of slabs with which all threads are done first.

    Parameters
    ----------
    n_rows : int
        Slices of the volume.
    n_series : int
        Number of series that are projected at the same time.
    threads : int

    Returns
    -------
    int
        One of `etcli.core.projectors.slab.WIDTHS`.
    """

    def time(width: int) -> float:
        n_slabs = n_series * ceil(n_rows / width)
        return COST[width] * ceil(n_slabs / threads) + PRIOR_COST * n_slabs * width / threads

    return min(reversed(WIDTHS), key=time)
