"""Sweeps over all views: the steps of proximal gradient methods, and rules for the weight of the prior."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.sart import subsets

Array = NDArray[np.float32]

SUBSETS, FEWEST_VIEWS = 4, 5
"""Number of subsets of the views, and smallest number of views in a subset. Twice as many subsets are hardly
faster, because the prior then takes most of the time, and they end in a wider cycle around the minimum."""
IN_SUBSETS = 0.75
"""Fraction of the sweeps that use subsets."""
INNER_STEPS, SUBSET_STEPS = 10, 3
"""Iterations of the prior's proximal map, for a step with all views, and at least for one with a subset."""
VIEW_STEPS = 270
"""Product of the number of views and the iterations of the proximal map for a step with a subset. The fewer
views there are, the more depends on the prior, and the less time do the projections take: of 21 views within
±40°, ten iterations instead of three lower the error by a fifth, of 90 views over 180° by nothing."""


@dataclass(frozen=True, eq=False)
class Update:
    """One step of a proximal gradient method.

    Parameters
    ----------
    parts : sequence of Misfit
        Misfits whose gradient steps are made one after the other, before the proximal map of the prior.
    steps : sequence of float
        Length of the step along the negative gradient of each part.
    norm : float
        Largest eigenvalue L of the second derivative of the whole misfit, by which a weight is divided.
    inner_steps : int
        Iterations of the prior's proximal map.
    share : float
        Share of the views that an update of all views uses, by which its squared residual is divided.
    """

    parts: Sequence[Misfit]
    steps: Sequence[float]
    norm: float
    inner_steps: int = INNER_STEPS
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Sweep:
    """Updates that together use every view, all of them equally often.

    Parameters
    ----------
    updates : sequence of Update
        Updates, in order.
    fresh : bool
        Whether the momentum is restarted before the sweep.
    passes : int
        How often it uses each view.
    """

    updates: Sequence[Update]
    fresh: bool = False
    passes: int = 1


StepRule = Callable[[int], Sweep]
"""``rule(k)`` returns sweep k, counted from 1."""

WeightRule = Callable[[int, Update, Array, Array], float]
"""``rule(k, update, before, after)`` returns the weight of the prior's proximal map in sweep k, given the
volumes before and after the gradient steps of an update."""


def fixed_weight(weight: float) -> WeightRule:
    """Create the weight rule for a fixed weight in the objective ``misfit + weight prior``.

    Parameters
    ----------
    weight : float
        Weight in the units of a view times those of its back-projection.

    Returns
    -------
    callable
        Divides the weight by the norm L of the update, as the proximal map of a step 1/L requires.
    """
    return lambda k, update, before, after: weight / update.norm


def ordered_subsets(misfit: Misfit, iterations: int) -> StepRule:
    """Create the step rule of ordered subsets, which ends with steps that use all views.

    Parameters
    ----------
    misfit : Misfit
        Misfit to all views.
    iterations : int
        Total number of sweeps.

    Returns
    -------
    callable
        Three quarters of the sweeps use up to four subsets of the views, each of which covers the whole tilt
        range, with steps as many times larger as there are subsets; the others use all views at once. Where
        there are too few views for four subsets, a sweep goes through them several times: the number of
        steps, on which the prior depends, is about the same for few views as for many.
    """
    n_views = len(misfit.tilt_deg)
    n_parts = max(min(SUBSETS, n_views // FEWEST_VIEWS), 1)
    chosen = subsets(misfit.tilt_deg, -(-n_views // n_parts))
    parts = [misfit.of_views(np.sort(views)) for views in chosen] if n_parts > 1 else [misfit]
    norm = max(part.norm * n_views / len(part.tilt_deg) for part in parts)
    steps = [n_views / len(part.tilt_deg) / norm for part in parts]
    inner = min(max(SUBSET_STEPS, VIEW_STEPS // n_views), INNER_STEPS)
    passes = SUBSETS // n_parts
    updates = [Update([part], [step], norm, inner) for part, step in zip(parts, steps, strict=True)]
    divided = Sweep(updates * passes, passes=passes)
    whole, begin = [Update([misfit], [1 / norm], norm)], round(IN_SUBSETS * iterations) + 1
    return lambda k: divided if k < begin else Sweep(whole, fresh=k == begin)


def all_at_once(misfit: Misfit) -> StepRule:
    """Create the step rule with one gradient step per sweep, which uses all views.

    Parameters
    ----------
    misfit : Misfit
        Misfit to all views.

    Returns
    -------
    callable
    """
    whole = Sweep([Update([misfit], [1 / misfit.norm], misfit.norm)])
    return lambda k: whole
