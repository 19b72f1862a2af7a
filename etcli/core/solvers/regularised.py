"""Least squares with a prior on the whole volume: proximal gradient steps with momentum."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SlabGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Projector
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.projectors.slab import HOST, WIDTHS, SlabProjector, slab_width
from etcli.core.solvers.checks import check_iterations
from etcli.core.solvers.momentum import Momentum
from etcli.core.solvers.priors import Prior
from etcli.core.solvers.sart import subsets
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.spectral_norm import squared_norm
from etcli.core.solvers.steps import norm, square
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

POWER_STEPS = 12
SUBSETS, FEWEST_VIEWS = 4, 5
"""How many subsets views are divided into, and the views that a subset has at least. Twice as many are hardly
faster, for the prior costs most then, and their cycle is wider."""
IN_SUBSETS = 0.75
"""Part of the sweeps made in subsets."""
INNER_STEPS, SUBSET_STEPS = 10, 3
"""Of the prior's proximal map, for a step with all views or with a subset."""


class Misfit(Protocol):
    """``½ ‖A x - y‖²`` of volumes x: what `regularised` needs of views and their geometry."""

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
class Series:
    """Views laid out for a projector, and the gradient of ``½ ‖A x - y‖²``.

    Parameters
    ----------
    geometry : SlabGeometry
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

    geometry: SlabGeometry
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

    def of_views(self, views: NDArray[np.intp]) -> "Series":
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
class WholeSeries:
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

    def of_views(self, views: NDArray[np.intp]) -> "WholeSeries":
        """Return the series of some of the views, counted from 0."""
        return WholeSeries(self.projector.of_views(views), self.views[views])

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


def as_series(
    views: Array,
    geometry: SlabGeometry,
    *,
    make_projector: Callable[..., Projector] = SlabProjector,
    threads: int = 1,
) -> Series:
    """Lay views out for projectors.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels.
    geometry : SlabGeometry
        Views and slice.
    make_projector : callable
        As for `Series`.
    threads : int
        Slabs worked on at the same time.

    Returns
    -------
    Series
    """
    n_rows = views.shape[1]
    device = make_projector(geometry, n_slices=WIDTHS[0]).device
    if device is HOST:
        width = next((w for w in reversed(WIDTHS) if w * threads <= n_rows), slab_width(n_rows // threads))
    else:  # one slab after the other fills a GPU
        width, threads = max(device.widths), 1
    slabs = [device.to_slab(np.ascontiguousarray(views[:, y : y + width])) for y in range(0, n_rows, width)]
    return Series(geometry, slabs, n_rows, make_projector, threads)


def regularised(
    series: Misfit,
    prior: Prior,
    *,
    weight: float = 0.0,
    iterations: int,
    initial: Array | None = None,
    zeros: Zeros = in_memory,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct the volume x that minimises ``½ ‖A x - y‖² + weight prior(x)``.

    Parameters
    ----------
    series : Misfit
        A and y: a `Series` of slabs, or a `WholeSeries`.
    prior : Prior
        Such as `etcli.core.solvers.priors.make_prior` returns.
    weight : float
        Of the prior, in the units of a view times those of its back-projection.
    iterations : int
        Sweeps over all views.
    initial : ndarray of shape ``series.shape``, optional
        Where to start; at zero when not given.
    zeros : callable
        ``zeros(shape)`` makes the three arrays of the size of the volume that it holds.
    callback : callable, optional
        ``callback(k, residual, x)`` after k sweeps, k from 1, with ‖A v - y‖ at the points v that the views
        were last looked at from, and the volume, not to be changed.

    Returns
    -------
    ndarray of shape ``series.shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When there are no iterations or the weight is negative.

    Notes
    -----
    x ← prox(v - c Aₖᵀ(Aₖ v - yₖ)/L) and v ← x + β Δx: proximal gradient steps with `Momentum`. Where there is
    a weight, three quarters of the sweeps are made in subsets of the views, a step for each: c is the number
    of all views over that of the subset k, and so many times as many steps are made. They end in a cycle
    about the minimum, some per cent wide where views are noisy, so the other sweeps take all views at once.
    L is the largest eigenvalue of c AₖᵀAₖ of any subset, and a bound of that of AᵀA.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    D. Kim, S. Ramani, J. A. Fessler, IEEE Trans. Med. Imaging 34, 167 (2015), doi:10.1109/TMI.2014.2350962:
    subsets with momentum.
    """
    check_iterations("FISTA", iterations)
    if not weight >= 0:
        raise UsageError(f"a weight of {weight:g} makes no sense; use zero or more")
    n_views = len(series.tilt_deg)
    parts = _parts(series) if weight > 0 else [series]
    in_parts = round(IN_SUBSETS * iterations) if len(parts) > 1 else iterations
    norm = max(part.norm * n_views / len(part.tilt_deg) for part in parts)
    volume, new, ahead = (zeros(series.shape) for _ in range(3))
    if initial is not None:
        volume[...] = ahead[...] = initial
    momentum = Momentum(len(volume), threads=series.threads)
    for k in range(1, iterations + 1):
        if k == in_parts + 1:
            parts = [series]
            momentum.restart()
        square = 0.0
        for part in parts:
            new[...] = ahead
            square += part.descend(new, n_views / len(part.tilt_deg) / norm) ** 2
            prior.minimise(new, weight / norm, iterations=INNER_STEPS if part is series else SUBSET_STEPS)
            momentum.look_ahead(volume, new, ahead)
            volume, new = new, volume
        if callback:
            callback(k, sqrt(square), volume)
    return volume


def _parts(series: Misfit) -> list[Misfit]:
    """Return subsets of the views, each of them all over the range of tilts."""
    n_views = len(series.tilt_deg)
    n_parts = min(SUBSETS, n_views // FEWEST_VIEWS)
    if n_parts < 2:
        return [series]
    return [series.of_views(np.sort(views)) for views in subsets(series.tilt_deg, -(-n_views // n_parts))]
