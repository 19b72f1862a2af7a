"""Maximum-likelihood fit of a Gaussian mixture of one common width, for free means or scaled ones."""

from dataclasses import dataclass, replace
from typing import Protocol

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


class Model(Protocol):
    """What is free in a mixture: how means and weights follow from a round, see `maximise`."""

    def means(self, now: Components, slope: Float, curvature: Float) -> Float:
        """Return new means from the derivative of the log-likelihood by each, and the negative second one."""

    def weights(self, now: Components, members: Float) -> Float:
        """Return new weights from the sums of the memberships of each component."""


class FreeMeans:
    """Mixture with free means and weights."""

    def means(self, now: Components, slope: Float, curvature: Float) -> Float:
        """Move each mean to the maximum of its own parabola."""
        step = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 0)
        return np.asarray(now.means + step)

    def weights(self, now: Components, members: Float) -> Float:
        """Return the shares of the members."""
        return np.asarray(members / members.sum())


@dataclass(frozen=True)
class KnownMeans:
    """Mixture with fixed means, and weights that are fitted or not."""

    free_weights: bool

    def means(self, now: Components, slope: Float, curvature: Float) -> Float:
        """Return the means as they are."""
        return now.means

    def weights(self, now: Components, members: Float) -> Float:
        """Return the shares of the members, or the weights as they are."""
        return np.asarray(members / members.sum()) if self.free_weights else now.weights


@dataclass(frozen=True, eq=False)
class ScaledLibrary:
    """Mixture whose means are a library times one free factor within limits; its weights are free.

    Parameters
    ----------
    library : ndarray of shape (n_components,), float64
    lowest, highest : float
        Limits of the factor.
    """

    library: Float
    lowest: float
    highest: float

    def means(self, now: Components, slope: Float, curvature: Float) -> Float:
        """Move the factor to the maximum of its parabola."""
        bend = float(self.library**2 @ curvature)
        if not bend:  # no column seems to have an atom
            return now.means
        factor = now.means[-1] / self.library[-1] + self.library @ slope / bend
        return np.asarray(self.library * np.clip(factor, self.lowest, self.highest))

    def weights(self, now: Components, members: Float) -> Float:
        """Return the shares of the members."""
        return np.asarray(members / members.sum())


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

    def proposal(self, sample: Sample, model: Model) -> Components:
        """Maximisation step: exact where all values have one variance, else one of Fisher scoring.

        The Poisson variance makes the width of a component tell of its mean as well.
        """
        now, sums = self.components, self.sums
        per_dose = np.where(now.means > 0, sample.per_dose, 0.0)
        means = model.means(
            now,
            sums[PULL] + per_dose / 2 * sums[EXCESS],
            sums[STIFFNESS] + per_dose**2 / 2 * sums[CURVATURE],
        )
        step = means - now.means
        excess = (sums[EXCESS] - 2 * step * sums[CROSS] + step**2 * sums[CURVATURE]).sum()
        variance = max(now.variance + excess / sums[CURVATURE].sum(), sample.smallest_variance)
        weights = model.weights(now, sums[MEMBERS])
        return Components(means, weights, float(variance))


def maximise(start: Components, sample: Sample, model: Model, *, rounds: int = MOST_ROUNDS) -> Run:
    """Raise the likelihood of a mixture by expectation-maximisation, never lowering it.

    Parameters
    ----------
    start : Components
    sample : Sample
    model : Model
        What is free: `FreeMeans`, `KnownMeans` or `ScaledLibrary`.
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
        proposal = run.proposal(sample, model)
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
