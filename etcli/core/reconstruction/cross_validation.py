"""What predicts best the views that were left out: the weight of a prior, the number of iterations."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.parabola import lowest
from etcli.core.reconstruction.solve import solve
from etcli.core.solvers.fista import fista
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.priors import Prior, prior_of
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.total_variation import Zeros, in_memory
from etcli.core.view_subsets import FEWEST_VIEWS, every_sixth

Array = NDArray[np.float32]
Float = NDArray[np.float64]

ROWS = 16  # neighbouring slices that stand for all
LARGEST = 1e-1  # weight tried, relative to the largest sum of views in a voxel
STEP = 10**-0.5
MOST_WEIGHTS = 11
RISES = 2  # in a row after which smaller weights are not tried
SWEEPS = 18  # from zero: what a prior has to keep from being fitted shows before all has converged
MOST_ITERATIONS = 300
PATIENCE = 1.5  # no smaller error until so many times as many iterations: it was the smallest
ALIKE = 1.02  # errors as good as the smallest: the earlier, the smoother


@dataclass(frozen=True, eq=False)
class ValidationCurve:
    """How well views that were left out are predicted.

    Parameters
    ----------
    tried : ndarray of shape (n,), float64
        What was tried: weights, or numbers of iterations.
    error : ndarray of shape (n,), float64
        ‖A x - y‖ / ‖y‖ of the views left out.
    best : float
        What to use with all views.
    """

    tried: Float
    error: Float
    best: float


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """A series without every sixth view in the order of tilt, and those views.

    Parameters
    ----------
    used, left : Misfit
        The two parts.
    """

    used: Misfit
    left: Misfit

    @property
    def scaling(self) -> float:
        """By how much the data term, and so the weight of a prior, grows with all views."""
        return 1 + len(self.left.tilt_deg) / len(self.used.tilt_deg)


def leave_out(series: Misfit) -> ValidationSplit:
    """Leave every sixth view out.

    Parameters
    ----------
    series : Misfit
        All views; some neighbouring rows of them are enough.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        If there are too few views, or they are empty.
    """
    n_views = len(series.tilt_deg)
    if n_views < FEWEST_VIEWS:
        raise DataError(f"{n_views} views are too few to leave some out; give weight and iterations")
    left = every_sixth(series.tilt_deg)
    used = np.setdiff1d(np.arange(n_views), left)
    split = ValidationSplit(series.of_views(used), series.of_views(left))
    if split.left.size == 0:
        raise DataError("there is nothing in these views; give weight and iterations as numbers")
    return split


def best_weight(
    split: ValidationSplit,
    make_prior: Callable[[tuple[int, int, int]], Prior],
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> ValidationCurve:
    """Find the weight of a prior that predicts left-out views best.

    Parameters
    ----------
    split : ValidationSplit
        From `leave_out`.
    make_prior : callable
        ``make_prior(shape)`` returns the prior for volumes of a shape.
    zeros : callable
        As for `etcli.core.solvers.fista.fista`.
    progress : callable, optional
        Called with 1 for every weight tried, of `MOST_WEIGHTS` at most.

    Returns
    -------
    ValidationCurve

    Raises
    ------
    DataError
        If the views are empty.

    Notes
    -----
    Weights go down by half decades until the error has risen twice; the minimum is that of the parabola
    through the smallest error and its neighbours. The data term grows with the number of views, and the
    weight is scaled for all of them.
    """
    series = split.used
    gradient = zeros(series.shape)
    series.descend(gradient, 1.0)
    scale = float(gradient.max())
    if not scale > 0:
        raise DataError("nothing in these views is brighter than the background; give --weight a number")
    weights: list[float] = []
    errors: list[float] = []
    for relative in LARGEST * STEP ** np.arange(MOST_WEIGHTS):
        weights.append(float(relative) * scale)
        prior = make_prior(series.shape)
        volume = fista(series, prior, weight=weights[-1], iterations=SWEEPS, zeros=zeros)
        errors.append(split.left.residual(volume) / split.left.size)
        if progress:
            progress(1)
        best = int(np.argmin(errors))
        if len(errors) - 1 - best >= RISES:
            break
    found = _vertex(np.log(weights), np.array(errors))
    return ValidationCurve(np.array(weights), np.array(errors), float(np.exp(found)) * split.scaling)


def best_iterations(
    split: ValidationSplit,
    solve: Callable[[Misfit, int, Callback], object],
    *,
    most: int = MOST_ITERATIONS,
    progress: Callable[[int], None] | None = None,
) -> ValidationCurve:
    """Find the number of iterations that predicts left-out views best.

    Parameters
    ----------
    split : ValidationSplit
        From `leave_out`.
    solve : callable
        ``solve(series, iterations, callback)`` reconstructs a series.
    most : int
        Iterations to try.
    progress : callable, optional
        Called with 1 for every iteration.

    Returns
    -------
    ValidationCurve
        Its best is the first that is as good as the smallest error within 2 %.

    Notes
    -----
    It ends when no error was smaller during half as many iterations again as the smallest took.
    """
    numbers: list[int] = []
    errors: list[float] = []

    def look(k: int, _: float, volume: Array) -> None:
        if k == 0:
            return
        numbers.append(k)
        errors.append(split.left.residual(volume) / split.left.size)
        if progress:
            progress(1)
        if k > PATIENCE * numbers[int(np.argmin(errors))] + FEWEST_VIEWS:
            raise _EnoughError

    with suppress(_EnoughError):
        solve(split.used, most, look)
    error = np.array(errors)
    return ValidationCurve(
        np.array(numbers, float), error, numbers[int(np.argmax(error <= ALIKE * error.min()))]
    )


def tuned_weight(
    parameters: MethodParameters,
    split: ValidationSplit,
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> tuple[MethodParameters, ValidationCurve]:
    """Set the weight of the prior to the one that predicts left-out views best.

    Parameters
    ----------
    parameters : MethodParameters
        What is to be done.
    split : ValidationSplit
        From `leave_out`.
    zeros : callable
        As for `etcli.core.reconstruction.solve.solve`.
    progress : callable, optional
        As for `best_weight`.

    Returns
    -------
    (MethodParameters, ValidationCurve)
        The parameters with that weight, and how it was found.
    """
    found = best_weight(
        split,
        partial(prior_of, parameters, threads=split.used.threads, zeros=zeros),
        zeros=zeros,
        progress=progress,
    )
    return replace(parameters, weight=found.best), found


def tuned_iterations(
    parameters: MethodParameters,
    split: ValidationSplit,
    *,
    most: int = MOST_ITERATIONS,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> tuple[MethodParameters, ValidationCurve]:
    """Set the number of iterations to the one that predicts left-out views best.

    Parameters
    ----------
    parameters : MethodParameters
        What is to be done.
    split : ValidationSplit
        From `leave_out`.
    most : int
        Iterations to try.
    zeros : callable
        As for `etcli.core.reconstruction.solve.solve`.
    progress : callable, optional
        As for `best_iterations`.

    Returns
    -------
    (MethodParameters, ValidationCurve)
        The parameters with that number, and how it was found.
    """

    def reconstruct(misfit: Misfit, iterations: int, callback: Callback) -> Array:
        weight = parameters.weight / split.scaling
        return solve(replace(parameters, iterations=iterations, weight=weight), misfit, callback, zeros=zeros)

    found = best_iterations(split, reconstruct, most=most, progress=progress)
    return replace(parameters, iterations=int(found.best)), found


class _EnoughError(Exception):
    """More iterations need not be tried."""


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
        The series, or some views of it.
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
