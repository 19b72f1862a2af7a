"""Sweeps over all views: the steps of a proximal gradient method, and the weight of its prior."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.sart import subsets

Array = NDArray[np.float32]

SUBSETS, FEWEST_VIEWS = 4, 5
"""How many subsets views are divided into, and the views that a subset has at least. Twice as many are hardly
faster, for the prior costs most then, and their cycle is wider."""
IN_SUBSETS = 0.75
"""Part of the sweeps made in subsets."""
INNER_STEPS, SUBSET_STEPS = 10, 3
"""Iterations of the prior's proximal map, for a step with all views or with a subset."""


@dataclass(frozen=True, eq=False)
class Update:
    """One step of a proximal gradient method.

    Parameters
    ----------
    parts : sequence of Misfit
        Descended one after the other, before the prior has its turn.
    steps : sequence of float
        How far along the negative gradient of each part.
    norm : float
        The largest eigenvalue L of the whole misfit's second derivative, by which a weight is divided.
    inner_steps : int
        Iterations of the prior's proximal map.
    """

    parts: Sequence[Misfit]
    steps: Sequence[float]
    norm: float
    inner_steps: int = INNER_STEPS


@dataclass(frozen=True, eq=False)
class Sweep:
    """All updates that together look at every view once.

    Parameters
    ----------
    updates : sequence of Update
        In their order.
    fresh : bool
        Whether the momentum of earlier sweeps is forgotten first.
    """

    updates: Sequence[Update]
    fresh: bool = False


StepRule = Callable[[int], Sweep]
"""``rule(k)`` returns sweep k, counted from 1."""

WeightRule = Callable[[int, Update, Array, Array], float]
"""``rule(k, update, before, after)`` returns the weight of the prior's proximal map in sweep k, given the
volume before and after the gradient steps of an update."""


def fixed_weight(weight: float) -> WeightRule:
    """Weight rule of a fixed weight in the objective ``misfit + weight prior``.

    Parameters
    ----------
    weight : float
        In the units of a view times those of its back-projection.

    Returns
    -------
    callable
        Divides it by the norm of the update, as the proximal map of a step 1/L asks for.
    """
    return lambda k, update, before, after: weight / update.norm


def ordered_subsets(misfit: Misfit, iterations: int) -> StepRule:
    """Step rule of ordered subsets, which ends with steps of all views.

    Parameters
    ----------
    misfit : Misfit
        Of all views.
    iterations : int
        Sweeps in all.

    Returns
    -------
    callable
        Three quarters of the sweeps are in up to four subsets of the views, each of them all over the range
        of tilts, with steps as many times as large; the others take all views at once.
    """
    n_views = len(misfit.tilt_deg)
    n_parts = min(SUBSETS, n_views // FEWEST_VIEWS)
    if n_parts < 2:
        return all_at_once(misfit)
    chosen = subsets(misfit.tilt_deg, -(-n_views // n_parts))
    parts = [misfit.of_views(np.sort(views)) for views in chosen]
    norm = max(part.norm * n_views / len(part.tilt_deg) for part in parts)
    steps = [n_views / len(part.tilt_deg) / norm for part in parts]
    divided = Sweep(
        [Update([part], [step], norm, SUBSET_STEPS) for part, step in zip(parts, steps, strict=True)]
    )
    whole, begin = [Update([misfit], [1 / norm], norm)], round(IN_SUBSETS * iterations) + 1
    return lambda k: divided if k < begin else Sweep(whole, fresh=k == begin)


def all_at_once(misfit: Misfit) -> StepRule:
    """Step rule of one gradient step a sweep.

    Parameters
    ----------
    misfit : Misfit
        Of all views.

    Returns
    -------
    callable
    """
    whole = Sweep([Update([misfit], [1 / misfit.norm], misfit.norm)])
    return lambda k: whole
