"""Mixture model of the scores of maxima: normal distributions of species, a decaying one of non-atoms."""

from dataclasses import dataclass, replace
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.special import gammaln

Doubles = NDArray[np.float64]

MOST_SPECIES = 4
ROUNDS, SETTLED = 500, 1e-7
NARROWEST = 0.02
"""Smallest standard deviation of a species, relative to its mean."""
STEEPEST = 3.0
"""Smallest distance of the lightest species from the threshold, in means of the distribution of non-atoms."""
TINY = 1e-6
MOST_SHAPE = 20.0
NORMAL_QUARTILE = 0.6745
"""Median of the absolute values of a normal distribution of standard deviation 1."""
OUTLIERS = 0.003
"""Share of the non-atoms whose scores are uniformly distributed up to the lightest species."""
FIRST_CUTS = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Initial limits of non-atoms that are tried, relative to the 90th percentile of the scores."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Mixture distribution of the scores of maxima: non-atoms and species.

    Parameters
    ----------
    threshold : float
        Smallest score of maxima.
    decay : float
        Mean score of non-atoms above the threshold; they have a gamma distribution, with a few outliers.
    mean, deviation : ndarray of shape (n_species,), float64
        Mean and standard deviation of the normal distribution of each species, the lightest first.
    share : ndarray of shape (1 + n_species,), float64
        Shares of the non-atoms, and of each species; their sum is 1.
    shape : float
        Shape parameter of the gamma distribution: 1 for an exponential one, more if it has a maximum.
    log_likelihood : float
        Log-likelihood of the scores that it was fitted to.
    most_shape : float
        Largest shape parameter in a fit.
    """

    threshold: float
    decay: float
    mean: Doubles
    deviation: Doubles
    share: Doubles
    shape: float = 1.0
    log_likelihood: float = -np.inf
    most_shape: float = MOST_SHAPE

    def probabilities(self, score: Doubles) -> Doubles:
        """Compute the probabilities that maxima with these scores are non-atoms, or atoms of each species.

        Parameters
        ----------
        score : ndarray of shape (n,), float64

        Returns
        -------
        ndarray of shape (n, 1 + n_species), float64
            Rows sum to 1. Scores above the mean of the heaviest species have the probabilities of that mean,
            and below the threshold none is an atom.
        """
        density = self.densities(np.clip(score, self.threshold, self.mean[-1]))
        probability = density / density.sum(axis=1, keepdims=True)
        probability[score < self.threshold] = np.eye(1, probability.shape[1])
        return np.asarray(probability)

    def densities(self, score: Doubles) -> Doubles:
        """Compute the probability densities of non-atoms and each species at scores, times their shares."""
        deviations = (score[:, np.newaxis] - self.mean) / self.deviation
        normal = np.exp(-(deviations**2) / 2) / (sqrt(2 * pi) * self.deviation)
        return np.asarray(
            np.maximum(self.share * np.column_stack([sum(self._non_atom_densities(score)), normal]), 1e-300)
        )

    def _non_atom_densities(self, score: Doubles) -> tuple[Doubles, Doubles]:
        """Return the two densities of non-atoms: decaying, and uniform up to the lightest species."""
        above = np.maximum(score - self.threshold, TINY * self.mean[-1])
        scale = self.decay / self.shape
        relative = above / scale
        logarithm = (self.shape - 1) * np.log(relative) - relative - gammaln(self.shape) - log(scale)
        decaying = (1 - OUTLIERS) * np.exp(logarithm)
        even = OUTLIERS * (score <= self.mean[0]) / (self.mean[0] - self.threshold)
        return decaying, even

    def improved(self, score: Doubles) -> "Mixture":
        """Return the mixture after one expectation-maximisation step, with the log-likelihood before it."""
        density = self.densities(score)
        total = density.sum(axis=1)
        membership = density / total[:, np.newaxis]
        count = membership.sum(axis=0) + 1e-12
        mean = (membership[:, 1:] * score[:, np.newaxis]).sum(axis=0) / count[1:]
        spread = (membership[:, 1:] * (score[:, np.newaxis] - mean) ** 2).sum(axis=0) / count[1:]
        decaying, even = self._non_atom_densities(score)
        part = membership[:, 0] * decaying / np.maximum(decaying + even, 1e-300)
        longest = max(mean[0] - self.threshold, TINY * mean[-1])
        decay, shape = _gamma(score - self.threshold, part, TINY * mean[-1], self.most_shape)
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
            self.most_shape,
        )

    def criterion(self, score: Doubles) -> float:
        """Compute the integrated completed likelihood; smaller values mean better separated classes.

        Parameters
        ----------
        score : ndarray of shape (n,), float64
            Scores to which the mixture was fitted.

        Returns
        -------
        float
            ``-2 Σ log maxₖ sₖ fₖ(x) + m log n`` with m free parameters, shares s and densities f.
        """
        n_free = 3 * len(self.mean) + 1
        return float(n_free * log(len(score)) - 2 * np.log(self.densities(score).max(axis=1)).sum())


def species_doubt(probability: Doubles) -> float:
    """Estimate the share of atoms that may be of another species than their most likely one.

    Parameters
    ----------
    probability : ndarray of shape (n, 1 + n_species), float64
        As from `Mixture.probabilities`; the probability that a maximum is not an atom is ignored.

    Returns
    -------
    float
        0 if there is one species, or no atom.
    """
    species = probability[:, 1:]
    share = species.max(axis=1) / np.maximum(species.sum(axis=1), 1e-300)
    return float(1 - share.mean()) if len(share) else 0.0


def _gamma(
    above: Doubles, weight: Doubles, least: float, most_shape: float = MOST_SHAPE
) -> tuple[float, float]:
    """Estimate mean and shape of a gamma distribution without a pole at 0, nearly by maximum likelihood."""
    total = float(weight.sum()) + 1e-12
    values = np.maximum(above, least)
    mean = float((weight * values).sum()) / total + least
    # Minka's starting point for the maximum-likelihood shape, good to 2 %
    s = max(log(mean) - float((weight * np.log(values)).sum()) / total, 1e-3)
    shape = (3 - s + sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    return mean, float(np.clip(shape, 1, most_shape))


def fit_mixture(
    score: Doubles, *, threshold: float, n_species: int | None = None, most_shape: float = MOST_SHAPE
) -> Mixture:
    """Fit a mixture to the scores of maxima.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores, all above the threshold.
    threshold : float
        Smallest score of maxima.
    n_species : int, optional
        Number of species; by default 1 to 4, chosen by the integrated completed likelihood.
    most_shape : float
        Largest shape parameter of the distribution of non-atoms: 1 if it has no maximum.

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
    candidates = []
    for count in counts:
        starts = _starts(score, threshold, count)
        fitted = [_iterate(replace(start, most_shape=most_shape), score) for start in starts]
        if fitted:
            candidates.append(max(fitted, key=lambda mixture: mixture.log_likelihood))
    if not candidates:
        return _all_atoms(score, threshold, n_species or 1)
    return min(candidates, key=lambda mixture: mixture.criterion(score))


