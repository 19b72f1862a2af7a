"""Least-squares misfits of a volume to the views, with their gradients, for proximal gradient methods."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Projector
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import HOST, WIDTHS, SlabProjector, slab_width
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.solvers.steps import norm, square

Array = NDArray[np.float32]

POWER_STEPS = 12


class Misfit(Protocol):
    """Misfit ``½ ‖A x - y‖²`` of a volume x to the views y: the interface that `fista` requires."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the volume."""

    @property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""

    @property
    def size(self) -> float:
        """Norm of the views, ‖y‖."""

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""

    @property
    def threads(self) -> int:
        """Number of threads to use."""

    def of_views(self, views: NDArray[np.intp]) -> "Misfit":
        """Return the misfit of a subset of the views, counted from 0."""

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖."""

    def descend(self, volume: Array, step: float) -> float:
        """Replace x by ``x - step Aᵀ(A x - y)``; return ‖A x - y‖."""


@dataclass(frozen=True, eq=False)
class SlabMisfit:
    """Misfit ``½ ‖A x - y‖²`` of a single-axis series, computed slab by slab.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    slabs : list of ndarray of shape (n_views, n_detector, n_slices), float32
        Line integrals in voxels, in the order of the rows; the last slab may end with slices of zeros.
    n_rows : int
        Number of slices of all slabs, without those zeros.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    threads : int
        Number of slabs processed at the same time.
    """

    geometry: SliceGeometry
    slabs: list[Array]
    n_rows: int
    make_projector: Callable[..., Projector]
    threads: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the volume: thickness, width, rows."""
        return self.geometry.thickness, self.geometry.width, self.n_rows

    @cached_property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""
        # all slices have the same geometry, so the narrowest slab will do
        return squared_norm(self.make_projector(self.geometry, n_slices=WIDTHS[0]), steps=POWER_STEPS)

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""
        return self.geometry.tilt_deg

    def of_views(self, views: NDArray[np.intp]) -> "SlabMisfit":
        """Return the misfit of a subset of the views, counted from 0."""
        slabs = [slab[views] for slab in self.slabs]
        return replace(self, geometry=self.geometry.of_views(views), slabs=slabs)

    @property
    def size(self) -> float:
        """Norm of the views, ‖y‖."""
        return sqrt(sum(map(square, self.slabs)))

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            x; the last axis may be longer.
        """
        return self._norm(lambda k: self._misfit(volume, k)[1])

    def descend(self, volume: Array, step: float) -> float:
        """Replace x by ``x - step Aᵀ(A x - y)``; return ‖A x - y‖.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            Overwritten.
        step : float
            Length of the step.
        """

        def descend_slab(k: int) -> Array:
            projector, residual = self._misfit(volume, k)
            rows = self._rows(k)
            correction = projector.adjoint(residual)
            correction *= np.float32(-step)
            volume[..., rows] += correction[..., : rows.stop - rows.start]
            return residual

        return self._norm(descend_slab)

    def _rows(self, k: int) -> slice:
        """Return the rows of a slab."""
        width = self.slabs[0].shape[-1]
        return slice(k * width, min((k + 1) * width, self.n_rows))

    def _misfit(self, volume: Array, k: int) -> tuple[Projector, Array]:
        """Return a slab's projector and its part of A x - y."""
        slab, rows = self.slabs[k], self._rows(k)
        projector = self.make_projector(self.geometry, n_slices=slab.shape[-1])
        part = projector.device.empty(projector.domain_shape)
        part[..., rows.stop - rows.start :] = 0
        part[..., : rows.stop - rows.start] = volume[..., rows]
        residual = projector.forward(part)
        residual -= slab
        return projector, residual

    def _norm(self, slab_residual: Callable[[int], Array]) -> float:
        """Return the norm of all residuals; `slab_residual` computes that of slab k."""

        def squared(k: int) -> float:
            return square(slab_residual(k))

        squares = ordered_map(squared, range(len(self.slabs)), threads=self.threads)
        return sqrt(sum(squares))


@dataclass(frozen=True, eq=False)
class OrientedMisfit:
    """Misfit ``½ ‖A x - y‖²`` of views of any orientation, computed on the whole volume at once.

    Parameters
    ----------
    projector : OrientedProjector
        A, on volumes (nz, ny, nx).
    views : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    """

    projector: OrientedProjector
    views: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the volume: nz, ny, nx."""
        nz, ny, nx = self.projector.domain_shape
        return nz, ny, nx

    @cached_property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""
        return squared_norm(self.projector)

    @property
    def size(self) -> float:
        """Norm of the views, ‖y‖."""
        return norm(self.views)

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""
        return self.projector.tilt_deg

    @property
    def threads(self) -> int:
        """Number of threads to use."""
        return self.projector.threads

    def of_views(self, views: NDArray[np.intp]) -> "OrientedMisfit":
        """Return the misfit of a subset of the views, counted from 0."""
        return OrientedMisfit(self.projector.of_views(views), self.views[views])

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            x.
        """
        return norm(self._misfit(volume))

    def descend(self, volume: Array, step: float) -> float:
        """Replace x by ``x - step Aᵀ(A x - y)``; return ‖A x - y‖.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            Overwritten.
        step : float
            Length of the step.
        """
        residual = self._misfit(volume)
        correction = self.projector.adjoint(residual)
        correction *= np.float32(step)
        volume -= correction
        return norm(residual)

    def _misfit(self, volume: Array) -> Array:
        """Return A x - y."""
        residual = self.projector.forward(volume)
        residual -= self.views
        return residual


def slab_misfit(
    views: Array,
    geometry: SliceGeometry,
    *,
    make_projector: Callable[..., Projector] = SlabProjector,
    threads: int = 1,
) -> SlabMisfit:
    """Create the misfit of a single-axis series: divide its views into slabs.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels.
    geometry : SliceGeometry
        Views and slice.
    make_projector : callable
        As for `SlabMisfit`.
    threads : int
        Number of slabs processed at the same time.

    Returns
    -------
    SlabMisfit
    """
    n_rows = views.shape[1]
    device = make_projector(geometry, n_slices=WIDTHS[0]).device
    if device is HOST:
        width = next((w for w in reversed(WIDTHS) if w * threads <= n_rows), slab_width(n_rows // threads))
    else:  # one slab after the other fills a GPU
        width, threads = max(device.widths), 1
    slabs = [device.to_slab(np.ascontiguousarray(views[:, y : y + width])) for y in range(0, n_rows, width)]
    return SlabMisfit(geometry, slabs, n_rows, make_projector, threads)
