"""The weight of a prior that predicts best what it has not seen: views left out of the reconstruction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.geometry import SlabGeometry
from etcli.core.parabola import lowest
from etcli.core.projectors import Projector
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.priors import Prior
from etcli.core.solvers.regularised import as_series, regularised

Array = NDArray[np.float32]
Float = NDArray[np.float64]

EVERY = 6
FEWEST_VIEWS = 8
ROWS = 16  # neighbouring slices that stand for all
LARGEST = 1e-1  # weight tried, relative to the largest sum of views in a voxel
STEP = 10**-0.5
MOST_WEIGHTS = 11
RISES = 2  # in a row after which smaller weights are not tried
SWEEPS = 50  # from zero: what a prior has to keep from being fitted shows before all has converged


@dataclass(frozen=True, eq=False)
class WeightCurve:
    """How well views that were left out are predicted, against the weight of the prior.

    Parameters
    ----------
    weight, error : ndarray of shape (n,), float64
        Weights tried, and ‖A x - y‖ / ‖y‖ of the views left out.
    best : float
        The weight at the minimum, for all views.
    """

    weight: Float
    error: Float
    best: float


def best_weight(
    views: Array,
    geometry: SlabGeometry,
    make_prior: Callable[[tuple[int, int, int]], Prior],
    *,
    make_projector: Callable[..., Projector] = SlabProjector,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> WeightCurve:
    """Find the weight of a prior that predicts left-out views best.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels; some neighbouring rows are enough.
    geometry : SlabGeometry
        Views and slice.
    make_prior : callable
        ``make_prior(shape)`` returns the prior for volumes of a shape.
    make_projector : callable
        As for `as_series`.
    threads : int
        Slabs worked on at the same time.
    progress : callable, optional
        Called with 1 for every weight tried, of `MOST_WEIGHTS` at most.

    Returns
    -------
    WeightCurve

    Raises
    ------
    DataError
        If there are too few views to leave some out, or they are empty.

    Notes
    -----
    Every sixth view in the order of tilt is left out. Weights go down by half decades until the error has
    risen twice; the minimum is that of the parabola through the smallest error and its neighbours. The data
    term grows with the number of views, and the weight is scaled for all of them.
    """
    n_views = len(views)
    if n_views < FEWEST_VIEWS:
        raise DataError(f"{n_views} views are too few to leave some out; give --weight a number")
    order = np.argsort(geometry.tilt_deg, kind="stable")
    left = np.sort(order[EVERY // 2 :: EVERY])
    used = np.setdiff1d(np.arange(n_views), left)

    series, rest = (
        as_series(views[which], geometry.of_views(which), make_projector=make_projector, threads=threads)
        for which in (used, left)
    )
    gradient = np.zeros(series.shape, np.float32)
    series.descend(gradient, 1.0)
    scale = float(gradient.max())
    if not scale > 0:
        raise DataError("nothing in these views is brighter than the background; give --weight a number")
    weights: list[float] = []
    errors: list[float] = []
    for relative in LARGEST * STEP ** np.arange(MOST_WEIGHTS):
        weights.append(float(relative) * scale)
        volume = regularised(series, make_prior(series.shape), weight=weights[-1], iterations=SWEEPS)
        errors.append(rest.residual(volume))
        if progress:
            progress(1)
        best = int(np.argmin(errors))
        if len(errors) - 1 - best >= RISES:
            break
    found = _vertex(np.log(weights), np.array(errors))
    return WeightCurve(np.array(weights), np.array(errors), float(np.exp(found)) * n_views / len(used))


def _vertex(place: Float, error: Float) -> float:
    """Return where the parabola through the smallest error and its neighbours is lowest."""
    k = int(np.argmin(error))
    if k in (0, len(error) - 1):
        return float(place[k])
    return float(place[k] + lowest(error[k - 1 : k + 2]) * (place[k + 1] - place[k]))


def brightest_rows(views: Array, n_rows: int = ROWS) -> slice:
    """Return the neighbouring rows that hold most of the signal.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector)
        The series.
    n_rows : int
        How many.

    Returns
    -------
    slice
    """
    power = np.concatenate([[0.0], np.cumsum(np.square(views, dtype=np.float64).sum(axis=(0, 2)))])
    n = min(n_rows, views.shape[1])
    start = int(np.argmax(power[n:] - power[:-n]))
    return slice(start, start + n)