def refit_mixture(
    score: Doubles,
    kind: NDArray[np.intp],
    *,
    threshold: float,
    n_species: int,
    most_shape: float = MOST_SHAPE,
) -> Mixture:
    """Fit a mixture to scores, from known species that may be wrong for some of them.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores, all above the threshold.
    kind : ndarray of shape (n,), int
        Number of the species of each, -1 for non-atoms.
    threshold : float
        Smallest score.
    n_species : int
    most_shape : float
        As for `fit_mixture`.

    Returns
    -------
    Mixture
        The likely one nearest to these species; that of `fit_mixture` if one of them is hardly there.
    """
    members = [score[kind == k] for k in range(n_species)]
    if min(map(len, members)) < 2:
        return fit_mixture(score, threshold=threshold, n_species=n_species, most_shape=most_shape)
    # medians, as the species may be wrong for some
    mean = np.array([np.median(each) for each in members])
    if mean[0] <= threshold or (np.diff(mean) <= 0).any():
        return fit_mixture(score, threshold=threshold, n_species=n_species, most_shape=most_shape)
    spread = np.array([np.median(np.abs(each - np.median(each))) for each in members]) / NORMAL_QUARTILE
    count = np.array([len(score) - sum(map(len, members)) + 1, *map(len, members)])
    decay = (mean[0] - threshold) / (2 * STEEPEST)
    start = Mixture(threshold, decay, mean, np.maximum(spread, NARROWEST * mean), count / count.sum())
    return _iterate(replace(start, most_shape=most_shape), score)


