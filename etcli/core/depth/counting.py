"""Numbers of atoms in columns, from their cross-sections: with a library, a mixture or both."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, softmax

from etcli.core.arguments import checked_integer, checked_number
from etcli.core.depth.cross_section_mixture import MixtureFit, checked_sample
from etcli.core.depth.expectation_maximisation import (
    Components,
    KnownMeans,
    Run,
    Sample,
    ScaledLibrary,
    maximise,
)
from etcli.core.errors import DataError, UsageError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SCALES = (0.85, 1.15)
"""Limits of a fitted scale: how wrong the intensities of a measurement or of a simulation may be."""
SURE = 0.9
"""Probability from which a count, or a scale, is not ambiguous."""
SHORT_ROUNDS = 20
"""Rounds after which the local maxima of the likelihood along the scale are known."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of atoms in columns.

    Parameters
    ----------
    count : ndarray of shape (n_columns,), int64
        Most probable number of atoms.
    probability : ndarray of shape (n_columns,), float64
        Probability that it is right, given the model.
    counts : ndarray of shape (n_components,), int64
        Numbers of atoms that were considered.
    means : ndarray of shape (n_components,), float64
        Their mean cross-sections in Å², a library times the scale.
    weights : ndarray of shape (n_components,), float64
        Shares of the columns.
    sigma : float
        Common width in Å², besides the errors of single columns and Poisson noise.
    scale : float
        Factor of the library; 1 without one.
    other_scale : float
        The next best scale, from another local maximum of the likelihood; NaN for none.
    scale_lead : float
        Log-likelihood of the scale minus that of the next best one; infinite for none.
    """

    count: Int
    probability: Float
    counts: Int
    means: Float
    weights: Float
    sigma: float
    scale: float = 1.0
    other_scale: float = np.nan
    scale_lead: float = np.inf

    def __len__(self) -> int:
        return len(self.count)

    @property
    def total(self) -> int:
        """Number of atoms in all columns."""
        return int(self.count.sum())

    @property
    def ambiguous(self) -> NDArray[np.bool_]:
        """Columns whose count is less probable than 0.9, shape (n_columns,)."""
        return self.probability < SURE

    @property
    def scale_ambiguous(self) -> bool:
        """Whether the next best scale has more than a tenth of the probability of both."""
        return bool(self.scale_lead < np.log(SURE / (1 - SURE)))

    @property
    def expected_exact(self) -> float:
        """Share of the columns that is expected to have the right count, given the model."""
        return float(self.probability.mean())

    @property
    def expected_errors(self) -> float:
        """Number of columns that are expected to have a wrong count, given the model."""
        return float((1 - self.probability).sum())


def count_by_library(
    cross_section: ArrayLike,
    library: ArrayLike,
    *,
    scale: float | Literal["auto"] = 1.0,
    error: ArrayLike | None = None,
    dose: float | None = None,
    log_prior: ArrayLike | None = None,
) -> Counts:
    """Count atoms by the nearest cross-section of a library, 0 included.

    A mixture with the means of the library and equal weights gives the width and the probabilities. Without
    Poisson noise and log-probabilities its most probable count is the nearest one. The scale, if asked for,
    is that of `count_hybrid`. Counts are reliable where the width, relative to the step, is at most 0.3 with
    a fitted scale, and 0.4 with a known one; see ``expected_exact`` and ``scale_ambiguous`` of the result.

    Parameters
    ----------
    cross_section : array_like of shape (n_columns,)
        In Å².
    library : array_like of shape (n_counts,)
        Mean cross-sections of 1, 2, ... atoms in Å², increasing.
    scale : float or "auto"
        Factor of the library; fitted between 0.85 and 1.15 by "auto".
    error : array_like of shape (n_columns,), optional
        Standard errors in Å², by which each column scatters more.
    dose : float, optional
        Electrons per Å²; if given, columns of mean μ scatter by the variance μ/dose more.
    log_prior : array_like of shape (n_columns, n_counts + 1), optional
        Log-probability of other evidence on a column, such as its place in the lattice, if it has 0, 1, ...
        atoms; -inf for counts that are impossible.

    Returns
    -------
    Counts

    Raises
    ------
    DataError
        When the library is too short or does not increase, or cross-sections or errors cannot be used.
    UsageError
        When the scale or the dose is out of range.

    References
    ----------
    A. De Backer, K. H. W. van den Bos, W. Van den Broek, J. Sijbers, S. Van Aert, Ultramicroscopy 171, 104
    (2016): StatSTEM, whose counts with a library are the nearest ones.
    """
    means = _checked_library(library)
    sample = checked_sample(
        cross_section, error=error, dose=dose, log_prior=log_prior, n_components=len(means)
    )
    return _count(sample, means, scale, free_weights=False)


def count_hybrid(
    cross_section: ArrayLike,
    library: ArrayLike,
    *,
    error: ArrayLike | None = None,
    dose: float | None = None,
    log_prior: ArrayLike | None = None,
) -> Counts:
    """Count atoms by a mixture whose means are a library times one factor, with free width and weights.

    The factor allows for differences between the conditions of experiment and simulation, between 0.85 and
    1.15. Unlike free means, the library tells the first component, and counts that no column has. With widths
    above 0.3 of the step the probabilities are too high: the weights follow the noise.

    Parameters
    ----------
    cross_section, library, error, dose, log_prior
        As for `count_by_library`.

    Returns
    -------
    Counts

    Raises
    ------
    DataError
        When the library is too short or does not increase, or cross-sections or errors cannot be used.
    UsageError
        When the dose is out of range.

    References
    ----------
    A. De wael, A. De Backer, L. Jones, P. D. Nellist, S. Van Aert, Ultramicroscopy 177, 69 (2017): the hybrid
    statistics-simulations method.
    """
    means = _checked_library(library)
    sample = checked_sample(
        cross_section, error=error, dose=dose, log_prior=log_prior, n_components=len(means)
    )
    return _count(sample, means, "auto", free_weights=True)


def count_by_mixture(mixture: MixtureFit, *, first: int = 1) -> Counts:
    """Count atoms by the components of a mixture: each has one atom more than the one before.

    The probabilities take the components as they are. Whether a count is left out or split into two, which
    makes many counts wrong, only ``mixture.step_ratio`` or a comparison of the means with a library tells.

    Parameters
    ----------
    mixture : MixtureFit
        From `etcli.core.depth.cross_section_mixture.fit_mixtures`.
    first : int
        Number of atoms of the first component, see `first_count`.

    Returns
    -------
    Counts

    Raises
    ------
    UsageError
        When the first count is negative.

    References
    ----------
    S. Van Aert, A. De Backer, G. T. Martinez, B. Goris, S. Bals, G. Van Tendeloo, A. Rosenauer, Phys. Rev. B
    87, 064107 (2013).
    """
    if checked_integer("first count", first) < 0:
        raise UsageError(f"the first component cannot have {first} atoms; use 0 or more")
    counts = first + np.arange(mixture.n_components, dtype=np.int64)
    best = mixture.memberships.argmax(axis=1)
    probability = np.take_along_axis(mixture.memberships, best[:, np.newaxis], axis=1)[:, 0]
    return Counts(counts[best], probability, counts, mixture.means, mixture.weights, mixture.sigma)


def first_count(mixture: MixtureFit, library: ArrayLike, *, scale: float = 1.0) -> int:
    """Find the number of atoms of the first component of a mixture, whose means a library explains best.

    Parameters
    ----------
    mixture : MixtureFit
    library : array_like of shape (n_counts,)
        Mean cross-sections of 1, 2, ... atoms in Å², increasing.
    scale : float
        Factor of the library.

    Returns
    -------
    int
        From 0, with the least squared deviation of the means from the library, weighted as the components.

    Raises
    ------
    DataError
        When the library is too short or does not increase.
    """
    means = checked_number("scale", scale) * _checked_library(library)
    n_offsets = len(means) - mixture.n_components + 1
    if n_offsets < 1:
        raise DataError(
            f"the library ends at {len(means) - 1} atoms and is too short for {mixture.n_components} "
            "components; simulate more atoms"
        )
    windows = np.lib.stride_tricks.sliding_window_view(means, mixture.n_components)
    return int(np.argmin((windows - mixture.means) ** 2 @ mixture.weights))


def single_atom_sensitivity(
    means: ArrayLike, sigma: ArrayLike, *, weights: ArrayLike | None = None
) -> tuple[Float, float]:
    """Compute which share of columns of each count gets the right count, and of all columns.

    Two neighbouring components are parted where both are equally many standard deviations away.

    Parameters
    ----------
    means : array_like of shape (n_components,)
        Mean cross-sections in Å², ascending.
    sigma : array_like of shape () or (n_components,)
        Standard deviations in Å².
    weights : array_like of shape (n_components,), optional
        Shares of the columns; by default equal.

    Returns
    -------
    share : ndarray of shape (n_components,), float64
        Probability that a column of this component is assigned to it.
    overall : float
        Mean share, weighted.

    Raises
    ------
    DataError
        When means do not increase, or standard deviations are not positive.

    References
    ----------
    A. De Backer, G. T. Martinez, A. Rosenauer, S. Van Aert, Ultramicroscopy 134, 23 (2013): the overlap of
    the components limits the counting.
    """
    m = np.asarray(means, np.float64)
    s = np.broadcast_to(np.asarray(sigma, np.float64), m.shape)
    if not ((np.diff(m) > 0).all() and (s > 0).all()):
        raise DataError("mean cross-sections must increase, and their standard deviations be positive")
    away = np.diff(m) / (s[1:] + s[:-1])  # of a border from both means, in standard deviations
    share = ndtr(np.append(away, np.inf)) - ndtr(-np.append(np.inf, away))
    of_all = np.ones(len(m)) if weights is None else np.asarray(weights, np.float64)
    return share, float(share @ of_all / of_all.sum())


def _checked_library(library: ArrayLike) -> Float:
    """Return the means for 0, 1, 2, ... atoms after validation."""
    values = np.asarray(library, np.float64)
    if values.ndim != 1 or not len(values):
        raise DataError(f"library of shape {values.shape}; give the cross-sections of 1, 2, ... atoms")
    means = np.concatenate([[0.0], values])
    if not (np.isfinite(means).all() and (np.diff(means) > 0).all()):
        wrong = int(np.argmin(np.diff(means) > 0)) + 1
        raise DataError(
            f"the library does not increase at {wrong} atoms; its cross-sections must be finite and increase"
        )
    return means


def _count(sample: Sample, library: Float, scale: float | str, *, free_weights: bool) -> Counts:
    """Count with means that are a library times a scale, given or fitted."""
    model = KnownMeans(free_weights)
    if scale == "auto":
        maxima = _scale_maxima(sample, library)
    else:
        factor = checked_number("scale", scale, or_else='"auto"')
        if factor <= 0:
            raise UsageError(f"the scale is {factor:g}; it must be positive")
        maxima = [maximise(_start(sample, factor * library), sample, model)]
    _check_length(sample, maxima[0].components.means)
    fits = [maximise(_start(sample, run.components.means), sample, model).components for run in maxima]

    best = fits[0]
    count = best.log_densities(sample).argmax(axis=1)
    # where other scales are nearly as likely, they take their share of the probability of a count
    odds = softmax([run.log_likelihood for run in maxima])
    posterior = sum(
        share * softmax(fit.log_densities(sample), axis=1) for share, fit in zip(odds, fits, strict=True)
    )
    scales = [float(fit.means[-1] / library[-1]) for fit in fits]
    several = len(maxima) > 1
    return Counts(
        count=count.astype(np.int64),
        probability=np.take_along_axis(posterior, count[:, np.newaxis], axis=1)[:, 0],
        counts=np.arange(len(library), dtype=np.int64),
        means=best.means,
        weights=best.weights,
        sigma=best.variance**0.5,
        scale=scales[0],
        other_scale=scales[1] if several else np.nan,
        scale_lead=maxima[0].log_likelihood - maxima[1].log_likelihood if several else np.inf,
    )


def _scale_maxima(sample: Sample, library: Float) -> list[Run]:
    """Find the local maxima of the likelihood along the scale, the best first.

    The weights are free: with equal ones the smallest scale would win, whose means are the closest together.
    """
    lowest, highest = SCALES
    # a quarter of the smallest step at the largest cross-section, so that no maximum is passed over
    finest = np.diff(library).min() / 4 / min(library[-1], max(sample.x.max(), library[1]))
    factors = np.linspace(lowest, highest, max(int(np.ceil((highest - lowest) / finest)), 2) + 1)
    profile = [
        maximise(_start(sample, factor * library), sample, KnownMeans(free_weights=True), rounds=SHORT_ROUNDS)
        for factor in factors
    ]
    heights = np.array([-np.inf, *(run.log_likelihood for run in profile), -np.inf])
    peaks = np.flatnonzero((heights[1:-1] >= heights[:-2]) & (heights[1:-1] > heights[2:]))
    model = ScaledLibrary(library, lowest, highest)
    runs = [maximise(profile[k].components, sample, model) for k in peaks]
    runs.sort(key=lambda run: -run.log_likelihood)
    apart = (factors[1] - factors[0]) / 2 * library[-1]
    different: list[Run] = []
    for run in runs:
        if all(abs(run.components.means[-1] - other.components.means[-1]) > apart for other in different):
            different.append(run)
    return different


def _start(sample: Sample, means: Float) -> Components:
    """Create components with equal weights and the width of the distances from the nearest mean."""
    nearest = np.abs(sample.x[:, np.newaxis] - means).min(axis=1)
    variance = max(float(nearest @ nearest) / len(nearest), sample.smallest_variance)
    return Components(means, np.full(len(means), 1 / len(means)), variance)


def _check_length(sample: Sample, means: Float) -> None:
    """Raise an error for columns with more atoms than the library."""
    limit = means[-1] + (means[-1] - means[-2]) / 2
    beyond = int((sample.x > limit).sum())
    if beyond:
        raise DataError(
            f"the library is too short: {beyond} of {len(sample.x)} cross-sections are larger than that of "
            f"{len(means) - 1} atoms ({means[-1]:.4g} Å²) by more than half a step, up to "
            f"{sample.x.max():.4g} Å²; take a longer library, or check dose (per Å²), pixel size and element"
        )
