"""Reconstruction of a volume that is written with a history of what was used in the end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.solvers.methods import MethodParameters
from etcli.io.writers import ProcessingStep
from etcli.pipeline.reconstruction_task import Task
from etcli.pipeline.session import Session
from etcli.pipeline.volume_output import Destination


def write_volume(
    session: Session,
    task: Task,
    parameters: MethodParameters,
    destination: Destination,
    which: str,
    n_views: int,
    *,
    step: Callable[[MethodParameters, int], ProcessingStep],
    **how: Any,
) -> ErrorCurve:
    """Reconstruct and write a volume.

    Parameters
    ----------
    session : Session
    task : Task
    parameters : MethodParameters
    destination : Destination
        Receives the volume.
    which : str
        Which of its volumes that is.
    n_views : int
        Number of views.
    step : callable
        ``step(parameters, n_views)`` returns the processing step for the history.
    **how
        Other arguments of `Task.run`.

    Returns
    -------
    ErrorCurve
    """
    if not parameters.weight_from_noise:
        with destination.open(which, step(parameters, n_views), n_views) as write:
            return task.run(session, parameters, write, **how)
    # the history holds the weight, which is known when the volume is
    blocks: list[tuple[Any, Any]] = []
    errors = task.run(session, parameters, lambda *block, **at: blocks.append((block, at)), **how)
    parameters = replace(parameters, weight=errors.numbers["weight"])
    with destination.open(which, step(parameters, n_views), n_views) as write:
        for block, at in blocks:
            write(*block, **at)
    return errors
