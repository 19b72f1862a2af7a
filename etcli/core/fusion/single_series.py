"""One series of counts with the likelihood of counts, for ``recon --likelihood poisson``."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.fusion.held_out import ITERATIONS, TYPICAL, HeldOut, Setting, best_factor
from etcli.core.fusion.iteration import FusionIteration, zero_state
from etcli.core.fusion.predicted_counts import divided
from etcli.core.fusion.problem import FusionProblem, fusion_problem
from etcli.core.fusion.scales import voxel_scales
from etcli.core.fusion.step_sizes import step_sizes
from etcli.core.projectors.slab import from_slab
from etcli.core.reconstruction.cross_validation import ValidationCurve
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit, SlabMisfit
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

HELD = 7
"""Arrays of the size of the volume: itself, extrapolated, back-projected, and three of the dual variable; one
more for rows that fill slabs."""
STAGES = (1, 2, 5)
EVERY = 10
"""Iterations after which the callback is called; each call takes a projection."""
ROUNDING = 1e-3
"""Distance from a whole number that subtracting and adding the background may leave."""
FACTORS = 10.0 ** np.arange(1.0, -2.1, -0.25)
"""Weights that are tried, relative to the usual one, from smooth to noisy."""
RISES = 2
"""Smaller weights are not tried after so many deviances above the least."""
TRIALS = len(FACTORS) * ITERATIONS
"""Most iterations of the search for the weight."""


def solve_volume(
    parameters: MethodParameters,
    misfit: Misfit,
    callback: Callback | None = None,
    *,
    zeros: Zeros = in_memory,
) -> Array:
    """Reconstruct the whole volume with total variation and the Poisson likelihood of counts.

    Parameters
    ----------
    parameters : MethodParameters
        With the background, in counts a pixel, that the views of the misfit no longer hold.
    misfit : SlabMisfit
        The views.
    callback : callable, optional
        ``callback(k, residual, x)`` after k iterations, some k from 1 to the last.
    zeros : callable
        ``zeros(shape)`` creates the arrays of the size of the volume.

    Returns
    -------
    ndarray of shape ``misfit.shape``, float32
        Counts a voxel. In the end they are multiplied by a factor, so that their projections have as many
        counts as were measured: total variation shrinks them.

    Raises
    ------
    DataError
        When a value is negative.
    """
    problem, counts = _problem(misfit, parameters)
    scales, joint = np.ones(1), np.empty(0, np.intp)
    weights, typical = np.array([parameters.weight]), _scale(counts, problem)
    total = float(counts.sum(dtype=np.float64))
    del counts
    iteration = FusionIteration(
        problem,
        step_sizes(problem, scales, weights, joint, None, typical=typical),
        zero_state(problem, 1, zeros),
        scales,
        joint,
        nuclear=False,
        haadf_weights=np.zeros(1),
        haadf_constant=0.0,
        curvature=0.0,
        zeros=zeros,
    )
    volume: Array = iteration.state.volume[0][..., : problem.views.n_rows]
    for k in range(1, parameters.iterations + 1):
        iteration.run()
        if callback and k < parameters.iterations and (k in STAGES or k % EVERY == 0):
            callback(k, misfit.residual(volume), volume)
    del iteration
    np.maximum(volume, 0, out=volume)
    volume *= np.float32(_count_factor(problem, volume, total))
    if callback:
        callback(parameters.iterations, misfit.residual(volume), volume)
    return volume


def volumes_held(parameters: MethodParameters) -> int:
    """Return the number of arrays of the size of the volume that `solve_volume` holds."""
    return HELD


def tuned_for_counts(
    parameters: MethodParameters,
    misfit: Misfit,
    parts: tuple[Array, Array] | None = None,
    *,
    progress: Callable[[int], None],
) -> tuple[MethodParameters, ValidationCurve]:
    """Set the weight to the one that predicts counts best which were held out.

    Parameters
    ----------
    parameters : MethodParameters
    misfit : SlabMisfit
        Views, or some rows of them.
    parts : tuple of ndarray of shape (view, y, x), optional
        The counts of these in two independent parts, from which nothing was subtracted.
    progress : callable
        Told the number of iterations done, at most `TRIALS`.

    Returns
    -------
    (MethodParameters, ValidationCurve)
        The parameters with that weight; and for all weights that were tried the deviance of the held-out
        counts, in nats a pixel.

    Raises
    ------
    DataError
        When values are negative, or not whole without parts: only counts as recorded can be thinned.
    """
    problem, counts = _problem(misfit, parameters)
    if parts is None and not np.array_equal(counts, np.rint(counts)):
        raise DataError(
            "the views hold fractions of counts, which cannot be divided into independent parts, and no "
            "parts _train and _test lie beside them; use counts as recorded, or give --weight a number"
        )
    scales = np.array([_scale(counts, problem)])
    held_out = HeldOut(problem, divided(counts, misfit.tilt_deg, parts), scales, (False,), progress)
    tried, deviance = TYPICAL * np.sqrt(scales) * FACTORS, list[float]()
    trial = None
    for weight in tried:
        trial = held_out.trial(Setting("tv", np.array([weight])), trial, keep=True)
        deviance.append(trial.total)
        if len(deviance) - 1 - int(np.argmin(deviance)) >= RISES:
            break
    tried = tried[: len(deviance)] / scales  # of counts a voxel, not of densities about 1
    best = best_factor(tried, deviance)
    curve = ValidationCurve(tried, np.array(deviance) / counts.size, best, "held-out counts")
    return replace(parameters, weight=best), curve


def _problem(misfit: Misfit, parameters: MethodParameters) -> tuple[FusionProblem, Array]:
    """Return the problem of a single element, and its counts (view, y, x)."""
    assert isinstance(misfit, SlabMisfit)
    width = misfit.slabs[0].shape[-1]
    rows = [min(width, misfit.n_rows - k * width) for k in range(len(misfit.slabs))]
    counts = np.concatenate([from_slab(slab, n) for slab, n in zip(misfit.slabs, rows, strict=True)], axis=1)
    counts += np.float32(parameters.counts_background)
    whole = np.rint(counts)
    counts = np.where(abs(counts - whole) < ROUNDING, whole, counts)
    if counts.min() < 0:
        raise DataError(
            "the views hold negative values, which are no counts; use them as recorded, without subtraction, "
            "or leave --likelihood out"
        )
    background = np.full((1, 1), parameters.counts_background)
    return fusion_problem([counts], misfit.geometry, background=background, threads=misfit.threads), counts


def _scale(counts: Array, problem: FusionProblem) -> float:
    """Return the counts a voxel where the specimen is dense; raise DataError where there are no counts."""
    if not counts.any():
        raise DataError("there are no counts in these views; check --slices, --background and the input")
    return float(voxel_scales([counts], problem.views.geometry, threads=problem.threads)[0])


def _count_factor(problem: FusionProblem, volume: Array, total: float) -> float:
    """Return the measured counts of the specimen over those of the projections of a volume."""
    views = problem.views
    projected = float(problem.project(volume.swapaxes(1, 2)).sum(dtype=np.float64))
    background = float(problem.background.sum()) * views.n_rows * views.geometry.n_detector
    return max(total - background, 0.0) / projected if projected > 0 else 1.0