def mixture_of_two(score: Doubles, strong: NDArray[np.bool_], *, threshold: float) -> Mixture:
    """Create the mixture of one species whose atoms are known maxima, and of non-atoms, the others.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores, all above the threshold.
    strong : ndarray of shape (n,), bool
        Maxima that are atoms, at least one.
    threshold : float
        Smallest score of maxima.

    Returns
    -------
    Mixture
    """
    if strong.all():
        return _all_atoms(score, threshold, 1)
    mean, others = score[strong].mean(keepdims=True), score[~strong]
    decay, shape = _gamma(others - threshold, np.ones(len(others)), TINY * mean[-1])
    deviation = np.maximum(score[strong].std(), NARROWEST * mean)
    share = np.array([1 - strong.mean(), strong.mean()])
    return Mixture(threshold, decay, mean, deviation, share, shape)


def _starts(score: Doubles, threshold: float, n_species: int) -> list[Mixture]:
    """Create initial mixtures from clusters of the scores, or of their logarithms.

    They cover that the lightest species is much weaker than the others, and that non-atoms are few or most.
    """
    starts = []
    top = float(np.percentile(score, 90))
    for least in (0.0, *(cut * top for cut in FIRST_CUTS)):
        above = score[score > least]
        for scale in (np.log, np.asarray):
            for n_non_atom in (0, 1) if not least else (0,):
                for spacing in (np.quantile, _evenly):
                    n = n_species + n_non_atom
                    guess = spacing(scale(above), (np.arange(n) + 0.5) / n)
                    start = _mixture_of_clusters(score, above, scale(above), threshold, guess, n_non_atom)
                    if start is not None:
                        starts.append(start)
    return starts


def _evenly(values: Doubles, share: Doubles) -> Doubles:
    """Return values at shares of the range, where few heavy atoms count as much as many light ones."""
    return np.asarray(values.min() + share * np.ptp(values))


def _mixture_of_clusters(
    score: Doubles, above: Doubles, scaled: Doubles, threshold: float, guess: Doubles, n_non_atom: int
) -> Mixture | None:
    """Create a mixture from clusters, the lowest perhaps of non-atoms; None if a cluster is too small."""
    n = len(guess)
    if len(above) < 2 * n:
        return None
    try:
        _, label = kmeans2(scaled[:, np.newaxis], guess[:, np.newaxis], minit="matrix", missing="raise")
    except ClusterError:  # an empty cluster
        return None
    clusters = [above[label == k] for k in range(n)]
    if min(map(len, clusters)) < 2:
        return None
    clusters.sort(key=np.mean)
    mean = np.array([cluster.mean() for cluster in clusters[n_non_atom:]])
    deviation = np.array([cluster.std() for cluster in clusters[n_non_atom:]])
    count = np.array([len(cluster) for cluster in clusters[n_non_atom:]])
    if mean[0] <= threshold:
        return None
    share = np.concatenate([[len(score) - count.sum() + 1], count]) / (len(score) + 1)
    decay = (mean[0] - threshold) / (2 * STEEPEST)
    return Mixture(threshold, decay, mean, np.maximum(deviation, NARROWEST * mean), share)


def _all_atoms(score: Doubles, threshold: float, n_species: int) -> Mixture:
    """Create the mixture for too few maxima to fit: all are atoms."""
    mean = np.quantile(score, (np.arange(n_species) + 0.5) / n_species)
    share = np.full(1 + n_species, 1 / n_species)
    share[0] = 1e-6
    return Mixture(threshold, (mean[0] - threshold) / STEEPEST + 1e-12, mean, 0.2 * mean, share)


def _iterate(mixture: Mixture, score: Doubles) -> Mixture:
    """Repeat expectation-maximisation steps until the likelihood converges."""
    for _ in range(ROUNDS):
        before, mixture = mixture, mixture.improved(score)
        if abs(mixture.log_likelihood - before.log_likelihood) < SETTLED * abs(mixture.log_likelihood):
            break
    return mixture
