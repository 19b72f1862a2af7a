"""Least-squares misfits: what the proximal gradient loop asks of views and their geometry."""

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
    """``½ ‖A x - y‖²`` of volumes x: what `fista` needs of views and their geometry."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the volume."""

    @property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""

    @property
    def size(self) -> float:
        """‖y‖."""

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""

    @property
    def threads(self) -> int:
        """Threads to work on."""

    def of_views(self, views: NDArray[np.intp]) -> "Misfit":
        """Return the same of some of the views, counted from 0."""

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖."""

    def descend(self, volume: Array, step: float) -> float:
        """Replace x by ``x - step Aᵀ(A x - y)``; return ‖A x - y‖."""


@dataclass(frozen=True, eq=False)
class SlabMisfit:
    """Views laid out for a projector, and the gradient of ``½ ‖A x - y‖²``.

    Parameters
    ----------
    geometry : SliceGeometry
        Views and slice.
    slabs : list of ndarray of shape (n_views, n_detector, n_slices), float32
        Line integrals in voxels, in the order of the rows; the last one may hold slices of zeros at its end.
    n_rows : int
        Slices of all slabs that count.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    threads : int
        Slabs worked on at the same time.
    """

    geometry: SliceGeometry
    slabs: list[Array]
    n_rows: int
    make_projector: Callable[..., Projector]
    threads: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the volume: thickness, width, rows."""
        return self.geometry.thickness, self.geometry.width, self.n_rows

    @cached_property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""
        # one slice is as good as another
        return squared_norm(self.make_projector(self.geometry, n_slices=WIDTHS[0]), steps=POWER_STEPS)

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""
        return self.geometry.tilt_deg

    def of_views(self, views: NDArray[np.intp]) -> "SlabMisfit":
        """Return the series of some of the views, counted from 0."""
        slabs = [slab[views] for slab in self.slabs]
        return replace(self, geometry=self.geometry.of_views(views), slabs=slabs)

    @property
    def size(self) -> float:
        """‖y‖."""
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
            How far to go.
        """

        def work(k: int) -> Array:
            projector, residual = self._misfit(volume, k)
            rows = self._rows(k)
            back = projector.adjoint(residual)
            back *= np.float32(-step)
            volume[..., rows] += back[..., : rows.stop - rows.start]
            return residual

        return self._norm(work)

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

    def _norm(self, work: Callable[[int], Array]) -> float:
        """Return the norm of the residuals that work on all slabs returns."""

        def power(k: int) -> float:
            return square(work(k))

        squares = ordered_map(power, range(len(self.slabs)), threads=self.threads)
        return sqrt(sum(squares))


@dataclass(frozen=True, eq=False)
class OrientedMisfit:
    """Views of any orientation, and the gradient of ``½ ‖A x - y‖²`` on the whole volume at once.

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
        """Of the volume: nz, ny, nx."""
        nz, ny, nx = self.projector.domain_shape
        return nz, ny, nx

    @cached_property
    def norm(self) -> float:
        """The largest eigenvalue of AᵀA."""
        return squared_norm(self.projector)

    @property
    def size(self) -> float:
        """‖y‖."""
        return norm(self.views)

    @property
    def tilt_deg(self) -> NDArray[np.float64]:
        """Tilt angles of the views in degrees."""
        return self.projector.tilt_deg

    @property
    def threads(self) -> int:
        """Threads to work on."""
        return self.projector.threads

    def of_views(self, views: NDArray[np.intp]) -> "OrientedMisfit":
        """Return the series of some of the views, counted from 0."""
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
            How far to go.
        """
        residual = self._misfit(volume)
        back = self.projector.adjoint(residual)
        back *= np.float32(step)
        volume -= back
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
    """Lay views out for projectors.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels.
    geometry : SliceGeometry
        Views and slice.
    make_projector : callable
        As for `SlabMisfit`.
    threads : int
        Slabs worked on at the same time.

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
