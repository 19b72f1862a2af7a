"""Least squares with a prior on the whole volume: proximal gradient steps with Nesterov's momentum."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SlabGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors import Projector
from etcli.core.projectors.slab import WIDTHS, SlabProjector, aligned_empty, slab_width, to_slab
from etcli.core.solvers.checks import check_iterations
from etcli.core.solvers.priors import VOLUMES, Prior

Array = NDArray[np.float32]

POWER_STEPS = 12
MARGIN = 1.02  # on the norm, which the power method approaches from below
INNER_STEPS = 10


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
        return largest_eigenvalue(self.make_projector(self.geometry, n_slices=WIDTHS[0]))

    @cached_property
    def _power(self) -> float:
        """‖y‖²."""
        return sum(float(np.vdot(slab, slab)) for slab in self.slabs)

    def residual(self, volume: Array) -> float:
        """Return ‖A x - y‖ / ‖y‖.

        Parameters
        ----------
        volume : ndarray of shape `shape`, float32
            x.
        """
        return self._relative(lambda k: self._misfit(volume, k)[1])

    def descend(self, volume: Array, step: float) -> float:
        """Replace x by ``x - step Aᵀ(A x - y)``; return ‖A x - y‖ / ‖y‖.

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

        return self._relative(work)

    def _rows(self, k: int) -> slice:
        """Return the rows of a slab."""
        width = self.slabs[0].shape[-1]
        return slice(k * width, min((k + 1) * width, self.n_rows))

    def _misfit(self, volume: Array, k: int) -> tuple[Projector, Array]:
        """Return a slab's projector and its part of A x - y."""
        slab, rows = self.slabs[k], self._rows(k)
        projector = self.make_projector(self.geometry, n_slices=slab.shape[-1])
        part = aligned_empty(projector.domain_shape)
        part[..., rows.stop - rows.start :] = 0
        part[..., : rows.stop - rows.start] = volume[..., rows]
        residual = projector.forward(part)
        residual -= slab
        return projector, residual

    def _relative(self, work: Callable[[int], Array]) -> float:
        """Return the norm of the residuals that work on all slabs returns, relative to that of the views."""

        def power(k: int) -> float:
            residual = work(k)
            return float(np.vdot(residual, residual))

        squares = ordered_map(power, range(len(self.slabs)), threads=self.threads)
        return sqrt(sum(squares) / (self._power or 1))


def largest_eigenvalue(projector: Projector) -> float:
    """Return the largest eigenvalue of AᵀA, with a margin so as not to be below it.

    Parameters
    ----------
    projector : Projector
        A; the slices of a slab have the same.

    Returns
    -------
    float

    Raises
    ------
    DataError
        When no ray meets the volume.
    """
    vector = np.ones(projector.domain_shape, np.float32)
    eigenvalue = 1.0
    for _ in range(POWER_STEPS):
        vector /= eigenvalue
        vector = projector.adjoint(projector.forward(vector))
        eigenvalue = float(np.linalg.norm(vector[..., 0]))
        if eigenvalue == 0:
            raise DataError("no ray meets the volume; is it too thin, or the axis offset too large?")
    return MARGIN * eigenvalue


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
    width = next((w for w in reversed(WIDTHS) if w * threads <= n_rows), slab_width(n_rows // threads))
    slabs = [to_slab(np.ascontiguousarray(views[:, y : y + width])) for y in range(0, n_rows, width)]
    return Series(geometry, slabs, n_rows, make_projector, threads)


def regularised(
    series: Series,
    prior: Prior,
    *,
    weight: float = 0.0,
    iterations: int,
    initial: Array | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Array:
    """Reconstruct the volume x that minimises ``½ ‖A x - y‖² + weight prior(x)``.

    Parameters
    ----------
    series : Series
        A and y.
    prior : Prior
        Such as `etcli.core.solvers.priors.make_prior` returns.
    weight : float
        Of the prior, in the units of a view times those of its back-projection.
    iterations : int
        Sweeps over all views.
    initial : ndarray of shape ``series.shape``, optional
        Where to start; at zero when not given.
    callback : callable, optional
        ``callback(k, residual)`` after k sweeps, with ‖A v - y‖ / ‖y‖ at the point v looked at last.

    Returns
    -------
    ndarray of shape (thickness, width, n_rows), float32
        Density per voxel.

    Raises
    ------
    UsageError
        When there are no iterations or the weight is negative.

    Notes
    -----
    x ← prox(v - Aᵀ(A v - y)/L) and v ← x + β Δx with L the largest eigenvalue of AᵀA and β as by Beck and
    Teboulle; the momentum starts again when a step turns against it.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    B. O'Donoghue, E. Candès, Found. Comput. Math. 15, 715 (2015), doi:10.1007/s10208-013-9150-3: the restart.
    """
    check_iterations("FISTA", iterations)
    if not weight >= 0:
        raise UsageError(f"a weight of {weight:g} makes no sense; use zero or more")
    volume = np.zeros(series.shape, np.float32) if initial is None else initial.copy()
    ahead = volume.copy()
    pace = 1.0
    for k in range(1, iterations + 1):
        start = ahead.copy()
        residual = series.descend(ahead, 1 / series.norm)
        prior.minimise(ahead, weight / series.norm, iterations=INNER_STEPS)
        if np.vdot(start - ahead, ahead - volume) > 0:
            pace = 1.0
        longer = (1 + sqrt(1 + 4 * pace**2)) / 2
        momentum = np.float32((pace - 1) / longer)
        volume, ahead = ahead, ahead + momentum * (ahead - volume)
        pace = longer
        if callback:
            callback(k, residual)
    return volume


def check_memory(geometry: SlabGeometry, n_rows: int, memory: int, prior: str) -> None:
    """Refuse a volume that does not fit.

    Parameters
    ----------
    geometry : SlabGeometry
        Views and slice.
    n_rows : int
        Slices.
    memory : int
        Bytes allowed.
    prior : str
        As for `make_prior`.

    Raises
    ------
    UsageError
        When the arrays take more; it tells how much.
    """
    volume = geometry.thickness * geometry.width * n_rows * 4
    series = geometry.n_views * geometry.n_detector * n_rows * 4
    needed = VOLUMES[prior] * volume + 3 * series
    if needed > memory:
        raise UsageError(
            f"the whole volume takes {ceil(needed / (1 << 20))}M of memory, but only {memory >> 20}M are "
            "allowed; allow more, make it thinner, or use --slices"
        )
