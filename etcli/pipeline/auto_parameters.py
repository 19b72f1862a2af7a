"""Automatic parameters of a reconstruction: densities by a fit, weight and iterations by cross-validation."""

from dataclasses import dataclass

from etcli.core.fusion.single_series import TRIALS, tuned_for_counts
from etcli.core.reconstruction.cross_validation import (
    MOST_ITERATIONS,
    MOST_WEIGHTS,
    ValidationCurve,
    leave_out,
    tuned_iterations,
    tuned_weight,
)
from etcli.core.reconstruction.grey_levels import tuned_levels
from etcli.core.solvers.methods import POISSON, MethodParameters
from etcli.core.view_subsets import FEWEST_IN_TURN
from etcli.pipeline.reconstruction_request import ReconstructionRequest
from etcli.pipeline.reconstruction_task import Task
from etcli.pipeline.session import Session
from etcli.pipeline.single_axis_task import SingleAxisTask

ENOUGH_COUNTS = 1e5
"""Counts in which the weight of the prior is looked for, in as few rows as hold them."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """Complete parameters of a reconstruction, with the validation curves that they were chosen by.

    Parameters
    ----------
    parameters : MethodParameters
    weights, iterations : ValidationCurve or None
        Error of left-out views against the weight of the prior, and against the number of iterations.
    """

    parameters: MethodParameters
    weights: ValidationCurve | None = None
    iterations: ValidationCurve | None = None


def tune(session: Session, request: ReconstructionRequest, task: Task, *, follow: bool) -> Tuned:
    """Determine the parameters that are to be chosen automatically, and report them.

    Parameters
    ----------
    session : Session
    request : ReconstructionRequest
    task : Task
        The reconstruction.
    follow : bool
        Whether to compute the error of left-out views after each iteration in any case, where possible.

    Returns
    -------
    Tuned
    """
    parameters, reporter = request.parameters, session.reporter
    if request.n_levels:
        parameters = tuned_levels(parameters, task.sample(session), request.n_levels)
        listed = ", ".join(f"{level:.4g}" for level in parameters.levels)
        reporter.report(f"densities {listed} fit best")
    if parameters.likelihood == POISSON:
        return _tune_for_counts(session, request, task)
    needed = request.auto_weight or request.auto_iterations
    # the first entry of the curve of SIRT is after its second iteration
    follow = follow and parameters.looks_at("auto_iterations") and parameters.iterations > 1
    if not (follow or needed):
        return Tuned(parameters)
    series = task.sample(session)
    if not needed and (len(series.tilt_deg) < FEWEST_IN_TURN or not series.size):
        return Tuned(parameters)
    splits = leave_out(series)
    zeros = task.zeros(session, parameters)
    weights = iterations = None
    if request.auto_weight:
        with reporter.progress(MOST_WEIGHTS, "looking for the weight") as advance:
            parameters, weights = tuned_weight(parameters, splits, zeros=zeros, progress=advance)
        reporter.report(f"weight {parameters.weight:.3g} predicts left-out views best")
    if follow or request.auto_iterations:
        most = MOST_ITERATIONS if request.auto_iterations else parameters.iterations
        with reporter.progress(most * len(splits), "leaving views out") as advance:
            tuned, iterations = tuned_iterations(parameters, splits, most=most, zeros=zeros, progress=advance)
        if request.auto_iterations:
            parameters = tuned
            reporter.report(
                f"{parameters.iterations} iterations predict left-out views as well as any number, within 2 %"
            )
    return Tuned(parameters, weights, iterations)


def _tune_for_counts(session: Session, request: ReconstructionRequest, task: Task) -> Tuned:
    """Determine the weight of the prior from thinned counts, if it is to be chosen."""
    if not request.auto_weight:
        return Tuned(request.parameters)
    assert isinstance(task, SingleAxisTask)
    series, parts = task.sample_of_counts(session, counts=ENOUGH_COUNTS)
    with session.reporter.progress(TRIALS, "looking for the weight") as advance:
        parameters, weights = tuned_for_counts(request.parameters, series, parts, progress=advance)
    session.reporter.report(f"weight {parameters.weight:.3g} predicts {weights.left_out} best")
    return Tuned(parameters, weights)
