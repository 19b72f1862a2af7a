"""Which maxima are atoms, and of which species: a mixture of normal distributions above a decaying one."""

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.special import gammaln

Doubles = NDArray[np.float64]

MOST_SPECIES = 4
ROUNDS, SETTLED = 500, 1e-7
NARROWEST = 0.02
"""Least standard deviation of a species, in its mean."""
STEEPEST = 3.0
"""How many times the mean of what is no atom must fit between the threshold and the lightest species."""
TINY = 1e-6
MOST_SHAPE = 20.0
OUTLIERS = 0.003
"""Share of what is no atom whose score may be anything below the lightest species."""
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
        Mean of what is no atom, above the threshold: a gamma distribution, and some outliers.
    mean, deviation : ndarray of shape (n_species,), float64
        Of the normal distributions of the species, the lightest first.
    share : ndarray of shape (1 + n_species,), float64
        Of those that are no atoms, and of every species; their sum is 1.
    shape : float
        Of that distribution: 1 for an exponential one, more where it has a hump.
    log_likelihood : float
        Of the scores it was fitted to.
    """

    threshold: float
    decay: float
    mean: Doubles
    deviation: Doubles
    share: Doubles
    shape: float = 1.0
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
        density = self.densities(np.clip(score, self.threshold, self.mean[-1]))
        found = density / density.sum(axis=1, keepdims=True)
        found[score < self.threshold] = np.eye(1, found.shape[1])
        return np.asarray(found)

    def densities(self, score: Doubles) -> Doubles:
        """Return the densities of no atom and of every species at some scores, times their shares."""
        away = (score[:, np.newaxis] - self.mean) / self.deviation
        normal = np.exp(-(away**2) / 2) / (sqrt(2 * pi) * self.deviation)
        return np.asarray(
            np.maximum(self.share * np.column_stack([sum(self._others(score)), normal]), 1e-300)
        )

    def _others(self, score: Doubles) -> tuple[Doubles, Doubles]:
        """Return the density of what is no atom: most of it decays, the rest is even up to the lightest."""
        above = np.maximum(score - self.threshold, TINY * self.mean[-1])
        scale = self.decay / self.shape
        relative = above / scale
        logarithm = (self.shape - 1) * np.log(relative) - relative - gammaln(self.shape) - log(scale)
        decaying = (1 - OUTLIERS) * np.exp(logarithm)
        even = OUTLIERS * (score <= self.mean[0]) / (self.mean[0] - self.threshold)
        return decaying, even

    def improved(self, score: Doubles) -> "Mixture":
        """Return the mixture after one step of expectation and maximisation, with the likelihood before."""
        density = self.densities(score)
        total = density.sum(axis=1)
        belongs = density / total[:, np.newaxis]
        count = belongs.sum(axis=0) + 1e-12
        mean = (belongs[:, 1:] * score[:, np.newaxis]).sum(axis=0) / count[1:]
        spread = (belongs[:, 1:] * (score[:, np.newaxis] - mean) ** 2).sum(axis=0) / count[1:]
        decaying, even = self._others(score)
        part = belongs[:, 0] * decaying / np.maximum(decaying + even, 1e-300)
        longest = max(mean[0] - self.threshold, TINY * mean[-1])
        decay, shape = _gamma(score - self.threshold, part, TINY * mean[-1])
        order = np.argsort(mean)
        mean, spread = mean[order], spread[order]
        return Mixture(
            self.threshold,
            float(np.clip(decay, TINY * mean[-1], longest / (1 + 2 / sqrt(shape)))),
            mean,
            np.maximum(np.sqrt(spread), NARROWEST * mean),
            np.concatenate([count[:1], count[1:][order]]) / len(score),
            shape,
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
        return float(n_free * log(len(score)) - 2 * np.log(self.densities(score).max(axis=1)).sum())


def _gamma(above: Doubles, weight: Doubles, least: float) -> tuple[float, float]:
    """Return mean and shape of nearly the most likely gamma distribution without a pole at zero."""
    total = float(weight.sum()) + 1e-12
    values = np.maximum(above, least)
    mean = float((weight * values).sum()) / total + least
    # Minka's starting point for the maximum-likelihood shape, good to 2 %
    s = max(log(mean) - float((weight * np.log(values)).sum()) / total, 1e-3)
    shape = (3 - s + sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    return mean, float(np.clip(shape, 1, MOST_SHAPE))


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
        fitted = [_converged(start, score) for start in _starts(score, threshold, count)]
        if fitted:
            found.append(max(fitted, key=lambda mixture: mixture.log_likelihood))
    if not found:
        return _single(score, threshold, n_species or 1)
    return min(found, key=lambda mixture: mixture.criterion(score))


def _starts(score: Doubles, threshold: float, n_species: int) -> list[Mixture]:
    """Return mixtures to begin with: scores, or their logarithms, in clusters.

    The lightest species may be much weaker than the others, and what is no atom rare or most of all.
    """
    found = []
    top = float(np.percentile(score, 90))
    for least in (0.0, *(cut * top for cut in FIRST_CUTS)):
        above = score[score > least]
        for scale in (np.log, np.asarray):
            for others in (0, 1) if not least else (0,):
                start = _clustered(score, above, scale(above), threshold, n_species, others)
                if start is not None:
                    found.append(start)
    return found


def _clustered(
    score: Doubles, above: Doubles, scaled: Doubles, threshold: float, n_species: int, others: int
) -> Mixture | None:
    """Return the mixture of clusters, of which the lowest may be others; nothing where one is too small."""
    n = n_species + others
    if len(above) < 2 * n:
        return None
    guess = np.quantile(scaled, (np.arange(n) + 0.5) / n)
    try:
        _, label = kmeans2(scaled[:, np.newaxis], guess[:, np.newaxis], minit="matrix", missing="raise")
    except ClusterError:  # an empty one
        return None
    clusters = [above[label == k] for k in range(n)]
    if min(map(len, clusters)) < 2:
        return None
    clusters.sort(key=np.mean)
    mean = np.array([cluster.mean() for cluster in clusters[others:]])
    deviation = np.array([cluster.std() for cluster in clusters[others:]])
    count = np.array([len(cluster) for cluster in clusters[others:]])
    if mean[0] <= threshold:
        return None
    share = np.concatenate([[len(score) - count.sum() + 1], count]) / (len(score) + 1)
    decay = (mean[0] - threshold) / (2 * STEEPEST)
    return Mixture(threshold, decay, mean, np.maximum(deviation, NARROWEST * mean), share)


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
