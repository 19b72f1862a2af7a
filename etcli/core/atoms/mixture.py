"""Which maxima are atoms, and of which species: a mixture of normal distributions above a decaying one."""

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2

Doubles = NDArray[np.float64]

MOST_SPECIES = 4
ROUNDS, SETTLED = 500, 1e-7
NARROWEST = 0.02
"""Least standard deviation of a species, in its mean."""
STEEPEST = 3.0
"""How many times the mean of what is no atom must fit between the threshold and the lightest species."""
FIRST_CUTS = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Where the search begins: what is below, in the 90th percentile, is no atom."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """What maxima are by their score.

    Parameters
    ----------
    threshold : float
        Below it nothing was looked for.
    decay : float
        Mean of what is no atom, above the threshold: an exponential distribution.
    mean, deviation : ndarray of shape (n_species,), float64
        Of the normal distributions of the species, the lightest first.
    share : ndarray of shape (1 + n_species,), float64
        Of those that are no atoms, and of every species; their sum is 1.
    log_likelihood : float
        Of the scores it was fitted to.
    """

    threshold: float
    decay: float
    mean: Doubles
    deviation: Doubles
    share: Doubles
    log_likelihood: float = -np.inf

    def probabilities(self, score: Doubles) -> Doubles:
        """Return how likely a score stands for no atom and for every species.

        Parameters
        ----------
        score : ndarray of shape (n,), float64

        Returns
        -------
        ndarray of shape (n, 1 + n_species), float64
            Their sums are 1. Beyond the mean of the heaviest species all are of it, and below the threshold
            none is an atom.
        """
        density = self._densities(np.clip(score, self.threshold, self.mean[-1]))
        found = density / density.sum(axis=1, keepdims=True)
        found[score < self.threshold] = np.eye(1, found.shape[1])
        return np.asarray(found)

    def _densities(self, score: Doubles) -> Doubles:
        """Return the weighted densities of all classes."""
        decaying = np.exp(-(score - self.threshold) / self.decay) / self.decay
        away = (score[:, np.newaxis] - self.mean) / self.deviation
        normal = np.exp(-(away**2) / 2) / (sqrt(2 * pi) * self.deviation)
        return np.maximum(self.share * np.column_stack([decaying, normal]), 1e-300)

    def improved(self, score: Doubles) -> "Mixture":
        """Return the mixture after one step of expectation and maximisation, with the likelihood before."""
        density = self._densities(score)
        total = density.sum(axis=1)
        belongs = density / total[:, np.newaxis]
        count = belongs.sum(axis=0) + 1e-12
        mean = (belongs[:, 1:] * score[:, np.newaxis]).sum(axis=0) / count[1:]
        spread = (belongs[:, 1:] * (score[:, np.newaxis] - mean) ** 2).sum(axis=0) / count[1:]
        decay = float((belongs[:, 0] * (score - self.threshold)).sum() / count[0])
        order = np.argsort(mean)
        mean, spread = mean[order], spread[order]
        return Mixture(
            self.threshold,
            float(np.clip(decay, 1e-6 * mean[-1], max(mean[0] - self.threshold, 1e-6 * mean[-1]) / STEEPEST)),
            mean,
            np.maximum(np.sqrt(spread), NARROWEST * mean),
            np.concatenate([count[:1], count[1:][order]]) / len(score),
            float(np.log(total).sum()),
        )

    def criterion(self, score: Doubles) -> float:
        """Return the integrated completed likelihood: the less, the better the classes are told apart.

        Parameters
        ----------
        score : ndarray of shape (n,), float64
            To which the mixture was fitted.

        Returns
        -------
        float
            ``-2 Σ log maxₖ sₖ fₖ(x) + m log n`` with m free parameters, shares s and densities f.
        """
        n_free = 3 * len(self.mean) + 1
        return float(n_free * log(len(score)) - 2 * np.log(self._densities(score).max(axis=1)).sum())


def fit_mixture(score: Doubles, *, threshold: float, n_species: int | None = None) -> Mixture:
    """Fit a mixture to the scores of maxima.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        All above the threshold.
    threshold : float
        Below it no maxima were looked for.
    n_species : int, optional
        How many species there are; by default as many, 1 to 4, as the integrated completed likelihood says.

    Returns
    -------
    Mixture
        The most likely one from several starts.

    References
    ----------
    C. Biernacki, G. Celeux, G. Govaert, IEEE Trans. Pattern Anal. Mach. Intell. 22, 719 (2000),
    doi:10.1109/34.865189: the criterion.
    """
    counts = range(1, MOST_SPECIES + 1) if n_species is None else (n_species,)
    found = []
    for count in counts:
        starts = [_start(score, threshold, cut, count) for cut in FIRST_CUTS]
        fitted = [_converged(start, score) for start in starts if start is not None]
        if fitted:
            found.append(max(fitted, key=lambda mixture: mixture.log_likelihood))
    if not found:
        return _single(score, threshold, n_species or 1)
    return min(found, key=lambda mixture: mixture.criterion(score))


def _start(score: Doubles, threshold: float, cut: float, n_species: int) -> Mixture | None:
    """Return a mixture to begin with, or nothing where the cut leaves too few atoms."""
    top = float(np.percentile(score, 90))
    above = score[score > cut * top]
    if len(above) < 2 * n_species:
        return None
    guess = np.quantile(above, (np.arange(n_species) + 0.5) / n_species)
    try:
        mean, label = kmeans2(above[:, np.newaxis], guess[:, np.newaxis], minit="matrix", missing="raise")
    except ClusterError:  # an empty one
        return None
    mean = mean[:, 0]
    count = np.bincount(label, minlength=n_species)
    if not np.isfinite(mean).all() or count.min() < 2 or mean.min() <= threshold:
        return None
    order = np.argsort(mean)
    deviation = np.array([above[label == k].std() for k in order])
    mean = mean[order]
    below = len(score) - len(above)
    share = np.concatenate([[below + 1], count[order]]) / (len(score) + 1)
    return Mixture(
        threshold,
        (mean[0] - threshold) / (2 * STEEPEST),
        mean,
        np.maximum(deviation, NARROWEST * mean),
        share,
    )


def _single(score: Doubles, threshold: float, n_species: int) -> Mixture:
    """Return what to think of a handful of maxima: that all are atoms."""
    mean = np.quantile(score, (np.arange(n_species) + 0.5) / n_species)
    share = np.full(1 + n_species, 1 / n_species)
    share[0] = 1e-6
    return Mixture(threshold, (mean[0] - threshold) / STEEPEST + 1e-12, mean, 0.2 * mean, share)


def _converged(mixture: Mixture, score: Doubles) -> Mixture:
    """Return the mixture after as many steps as change anything."""
    for _ in range(ROUNDS):
        before, mixture = mixture, mixture.improved(score)
        if abs(mixture.log_likelihood - before.log_likelihood) < SETTLED * abs(mixture.log_likelihood):
            break
    return mixture
