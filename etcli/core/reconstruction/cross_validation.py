"""Cross-validation: choose the weight of a prior or the number of iterations by predicting left-out views."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import sqrt

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
from etcli.core.view_subsets import FEWEST_IN_TURN, left_out_in_turn

Array = NDArray[np.float32]
Float = NDArray[np.float64]

ROWS = 16  # neighbouring slices that represent all slices
LARGEST = 1e-1  # largest weight tried, relative to the largest sum of views in a voxel
STEP = 10**-0.5  # ratio of successive weights
MOST_WEIGHTS = 11
RISES = 2  # smaller weights are not tried after so many errors above the smallest
SWEEPS = 18  # per weight, from zero: enough to see overfitting, long before convergence
MOST_ITERATIONS = 300
PATIENCE, LEAST = 1.5, 8  # stop after so many times the iterations of the smallest error so far, and so many
ALIKE = 1.02  # errors up to so many times the smallest are equally good: the earliest is the smoothest


@dataclass(frozen=True, eq=False)
class ValidationCurve:
    """Prediction error of what was left out as a function of a parameter.

    Parameters
    ----------
    tried : ndarray of shape (n,), float64
        Values tried: weights, or numbers of iterations.
    error : ndarray of shape (n,), float64
        ‖A x - y‖ / ‖y‖ of the left-out views, or the deviance of held-out counts.
    best : float
        Value to use with all views.
    left_out : str
        What was left out.
    """

    tried: Float
    error: Float
    best: float
    left_out: str = "views left out"


@dataclass(frozen=True, eq=False)
class ValidationSplit:
    """Series divided for cross-validation: left-out views, and the others.

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


def leave_out(series: Misfit) -> tuple[ValidationSplit, ...]:
    """Divide a series into left-out views and the others, in one or several ways.

    Parameters
    ----------
    series : Misfit
        Misfit to all views; a few neighbouring rows of them are enough.

    Returns
    -------
    tuple of ValidationSplit
        One, without every sixth view, or of fewer than eight views one without each of the inner views;
        see `etcli.core.view_subsets.left_out_in_turn`. The same number of views is left out of each.

    Raises
    ------
    DataError
        If there are too few views, or they are empty.
    """
    n_views = len(series.tilt_deg)
    if n_views < FEWEST_IN_TURN:
        raise DataError(
            f"{n_views} views are too few to leave one out, which takes {FEWEST_IN_TURN}; give weight and "
            "iterations as numbers"
        )
    every = np.arange(n_views)
    splits = tuple(
        ValidationSplit(series.of_views(np.setdiff1d(every, left_out)), series.of_views(left_out))
        for left_out in left_out_in_turn(series.tilt_deg)
    )
    if _size(splits) == 0:
        raise DataError("there is nothing in these views; give weight and iterations as numbers")
    return splits


def _size(splits: Sequence[ValidationSplit]) -> float:
    """Return the norm of all left-out views."""
    return sqrt(sum(split.left_out.size**2 for split in splits))


def best_weight(
    splits: Sequence[ValidationSplit],
    make_prior: Callable[[tuple[int, int, int]], Prior],
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> ValidationCurve:
    """Find the weight of a prior that predicts left-out views best.

    Parameters
    ----------
    splits : sequence of ValidationSplit
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
    series, size = splits[0].used, _size(splits)
    gradient = zeros(series.shape)
    series.descend(gradient, 1.0)
    scale = float(gradient.max())
    if not scale > 0:
        raise DataError("nothing in these views is brighter than the background; give --weight a number")
    weights: list[float] = []
    errors: list[float] = []
    for relative in LARGEST * STEP ** np.arange(MOST_WEIGHTS):
        weights.append(float(relative) * scale)
        square = 0.0
        for split in splits:
            prior = make_prior(series.shape)
            volume = fista(split.used, prior, weight=weights[-1], iterations=SWEEPS, zeros=zeros)
            square += split.left_out.residual(volume) ** 2
        errors.append(sqrt(square) / size)
        if progress:
            progress(1)
        best = int(np.argmin(errors))
        if len(errors) - 1 - best >= RISES:
            break
    log_weight = _vertex(np.log(weights), np.array(errors))
    return ValidationCurve(np.array(weights), np.array(errors), float(np.exp(log_weight)) * splits[0].scaling)


def best_iterations(
    splits: Sequence[ValidationSplit],
    solve: Callable[[Misfit, int, Callback], object],
    *,
    most: int = MOST_ITERATIONS,
    progress: Callable[[int], None] | None = None,
) -> ValidationCurve:
    """Find the number of iterations that predicts left-out views best.

    Parameters
    ----------
    splits : sequence of ValidationSplit
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
    Each split stops at about 1.5 times the number of iterations of its smallest error, if no error was
    smaller since; from there on, its last error stands for those that would follow.
    """
    curves = [_squared_errors(split, solve, most=most, progress=progress) for split in splits]
    # a split that was stopped keeps its last error
    longest = max(map(len, curves))
    squares = sum(np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves)
    error = np.sqrt(squares) / _size(splits)
    best = int(np.argmax(error <= ALIKE * error.min())) + 1
    return ValidationCurve(np.arange(1.0, longest + 1), error, best)


def _squared_errors(
    split: ValidationSplit,
    solve: Callable[[Misfit, int, Callback], object],
    *,
    most: int,
    progress: Callable[[int], None] | None,
) -> Float:
    """Return the squared error of the left-out views after 1, 2, ... iterations."""
    squares: list[float] = []

    def validate(k: int, _: float, volume: Array) -> None:
        if k == 0:
            return
        squares.append(split.left_out.residual(volume) ** 2)
        if progress:
            progress(1)
        if k > PATIENCE * (int(np.argmin(squares)) + 1) + LEAST:
            raise _EnoughError

    with suppress(_EnoughError):
        solve(split.used, most, validate)
    return np.array(squares)


def tuned_weight(
    parameters: MethodParameters,
    splits: Sequence[ValidationSplit],
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
) -> tuple[MethodParameters, ValidationCurve]:
    """Set the weight of the prior to the one that predicts left-out views best.

    Parameters
    ----------
    parameters : MethodParameters
        Method and its parameters.
    splits : sequence of ValidationSplit
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
        splits,
        partial(prior_of, parameters, threads=splits[0].used.threads, zeros=zeros),
        zeros=zeros,
        progress=progress,
    )
    return replace(parameters, weight=curve.best), curve


def tuned_iterations(
    parameters: MethodParameters,
    splits: Sequence[ValidationSplit],
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
    splits : sequence of ValidationSplit
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
        weight = parameters.weight / splits[0].scaling
        return solve(replace(parameters, iterations=iterations, weight=weight), misfit, callback, zeros=zeros)

    curve = best_iterations(splits, reconstruct, most=most, progress=progress)
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
