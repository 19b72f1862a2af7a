"""Gaussian mixtures of the cross-sections of columns, and how many components they have."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from etcli.core.arguments import checked_integer, checked_number
from etcli.core.depth.expectation_maximisation import (
    Components,
    FreeMeans,
    Run,
    Sample,
    in_order,
    maximise,
)
from etcli.core.errors import ConvergenceError, DataError, UsageError

Float = NDArray[np.float64]

SHORT_ROUNDS = 5
"""Rounds after which the most likely of several starts is known."""


@dataclass(frozen=True, eq=False)
class MixtureFit:
    """Gaussian mixture fitted to cross-sections: free means and weights, one width.

    Parameters
    ----------
    means : ndarray of shape (n_components,), float64
        Mean cross-sections in Å², ascending.
    sigma : float
        Common width in Å², besides the errors of single columns and Poisson noise.
    weights : ndarray of shape (n_components,), float64
        Shares of the columns; their sum is 1.
    memberships : ndarray of shape (n_columns, n_components), float64
        Probability that a column belongs to a component; rows sum to 1.
    log_likelihood : float
    """

    means: Float
    sigma: float
    weights: Float
    memberships: Float = field(repr=False)
    log_likelihood: float

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.means)

    @property
    def n_parameters(self) -> int:
        """Number of fitted parameters: the means, the independent weights, the width."""
        return 2 * self.n_components

    @property
    def entropy(self) -> float:
        """Entropy of the memberships in nat: 0 when all columns are assigned for certain."""
        occupied = self.memberships[self.memberships > 0]
        return float(-(occupied * np.log(occupied)).sum())

    @property
    def step_ratio(self) -> float:
        """Largest ratio of neighbouring steps between the means, 1 or more.

        Steps of consecutive counts change gradually. A ratio near 2 tells of a count that no column has, or
        of one that is split into two components; then counts by this mixture are wrong.
        """
        steps = np.diff(self.means)
        if len(steps) < 2:
            return 1.0
        smaller, larger = np.minimum(steps[1:], steps[:-1]), np.maximum(steps[1:], steps[:-1])
        return float(np.divide(larger, smaller, out=np.full_like(larger, np.inf), where=smaller > 0).max())

    @property
    def aic(self) -> float:
        """Akaike information criterion."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """Bayesian information criterion."""
        return -2 * self.log_likelihood + self.n_parameters * log(len(self.memberships))

    @property
    def icl(self) -> float:
        """Integrated classification likelihood criterion: BIC plus twice the entropy."""
        return self.bic + 2 * self.entropy


def checked_sample(
    cross_section: ArrayLike,
    *,
    error: ArrayLike | None = None,
    dose: float | None = None,
    log_prior: ArrayLike | None = None,
    n_components: int = 0,
) -> Sample:
    """Check cross-sections and what is known of their scatter.

    Parameters
    ----------
    cross_section : array_like of shape (n_columns,)
        In Å².
    error : array_like of shape (n_columns,), optional
        Standard errors in Å².
    dose : float, optional
        Electrons per Å².
    log_prior : array_like of shape (n_columns, n_components), optional
        Logarithms of probabilities, -inf for what is impossible.
    n_components : int
        Number of columns of ``log_prior``.

    Returns
    -------
    Sample

    Raises
    ------
    DataError
        When shapes differ, there is no column, or values are not finite or out of range.
    UsageError
        When the dose is not positive.
    """
    x = np.ascontiguousarray(cross_section, np.float64)
    if x.ndim != 1 or not len(x):
        raise DataError(f"cross-sections of shape {x.shape}; give one for each of 1 column or more")
    if not np.isfinite(x).all():
        raise DataError(
            f"{(~np.isfinite(x)).sum()} of {len(x)} cross-sections are not finite; leave them out"
        )
    if not (x > 0).any():
        raise DataError("no cross-section is positive; are the background and the columns right?")
    errors = np.zeros(0) if error is None else np.ascontiguousarray(error, np.float64)
    if error is not None and errors.shape != x.shape:
        raise DataError(
            f"standard errors of shape {errors.shape} for {len(x)} cross-sections; give one for each"
        )
    if not (np.isfinite(errors) & (errors >= 0)).all():
        raise DataError(
            "standard errors of cross-sections must be finite and not negative; leave columns out"
        )
    prior = np.zeros((0, 0)) if log_prior is None else _checked_prior(log_prior, (len(x), n_components))
    if dose is not None and checked_number("dose", dose) <= 0:
        raise UsageError(f"the dose is {dose:g} electrons per Å²; it must be positive")
    rounding = np.finfo(np.float64).eps * float(x @ x) / len(x)
    return Sample(x, errors**2, 1 / dose if dose else 0.0, prior, rounding)


def _checked_prior(log_prior: ArrayLike, shape: tuple[int, int]) -> Float:
    """Return log-probabilities of counts after validation."""
    prior = np.ascontiguousarray(log_prior, np.float64)
    if prior.shape != shape:
        raise DataError(
            f"log-probabilities of shape {prior.shape}; {shape[0]} columns and counts from 0 to "
            f"{shape[1] - 1} need {shape}"
        )
    if np.isnan(prior).any() or not np.isfinite(prior.max(axis=1)).all():
        raise DataError("log-probabilities must leave each column a possible count, and not be NaN")
    return prior


def fit_mixtures(
    cross_section: ArrayLike,
    *,
    most_components: int,
    error: ArrayLike | None = None,
    dose: float | None = None,
) -> tuple[MixtureFit, ...]:
    """Fit Gaussian mixtures of 1, 2, ... components to the cross-sections of columns.

    The means are free: equal steps would be wrong, for the cross-section of an atom depends on its depth.
    K components start from the K − 1 before and one more, which is tried between and beyond the others and in
    place of each of them; the most likely of these after a few rounds is fitted to the end.

    Parameters
    ----------
    cross_section : array_like of shape (n_columns,)
        In Å².
    most_components : int
        Largest number of components, smaller than that of different cross-sections.
    error : array_like of shape (n_columns,), optional
        Standard errors in Å², by which each column scatters more.
    dose : float, optional
        Electrons per Å²; if given, a component of mean μ scatters by the variance μ/dose more.

    Returns
    -------
    tuple of MixtureFit
        For 1 to ``most_components`` components.

    Raises
    ------
    DataError
        When cross-sections or errors cannot be used.
    UsageError
        When the number of components or the dose is out of range.

    References
    ----------
    A. De Backer, G. T. Martinez, A. Rosenauer, S. Van Aert, Ultramicroscopy 134, 23 (2013): the mixture.
    C. Biernacki, G. Celeux, G. Govaert, Comput. Stat. Data Anal. 41, 561 (2003): short runs, then a long one.
    """
    sample = checked_sample(cross_section, error=error, dose=dose)
    most = checked_integer("number of components", most_components)
    n_different = len(np.unique(sample.x))
    if n_different == 1:
        raise DataError("all cross-sections are equal; there is no mixture to fit")
    if not 1 <= most < n_different:
        raise UsageError(
            f"{most} components for {n_different} different cross-sections; use 1 to {n_different - 1}"
        )
    single = Components(np.array([sample.x.mean()]), np.ones(1), float(sample.x.var()))
    runs = [maximise(single, sample, FreeMeans())]
    while len(runs) < most:
        starts = _with_one_more(runs[-1].components, sample.x)
        short = [maximise(start, sample, FreeMeans(), rounds=SHORT_ROUNDS) for start in starts]
        best = max(short, key=lambda run: run.log_likelihood)
        runs.append(maximise(best.components, sample, FreeMeans()))
    return tuple(_fit_of(run, sample) for run in runs)


def local_minima(values: ArrayLike) -> tuple[int, ...]:
    """Find the numbers of components at which a criterion is smaller than at both neighbours.

    Parameters
    ----------
    values : array_like of shape (n,)
        Criterion for 1 to n components.

    Returns
    -------
    tuple of int
        Numbers of components, ascending; 1 and n are never among them.
    """
    v = np.asarray(values, np.float64)
    return tuple(int(k) + 2 for k in np.flatnonzero((v[1:-1] < v[:-2]) & (v[1:-1] < v[2:])))


def choose_mixture(fits: Sequence[MixtureFit], *, components: int | None = None) -> MixtureFit:
    """Choose the mixture on whose number of components the criteria agree, or the one asked for.

    The lowest ICL alone is not enough: overlapping components make it prefer a single one. It is taken when
    AIC and BIC, which forgive overlap, are lowest for the same number, and more components were fitted.

    Parameters
    ----------
    fits : sequence of MixtureFit
        For 1, 2, ... components.
    components : int, optional
        The number asked for.

    Returns
    -------
    MixtureFit

    Raises
    ------
    ConvergenceError
        When the criteria do not agree and no number was asked for.
    UsageError
        When the number asked for was not fitted.

    References
    ----------
    C. Biernacki, G. Celeux, G. Govaert, IEEE Trans. Pattern Anal. Mach. Intell. 22, 719 (2000),
    doi:10.1109/34.865189.
    """
    if components is not None:
        if not 1 <= checked_integer("number of components", components) <= len(fits):
            raise UsageError(f"{components} components were not fitted; use 1 to {len(fits)}")
        return fits[components - 1]
    criteria = {"ICL": [f.icl for f in fits], "BIC": [f.bic for f in fits], "AIC": [f.aic for f in fits]}
    lowest = {name: int(np.argmin(values)) + 1 for name, values in criteria.items()}
    if len(set(lowest.values())) == 1 and lowest["ICL"] < len(fits):
        return fits[lowest["ICL"] - 1]
    minima = ", ".join(map(str, local_minima(criteria["ICL"]))) or "none"
    found = ", ".join(f"{name} at {number}" for name, number in lowest.items())
    raise ConvergenceError(
        f"the number of components is not clear: of 1 to {len(fits)}, local minima of ICL are {minima}; the "
        f"lowest value of {found}; give their number (--components), or count with a library"
    )


def _with_one_more(components: Components, x: Float) -> list[Components]:
    """Create starts with one more component: in a gap, at an end, or from one that is split into two."""
    means, weights, n = components.means, components.weights, len(components.means)
    ends = (x.min(), x.max())
    starts = []
    for mean in (ends[0], *((means[1:] + means[:-1]) / 2), ends[1]):
        shares = np.append(weights * n, 1.0) / (n + 1)
        starts.append(in_order(Components(np.append(means, mean), shares, components.variance)))
    width = components.variance**0.5
    for k in range(n):
        halves = np.insert(means, k, means[k] - width)
        halves[k + 1] += width
        shares = np.insert(weights, k, weights[k] / 2)
        shares[k + 1] /= 2
        starts.append(in_order(Components(halves, shares, components.variance)))
    return starts


def _fit_of(run: Run, sample: Sample) -> MixtureFit:
    """Create the result of a run."""
    components = in_order(run.components)
    return MixtureFit(
        components.means,
        components.variance**0.5,
        components.weights,
        softmax(components.log_densities(sample), axis=1),
        run.log_likelihood,
    )
