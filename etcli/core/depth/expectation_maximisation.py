"""Maximum-likelihood fit of a Gaussian mixture of one common width, for free means or scaled ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.depth._mixture_sums import (
    CROSS,
    CURVATURE,
    EXCESS,
    MEMBERS,
    N_SUMS,
    PULL,
    STIFFNESS,
    mixture_sums,
)

Float = NDArray[np.float64]
Move = Callable[[Float, Float, Float], Float]
"""Returns new means from the means and the first and second derivatives of the likelihood by them."""

MOST_ROUNDS = 3000
LEAST_GAIN = 1e-6
"""A run has converged when a round raises the log-likelihood by less."""
MOST_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class Sample:
    """Values that a mixture is fitted to, with what is known of their scatter.

    Parameters
    ----------
    x : ndarray of shape (n,), float64
        Cross-sections in Å².
    error_variance : ndarray of shape (n,) or (0,), float64
        Squared standard errors in Å⁴; empty for none.
    per_dose : float
        Poisson variance for a mean of 1 Å²: the inverse of the dose in electrons per Å², 0 for none.
    log_prior : ndarray of shape (n, n_components) or (0, 0), float64
        Log-probability of other evidence on each value, given its component; empty for none.
    smallest_variance : float
        Lower limit of the common variance in Å⁴.
    """

    x: Float
    error_variance: Float
    per_dose: float
    log_prior: Float
    smallest_variance: float


@dataclass(frozen=True, eq=False)
class Components:
    """Components of a mixture.

    Parameters
    ----------
    means, weights : ndarray of shape (n_components,), float64
    variance : float
        Common variance, besides errors and Poisson noise.
    """

    means: Float
    weights: Float
    variance: float

    def towards(self, other: "Components", share: float) -> "Components":
        """Components between these and others."""
        return Components(
            self.means + share * (other.means - self.means),
            self.weights + share * (other.weights - self.weights),
            self.variance + share * (other.variance - self.variance),
        )

    def variances(self, sample: Sample) -> Float:
        """Variance of each component without errors of single values, shape (n_components,)."""
        return self.variance + np.maximum(self.means, 0.0) * sample.per_dose

    def log_densities(self, sample: Sample) -> Float:
        """Compute log(weight × prior × density) of each value and component, shape (n, n_components)."""
        variance = self.variances(sample)[np.newaxis]
        if len(sample.error_variance):
            variance = variance + sample.error_variance[:, np.newaxis]
        squares = (sample.x[:, np.newaxis] - self.means) ** 2 / variance
        logs: Float = _log(self.weights) - (squares + np.log(2 * np.pi * variance)) / 2
        return logs + sample.log_prior if len(sample.log_prior) else logs


def each_mean(means: Float, slope: Float, curvature: Float) -> Float:
    """Move of free means: each to the maximum of its own parabola."""
    return means + np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 0)


def fixed_means(means: Float, slope: Float, curvature: Float) -> Float:
    """Move of known means: none."""
    return means


def scaled_means(shape: Float, lowest: float, highest: float) -> Move:
    """Create the move of means that are one factor times a fixed shape, the factor within limits."""
    at = int(np.argmax(np.abs(shape)))

    def move(means: Float, slope: Float, curvature: Float) -> Float:
        factor = means[at] / shape[at] + float(shape @ slope) / float(shape**2 @ curvature)
        return shape * np.clip(factor, lowest, highest)

    return move


@dataclass(frozen=True, eq=False)
class Run:
    """State of a fit: components with their log-likelihood and the sums for the next round."""

    components: Components
    log_likelihood: float
    sums: Float

    @classmethod
    def at(cls, components: Components, sample: Sample) -> "Run":
        """Evaluate components."""
        sums = np.empty((N_SUMS, len(components.means)))
        log_likelihood = mixture_sums(
            sample.x,
            sample.error_variance,
            components.means,
            components.variances(sample),
            _log(components.weights),
            sample.log_prior,
            sums,
        )
        return cls(components, float(log_likelihood), sums)

    def proposal(self, sample: Sample, move: Move, *, free_weights: bool) -> Components:
        """Maximisation step: exact where all values have one variance, else one of Fisher scoring.

        The Poisson variance makes the width of a component tell of its mean as well.
        """
        now, sums = self.components, self.sums
        per_dose = np.where(now.means > 0, sample.per_dose, 0.0)
        means = move(
            now.means,
            sums[PULL] + per_dose / 2 * sums[EXCESS],
            sums[STIFFNESS] + per_dose**2 / 2 * sums[CURVATURE],
        )
        step = means - now.means
        excess = (sums[EXCESS] - 2 * step * sums[CROSS] + step**2 * sums[CURVATURE]).sum()
        variance = max(now.variance + excess / sums[CURVATURE].sum(), sample.smallest_variance)
        weights = sums[MEMBERS] / sums[MEMBERS].sum() if free_weights else now.weights
        return Components(means, weights, float(variance))


def maximise(
    start: Components,
    sample: Sample,
    move: Move,
    *,
    free_weights: bool = True,
    rounds: int = MOST_ROUNDS,
) -> Run:
    """Raise the likelihood of a mixture by expectation-maximisation, never lowering it.

    Parameters
    ----------
    start : Components
    sample : Sample
    move : callable
        How the means follow their derivatives: `each_mean`, `fixed_means` or `scaled_means`.
    free_weights : bool
        Whether the weights are fitted.
    rounds : int
        Largest number of rounds.

    Returns
    -------
    Run
        The last one, after convergence if there were rounds enough.

    References
    ----------
    A. P. Dempster, N. M. Laird, D. B. Rubin, J. R. Stat. Soc. B 39, 1 (1977).
    """
    run = Run.at(start, sample)
    for _ in range(rounds):
        proposal = run.proposal(sample, move, free_weights=free_weights)
        new = Run.at(proposal, sample)
        for halving in range(MOST_HALVINGS):  # scoring may overshoot, an exact step cannot
            if new.log_likelihood >= run.log_likelihood:
                break
            new = Run.at(run.components.towards(proposal, 0.5 ** (halving + 1)), sample)
        gain = new.log_likelihood - run.log_likelihood
        if gain > 0:
            run = new
        if gain < LEAST_GAIN:
            break
    return run


def in_order(components: Components) -> Components:
    """Sort components by their means."""
    order = np.argsort(components.means, kind="stable")
    return replace(components, means=components.means[order], weights=components.weights[order])


def _log(weights: Float) -> Float:
    """Return logarithms, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.log(weights)
