"""Phase-contrast atomic tomography: the potential of a specimen from images at several tilts and defoci."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.solvers.fista import FistaState, fista
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.momentum import FunctionRestart
from etcli.core.solvers.priors import HELD, prior_of
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.sweeps import StepRule, Sweep, Update, WeightRule
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

STEP = 0.5
"""Length of the gradient step of a tilt, times the bound of the second derivative. A step for the images of
one tilt is longer than one for all of them could be."""
INNER_STEPS = 15
"""Iterations of the prior's proximal map; with fewer, noise remains that looks like atoms."""
NOISE_FRACTION = 0.5
"""Automatic weight of the prior, as a fraction of the noise of a sweep's gradient steps."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MOST_SAMPLES = 1 << 20
"""Number of voxels from which the noise is measured."""


def shuffled_tilts(misfit: MultisliceMisfit, *, per_step: int, seed: int) -> StepRule:
    """Create the step rule that takes the tilts in a random order, a few of them in a step.

    Parameters
    ----------
    misfit : MultisliceMisfit
        Misfit to all images.
    per_step : int
        Number of tilts whose steps start from the same volume.
    seed : int
        Seed of the order, which differs from sweep to sweep.

    Returns
    -------
    callable
        A sweep has one update, so that the proximal map of the prior follows the steps of all tilts.
    """
    n_tilts, step = len(misfit.tilts), STEP / misfit.norm

    def sweep(k: int) -> Sweep:
        order = np.random.default_rng((seed, k)).permutation(n_tilts)
        parts = [misfit.of_views(order[first : first + per_step]) for first in range(0, n_tilts, per_step)]
        return Sweep([Update(parts, [step] * len(parts), misfit.norm, INNER_STEPS)])

    return sweep


def weight_from_noise(shape: tuple[int, int, int]) -> WeightRule:
    """Create the weight rule that follows the noise of the gradient steps.

    The steps of a sweep move most voxels, which are empty or change little, by noise only. The weight is a
    fraction of its standard deviation, estimated from the median absolute deviation within the cylinder that
    all views show.

    Parameters
    ----------
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volume.

    Returns
    -------
    callable
    """
    z, x = ((np.arange(n) - (n - 1) / 2) ** 2 for n in shape[:2])
    inside = z[:, np.newaxis] + x <= (min(shape[:2]) / 2) ** 2
    stride = max(1, int(inside.sum()) * shape[2] // MOST_SAMPLES)

    def weight(k: int, update: Update, before: Array, after: Array) -> float:
        rows = slice(k % stride, None, stride)
        change = (after[..., rows] - before[..., rows])[inside]
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(change - np.median(change))))
        return NOISE_FRACTION * sigma

    return weight


def solve_volume(
    parameters: MethodParameters,
    misfit: MultisliceMisfit,
    callback: Callback | None = None,
    *,
    initial: Array | None = None,
    between: Callable[[int, Array], bool] | None = None,
    start: FistaState | None = None,
    keep: Callable[[FistaState], None] | None = None,
    used_weight: Callable[[float], None] | None = None,
    zeros: Zeros = in_memory,
) -> Array:
    """Reconstruct the potential.

    Parameters
    ----------
    parameters : MethodParameters
        Of the method multislice; if ``weight_from_noise``, the weight follows `weight_from_noise`.
    misfit : MultisliceMisfit
    callback, initial, between, start, keep, zeros
        As for `etcli.core.solvers.fista.fista`.
    used_weight : callable, optional
        Called with the weight of the prior, in V, in every sweep.

    Returns
    -------
    ndarray of shape ``misfit.shape``, float32
        Potential in V, the mean over each voxel.

    Notes
    -----
    A sweep makes gradient steps with a few tilts at a time, in random order, and ends with the proximal map
    of the prior, which includes positivity, and with Nesterov's momentum. If the residual rises, the
    momentum is restarted and the sweep kept.

    References
    ----------
    D. Ren, C. Ophus, M. Chen, L. Waller, Ultramicroscopy 208, 112860 (2020),
    doi:10.1016/j.ultramic.2019.112860: algorithm 1.
    """
    automatic = parameters.weight_from_noise
    from_noise = weight_from_noise(misfit.shape)

    def weight(k: int, update: Update, before: Array, after: Array) -> float:
        value = from_noise(k, update, before, after) if automatic else parameters.weight
        if used_weight:
            used_weight(value)
        return value

    return fista(
        misfit,
        prior_of(parameters, misfit.shape, threads=misfit.threads, zeros=zeros),
        weight=weight,
        iterations=parameters.iterations,
        initial=initial,
        steps=shuffled_tilts(misfit, per_step=parameters.subset_size, seed=parameters.seed),
        restart=FunctionRestart(),
        between=between,
        start=start,
        keep=keep,
        zeros=zeros,
        callback=callback,
    )


def volumes_held(parameters: MethodParameters) -> int:
    """Return the number of arrays of the size of the volume that `solve_volume` holds."""
    return HELD[parameters.prior]
