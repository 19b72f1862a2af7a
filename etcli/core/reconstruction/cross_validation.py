"""Cross-validation: choose the weight of a prior or the number of iterations by predicting left-out views."""

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

ROWS = 16  # neighbouring slices that represent all slices
LARGEST = 1e-1  # largest weight tried, relative to the largest sum of views in a voxel
STEP = 10**-0.5  # ratio of successive weights
MOST_WEIGHTS = 11
RISES = 2  # smaller weights are not tried after so many errors above the smallest
SWEEPS = 18  # per weight, from zero: enough to see overfitting, long before convergence
MOST_ITERATIONS = 300
PATIENCE = 1.5  # stop after so many times the iterations of the smallest error so far
ALIKE = 1.02  # errors up to so many times the smallest are equally good: the earliest is the smoothest


@dataclass(frozen=True, eq=False)
class ValidationCurve:
    """Prediction error of left-out views as a function of a parameter.

    Parameters
    ----------
    tried : ndarray of shape (n,), float64
        Values tried: weights, or numbers of iterations.
    error : ndarray of shape (n,), float64
        ‖A x - y‖ / ‖y‖ of the left-out views.
    best : float
        Value to use with all views.
    """

    tried: Float
    error: Float
    best: float


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """Series divided for cross-validation: left-out views (every sixth in the order of tilt), and the others.

    Parameters
    ----------
    used, left_out : Misfit
        Misfits to the two parts.
    """

    used: Misfit
    left_out: Misfit

    @property
    def scaling(self) -> float:
        """Factor by which the data term, and so the weight of a prior, grows when all views are used."""
        return 1 + len(self.left_out.tilt_deg) / len(self.used.tilt_deg)


def leave_out(series: Misfit) -> ValidationSplit:
    """Divide a series into left-out views (every sixth) and the others.

    Parameters
    ----------
    series : Misfit
        Misfit to all views; a few neighbouring rows of them are enough.

    Returns
    -------
    ValidationSplit

    Raises
    ------
    DataError
        If there are too few views, or they are empty.
    """
    n_views = len(series.tilt_deg)
    if n_views < FEWEST_VIEWS:
        raise DataError(f"{n_views} views are too few to leave some out; give weight and iterations")
    left_out = every_sixth(series.tilt_deg)
    used = np.setdiff1d(np.arange(n_views), left_out)
    split = ValidationSplit(series.of_views(used), series.of_views(left_out))
    if split.left_out.size == 0:
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
        ``make_prior(shape)`` creates the prior for volumes of a shape.
    zeros : callable
        As for `etcli.core.solvers.fista.fista`.
    progress : callable, optional
        Called with 1 for every weight tried, at most `MOST_WEIGHTS` times.

    Returns
    -------
    ValidationCurve

    Raises
    ------
    DataError
        If the views are empty.

    Notes
    -----
    Weights decrease in steps of half a decade until two errors have followed the smallest; the minimum is
    that of the parabola through the smallest error and its neighbours. The data term grows with the number of
    views, so the weight is rescaled for all of them.
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
        errors.append(split.left_out.residual(volume) / split.left_out.size)
        if progress:
            progress(1)
        best = int(np.argmin(errors))
        if len(errors) - 1 - best >= RISES:
            break
    log_weight = _vertex(np.log(weights), np.array(errors))
    return ValidationCurve(np.array(weights), np.array(errors), float(np.exp(log_weight)) * split.scaling)


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
        Largest number of iterations to try.
    progress : callable, optional
        Called with 1 for every iteration.

    Returns
    -------
    ValidationCurve
        Its `best` is the first number of iterations with an error within 2 % of the smallest.

    Notes
    -----
    It stops at about 1.5 times the number of iterations of the smallest error, if no error was smaller since.
    """
    numbers: list[int] = []
    errors: list[float] = []

    def validate(k: int, _: float, volume: Array) -> None:
        if k == 0:
            return
        numbers.append(k)
        errors.append(split.left_out.residual(volume) / split.left_out.size)
        if progress:
            progress(1)
        if k > PATIENCE * numbers[int(np.argmin(errors))] + FEWEST_VIEWS:
            raise _EnoughError

    with suppress(_EnoughError):
        solve(split.used, most, validate)
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
        Method and its parameters.
    split : ValidationSplit
        From `leave_out`.
    zeros : callable
        As for `etcli.core.reconstruction.solve.solve`.
    progress : callable, optional
        As for `best_weight`.

    Returns
    -------
    (MethodParameters, ValidationCurve)
        The parameters with that weight, and the errors of all weights tried.
    """
    curve = best_weight(
        split,
        partial(prior_of, parameters, threads=split.used.threads, zeros=zeros),
        zeros=zeros,
        progress=progress,
    )
    return replace(parameters, weight=curve.best), curve


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
        Method and its parameters.
    split : ValidationSplit
        From `leave_out`.
    most : int
        Largest number of iterations to try.
    zeros : callable
        As for `etcli.core.reconstruction.solve.solve`.
    progress : callable, optional
        As for `best_iterations`.

    Returns
    -------
    (MethodParameters, ValidationCurve)
        The parameters with that number, and the errors of all numbers tried.
    """

    def reconstruct(misfit: Misfit, iterations: int, callback: Callback) -> Array:
        weight = parameters.weight / split.scaling
        return solve(replace(parameters, iterations=iterations, weight=weight), misfit, callback, zeros=zeros)

    curve = best_iterations(split, reconstruct, most=most, progress=progress)
    return replace(parameters, iterations=int(curve.best)), curve


class _EnoughError(Exception):
    """Raised to end a reconstruction early: more iterations need not be tried."""


def _vertex(place: Float, error: Float) -> float:
    """Return the minimum of the parabola through the smallest error and its neighbours."""
    k = int(np.argmin(error))
    if k in (0, len(error) - 1):
        return float(place[k])
    return float(place[k] + lowest(error[k - 1 : k + 2]) * (place[k + 1] - place[k]))


def brightest_rows(views: Array, n_rows: int = ROWS) -> slice:
    """Find the block of neighbouring rows with the strongest signal.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector)
        The series, or some of its views.
    n_rows : int
        Number of rows in the block.

    Returns
    -------
    slice
    """
    power = np.concatenate([[0.0], np.cumsum(np.square(views, dtype=np.float64).sum(axis=(0, 2)))])
    n = min(n_rows, views.shape[1])
    start = int(np.argmax(power[n:] - power[:-n]))
    return slice(start, start + n)
