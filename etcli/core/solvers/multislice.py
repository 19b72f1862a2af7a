"""Phase-contrast atomic tomography: the potential of a specimen from images at several tilts and defoci."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.multislice.misfit import MultisliceMisfit
from etcli.core.solvers.fista import fista
from etcli.core.solvers.momentum import FunctionRestart
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.sweeps import StepRule, Sweep, Update, WeightRule
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

STEP = 0.5
"""Length of a gradient step with one tilt, times the bound of the second derivative."""
INNER_STEPS = 15
NOISE_FRACTION = 0.5
"""Automatic weight of the prior: this times the noise of a sweep's gradient steps."""
MAD_TO_SIGMA = 1.4826
MOST_SAMPLES = 1 << 20


def shuffled_tilts(misfit: MultisliceMisfit, *, per_step: int, seed: int) -> StepRule:
    """Create the step rule that takes the tilts in a random order, a few at a time."""
    n_tilts, step = len(misfit.tilts), STEP / misfit.norm

    def sweep(k: int) -> Sweep:
        order = np.random.default_rng((seed, k)).permutation(n_tilts)
        parts = [misfit.of_views(order[first : first + per_step]) for first in range(0, n_tilts, per_step)]
        return Sweep([Update(parts, [step] * len(parts), misfit.norm, INNER_STEPS)])

    return sweep


def weight_from_noise(shape: tuple[int, int, int], found: Callable[[float], None]) -> WeightRule:
    """Create the weight rule that follows the noise of the gradient steps."""
    z, x = ((np.arange(n) - (n - 1) / 2) ** 2 for n in shape[:2])
    inside = z[:, np.newaxis] + x <= (min(shape[:2]) / 2) ** 2
    stride = max(1, int(inside.sum()) * shape[2] // MOST_SAMPLES)

    def weight(k: int, update: Update, before: Array, after: Array) -> float:
        rows = np.arange(k % stride, shape[2], stride)
        change = (after[..., rows] - before[..., rows])[inside]
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(change - np.median(change))))
        found(NOISE_FRACTION * sigma)
        return NOISE_FRACTION * sigma

    return weight
