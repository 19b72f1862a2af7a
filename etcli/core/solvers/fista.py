"""FISTA: least squares with a prior on the whole volume, by proximal gradient steps with momentum."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.solvers.checks import check_iterations
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.momentum import Momentum, RestartRule
from etcli.core.solvers.priors import HELD, Prior, prior_of
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.steps import on_device_of
from etcli.core.solvers.sweeps import StepRule, WeightRule, all_at_once, fixed_weight, ordered_subsets
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]


@dataclass(eq=False)
class FistaState:
    """State of `fista` between two sweeps, from which it goes on with the same digits.

    Parameters
    ----------
    sweep : int
        Number of finished sweeps.
    volume, ahead : ndarray, float32
        Volume, and starting point of the next step.
    momentum : (float, float)
        State of the momentum; see `etcli.core.solvers.momentum.Momentum.state`.
    dual : ndarray or None
        State of the prior.
    """

    sweep: int
    volume: Array
    ahead: Array
    momentum: tuple[float, float]
    dual: Array | None = None

    def release(self) -> None:
        """Drop the arrays, which are as large as those of the solver."""
        self.volume = self.ahead = np.empty(0, np.float32)
        self.dual = None


def fista(
    misfit: Misfit,
    prior: Prior,
    *,
    weight: float | WeightRule = 0.0,
    iterations: int,
    initial: Array | None = None,
    steps: StepRule | None = None,
    restart: RestartRule | None = None,
    between: Callable[[int, Array], bool] | None = None,
    start: FistaState | None = None,
    mask: NDArray[np.bool_] | None = None,
    keep: Callable[[FistaState], None] | None = None,
    zeros: Zeros = in_memory,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct the volume x that minimises ``misfit(x) + weight prior(x)``.

    Parameters
    ----------
    misfit : Misfit
        Misfit to the views, such as ``½ ‖A x - y‖²``: a `SlabMisfit`, or an `OrientedMisfit`.
    prior : Prior
        For example one that `etcli.core.solvers.priors.make_prior` returns.
    weight : float or WeightRule
        Weight of the prior, in the units of a view times those of its back-projection; or a rule that sets
        it after each update's gradient steps.
    iterations : int
        Sweeps over all views.
    initial : ndarray of shape ``misfit.shape``, optional
        Initial volume, zero by default.
    steps : StepRule, optional
        Steps of each sweep. By default those of `ordered_subsets` if there is a weight, else one step with
        all views.
    restart : RestartRule, optional
        Condition that restarts the momentum; by default a step that points against it.
    between : callable, optional
        ``between(k, x)`` after sweep k and before the next. It may refine parameters of the misfit, such as
        shifts of the views, and change x; it returns whether the momentum must be restarted because of that.
    start : FistaState, optional
        State to go on from; its arrays are copied and then released.
    mask : ndarray of shape ``misfit.shape``, bool, optional
        Voxels outside are kept at zero: after the prior's step, so that the prior sees their zeros.
    keep : callable, optional
        ``keep(state)`` after every sweep but the last; its arrays change afterwards.
    zeros : callable
        ``zeros(shape)`` creates the three arrays of the size of the volume that it holds.
    callback : callable, optional
        ``callback(k, residual, x)`` after k sweeps, k from 1, with ‖A v - y‖ at the points v at which the
        residuals of the views were last computed, and the volume, not to be modified.

    Returns
    -------
    ndarray of shape ``misfit.shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When there are no iterations or the weight is negative.

    Notes
    -----
    x ← prox(v - c ∇ₖ(v)/L) and v ← x + β Δx: proximal gradient steps with `Momentum`. If there is a weight,
    three quarters of the sweeps use subsets of the views, with one step per subset k: c is the number of all
    views divided by that of the subset, so a sweep makes about c steps. Such steps end in a cycle around the
    minimum, a few per cent wide where views are noisy, so the remaining sweeps use all views at once. L is
    the largest eigenvalue of c AₖᵀAₖ of all subsets, and a bound of that of AᵀA.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    D. Kim, S. Ramani, J. A. Fessler, IEEE Trans. Med. Imaging 34, 167 (2015), doi:10.1109/TMI.2014.2350962:
    subsets with momentum.
    """
    check_iterations("FISTA", iterations)
    if not callable(weight) and not weight >= 0:
        raise UsageError(f"a weight of {weight:g} makes no sense; use zero or more")
    if steps is None:
        steps = all_at_once(misfit) if weight == 0 else ordered_subsets(misfit, iterations)
    weight_rule = weight if callable(weight) else fixed_weight(weight)
    volume, new, ahead = (zeros(misfit.shape) for _ in range(3))
    if initial is not None:
        volume[...] = ahead[...] = on_device_of(volume, initial)
    momentum = Momentum(len(volume), restart=restart, threads=misfit.threads)
    if start is not None:
        volume[...], ahead[...] = (on_device_of(volume, each) for each in (start.volume, start.ahead))
        momentum.state, prior.state = start.momentum, start.dual
        start.release()
    for k in range(start.sweep + 1 if start else 1, iterations + 1):
        sweep = steps(k)
        if sweep.fresh:
            momentum.restart()
        square = 0.0
        for update in sweep.updates:
            new[...] = ahead
            cost = sum(
                part.descend(new, step) ** 2 for part, step in zip(update.parts, update.steps, strict=True)
            )
            cost /= update.share
            prior.minimise(new, weight_rule(k, update, ahead, new), iterations=update.inner_steps)
            if mask is not None:
                new *= mask
            momentum.look_ahead(volume, new, ahead, cost=sqrt(cost))
            volume, new = new, volume
            square += cost
        if callback:
            callback(k, sqrt(square / sweep.passes), volume)
        if between and k < iterations and between(k, volume):
            momentum.restart()
            ahead[...] = volume
        if keep and k < iterations:
            keep(FistaState(k, volume, ahead, momentum.state, prior.state))
    return volume


def solve_volume(
    parameters: MethodParameters,
    misfit: Misfit,
    callback: Callback | None = None,
    *,
    zeros: Zeros = in_memory,
    mask: NDArray[np.bool_] | None = None,
) -> Array:
    """Reconstruct the whole volume, within a mask if there is one."""
    prior = prior_of(parameters, misfit.shape, threads=misfit.threads, zeros=zeros)
    return fista(
        misfit,
        prior,
        weight=parameters.weight,
        iterations=parameters.iterations,
        zeros=zeros,
        callback=callback,
        mask=mask,
    )


def volumes_held(parameters: MethodParameters) -> int:
    """Return the number of arrays of the size of the volume that `fista` holds."""
    return HELD[parameters.prior]
