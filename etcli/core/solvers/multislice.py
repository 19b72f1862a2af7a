"""Phase-contrast atomic tomography: the potential of a specimen from images at several tilts and defoci."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import centre
from etcli.core.multislice.phase_misfit import PhaseContrastMisfit
from etcli.core.solvers.fista import FistaState, fista
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.momentum import FunctionRestart
from etcli.core.solvers.priors import HELD, prior_of
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.steps import on_host
from etcli.core.solvers.sweeps import StepRule, Sweep, Update, WeightRule
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]

STEP = 0.5
"""Length of the gradient step of a tilt, times the bound of the second derivative. A step for the images of
one tilt is longer than one for all of them could be: the steps of several tilts are 1 at most together."""
INNER_STEPS = 15
"""Iterations of the prior's proximal map; with fewer, noise remains that looks like atoms."""
NOISE_FRACTION = {"tv": 0.5, "l1": 2.0, "none": 0.0}
"""Automatic weight of each prior, in standard deviations of the noise of a sweep's gradient steps."""
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MOST_SAMPLES = 1 << 20
"""Number of voxels from which the noise is measured."""
LEFT_OUT, FEWEST_TILTS = 5, 15
"""Number of tilts left out of the first sweeps, to test the model, and smallest number of tilts for that."""
TESTED_AFTER = 6
"""Number of these sweeps. After more of them, noise is fitted, and the left-out tilts are predicted worse."""


@dataclass(eq=False)
class LeftOutTilts:
    """Tilts that the first sweeps do not use, so that their images test the model.

    A model with a wrong sign of the defocus fits noisy images nearly as well as the true one, but it does not
    predict others.

    Parameters
    ----------
    tilts : ndarray of intp
        The tilts left out, counted from 0.
    sweeps : int
        Number of sweeps without them.
    residual, contrast : float
        ``√Σ (√Î - √I)²`` and ``√Σ (√I - 1)²`` of their images after these sweeps; NaN before.
    """

    tilts: NDArray[np.intp]
    sweeps: int
    residual: float = field(default=np.nan)
    contrast: float = field(default=np.nan)

    @classmethod
    def of(cls, n_tilts: int, iterations: int, *, refined: bool = False) -> "LeftOutTilts":
        """Choose tilts spread evenly over the series; none if there are too few tilts or iterations.

        Parameters
        ----------
        n_tilts, iterations : int
            Number of tilts, and of all sweeps.
        refined : bool
            Whether the images are refined, so that the first sweeps show little.
        """
        enough = n_tilts >= FEWEST_TILTS and iterations >= TESTED_AFTER
        n = LEFT_OUT if enough else 0
        tilts = (np.arange(n) * n_tilts + n_tilts // 2) // max(n, 1)
        half = iterations // 2
        return cls(tilts, half if refined else min(half, TESTED_AFTER))

    def test(self, misfit: PhaseContrastMisfit, sweep: int, volume: Array) -> None:
        """Compare the tilts with their images after the last sweep without them."""
        if sweep == self.sweeps and self.tilts.size:
            part = misfit.of_views(self.tilts)
            self.residual, self.contrast = part.residual(volume), part.size


def shuffled_tilts(
    misfit: PhaseContrastMisfit, *, per_step: int, seed: int, left_out: LeftOutTilts | None = None
) -> StepRule:
    """Create the step rule that takes the tilts in a random order, a few of them in a step.

    Parameters
    ----------
    misfit : PhaseContrastMisfit
        Misfit to all images.
    per_step : int
        Number of tilts whose steps start from the same volume.
    seed : int
        Seed of the order, which differs from sweep to sweep.
    left_out : LeftOutTilts, optional
        Tilts that the first sweeps do not use.

    Returns
    -------
    callable
        A sweep has one update, so that the proximal map of the prior follows the steps of all tilts.
    """
    n_tilts, step = len(misfit.tilts), min(STEP, 1 / per_step) / misfit.norm

    def sweep(k: int) -> Sweep:
        order = np.random.default_rng((seed, k)).permutation(n_tilts)
        if left_out is not None and k <= left_out.sweeps:
            order = order[~np.isin(order, left_out.tilts)]
        share = len(order) / n_tilts
        return Sweep([Update([misfit.in_steps(order, per_step)], [step], misfit.norm, INNER_STEPS, share)])

    return sweep


def weight_from_noise(shape: tuple[int, int, int], prior: str = "tv") -> WeightRule:
    """Create the weight rule that follows the noise of the gradient steps.

    The steps of a sweep move most voxels, which are empty or change little, by noise only. The weight is a
    fraction of its standard deviation, estimated from the median absolute deviation in the ellipsoid within
    the volume: towards the corners noise is weaker, as their waves leave the images.

    Parameters
    ----------
    shape : (int, int, int)
        Shape (nz, nx, ny) of the volume.
    prior : {"tv", "l1", "none"}

    Returns
    -------
    callable
    """
    z, x, y = (((np.arange(n) - centre(n)) / (n / 2)) ** 2 for n in shape)
    stride = max(1, prod(shape) // MOST_SAMPLES)
    inside = z[:, np.newaxis, np.newaxis] + x[:, np.newaxis] + y[::stride] <= 1

    def weight(k: int, update: Update, before: Array, after: Array) -> float:
        change = on_host(after[..., ::stride] - before[..., ::stride])[inside]
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(change - np.median(change))))
        return NOISE_FRACTION[prior] * sigma

    return weight


def solve_volume(
    parameters: MethodParameters,
    misfit: PhaseContrastMisfit,
    callback: Callback | None = None,
    *,
    initial: Array | None = None,
    between: Callable[[int, Array], bool] | None = None,
    start: FistaState | None = None,
    keep: Callable[[FistaState], None] | None = None,
    used_weight: Callable[[float], None] | None = None,
    left_out: LeftOutTilts | None = None,
    zeros: Zeros = in_memory,
) -> Array:
    """Reconstruct the potential.

    Parameters
    ----------
    parameters : MethodParameters
        Of the method multislice; if ``weight_from_noise``, the weight follows `weight_from_noise`.
    misfit : PhaseContrastMisfit
    callback, initial, between, start, keep, zeros
        As for `etcli.core.solvers.fista.fista`.
    used_weight : callable, optional
        Called with the weight of the prior, in V, in every sweep.
    left_out : LeftOutTilts, optional
        Tilts that the first sweeps do not use; receives how well they are predicted.

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
    from_noise = weight_from_noise(misfit.shape, parameters.prior)

    def weight(k: int, update: Update, before: Array, after: Array) -> float:
        value = from_noise(k, update, before, after) if automatic else parameters.weight
        if used_weight:
            used_weight(value)
        return value

    def test_and_refine(sweep: int, volume: Array) -> bool:
        if left_out is not None:
            left_out.test(misfit, sweep, volume)
        return bool(between and between(sweep, volume))

    return fista(
        misfit,
        prior_of(parameters, misfit.shape, threads=misfit.threads, zeros=zeros),
        weight=weight,
        iterations=parameters.iterations,
        initial=initial,
        steps=shuffled_tilts(
            misfit, per_step=parameters.subset_size, seed=parameters.seed, left_out=left_out
        ),
        restart=FunctionRestart(),
        between=test_and_refine,
        start=start,
        keep=keep,
        zeros=zeros,
        callback=callback,
    )


def volumes_held(parameters: MethodParameters) -> int:
    """Return the number of arrays of the size of the volume that `solve_volume` holds."""
    return HELD[parameters.prior]
