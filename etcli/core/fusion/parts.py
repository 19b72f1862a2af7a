"""Counts in two independent parts: one is fitted, the other tells how well the fit predicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.problem import FusionProblem
from etcli.core.view_subsets import every_sixth

Array = NDArray[np.float32]
Views = NDArray[np.intp]

TRAINED = 0.8
"""Share of the counts that is fitted; with half of them the weights of priors become 1.8 times too large."""
SEED = 17_081_976
"""No seed that simulated counts may have: numbers drawn alike would not be independent of them."""


class Parts(Protocol):
    """Two independent parts of the counts."""

    @property
    def fraction(self) -> float:
        """Share of all counts that is fitted, by which weights are multiplied then."""

    @property
    def scales(self) -> tuple[float, float]:
        """Counts of a pixel in the fitted and in the held-out part, relative to all."""

    @property
    def held_out(self) -> tuple[Views, tuple[Array, ...]]:
        """The views that are held out, and the counts of each element in them."""

    def train(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are fitted."""

    def test(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are held out."""


@dataclass(frozen=True, eq=False)
class ThinnedCounts:
    """Maps of which each count is in one of two parts.

    Parameters
    ----------
    fitted, others : tuple of ndarray of shape (n_views, ny, nx), float32
        The part of each element that is fitted, and the one that is held out.
    fraction : float
        Share of the counts that is fitted.
    """

    fitted: tuple[Array, ...]
    others: tuple[Array, ...]
    fraction: float

    @classmethod
    def of_parts(cls, fitted: Sequence[Array], others: Sequence[Array]) -> "ThinnedCounts":
        """Take parts that were separated before, such as those of the spectra that maps are made of."""
        kept, held_out = (
            sum(float(part.sum(dtype=np.float64)) for part in parts) for parts in (fitted, others)
        )
        return cls(tuple(fitted), tuple(others), kept / (kept + held_out))

    @property
    def scales(self) -> tuple[float, float]:
        """Counts of a pixel in the fitted and in the held-out part, relative to all."""
        return self.fraction, 1 - self.fraction

    @property
    def held_out(self) -> tuple[Views, tuple[Array, ...]]:
        """All views, and the counts of each element that are held out."""
        return np.arange(len(self.others[0])), self.others

    def train(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are fitted."""
        return _share(problem.with_counts(self.fitted), self.fraction)

    def test(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the counts that are held out."""
        return _share(problem.with_counts(self.others), 1 - self.fraction)


@dataclass(frozen=True, eq=False)
class LeftOutViews:
    """Maps of which every sixth view is held out, for counts that cannot be thinned.

    Parameters
    ----------
    counts : tuple of ndarray of shape (n_views, ny, nx), float32
        Of each element.
    tilt_deg : ndarray of shape (n_views,), float64
    """

    counts: tuple[Array, ...]
    tilt_deg: NDArray[np.float64]

    @property
    def fraction(self) -> float:
        """Share of the views that is fitted."""
        return 1 - len(every_sixth(self.tilt_deg)) / len(self.tilt_deg)

    @property
    def scales(self) -> tuple[float, float]:
        """Counts of a pixel, which has all of them."""
        return 1.0, 1.0

    @property
    def held_out(self) -> tuple[Views, tuple[Array, ...]]:
        """The views that are held out, and the counts of each element in them."""
        views = every_sixth(self.tilt_deg)
        return views, tuple(counts[views] for counts in self.counts)

    def train(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the views that are fitted."""
        left_out = np.isin(np.arange(len(self.tilt_deg)), every_sixth(self.tilt_deg))
        return problem.of_views(~left_out)

    def test(self, problem: FusionProblem) -> FusionProblem:
        """Return the problem of the views that are held out."""
        return problem.of_views(every_sixth(self.tilt_deg))


def _share(part: FusionProblem, share: float) -> FusionProblem:
    """Return the problem of a share of all counts, those of the background included."""
    return replace(part, background=part.background * share)


def thinned(counts: Sequence[Array], *, fraction: float = TRAINED, seed: int = SEED) -> ThinnedCounts:
    """Put each count into one of two parts at random.

    Parameters
    ----------
    counts : sequence of ndarray of shape (n_views, ny, nx)
        Whole numbers of counts, one array an element.
    fraction : float
        Probability that a count is in the part that is fitted.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    ThinnedCounts

    Notes
    -----
    Of a Poisson number of mean m, a part drawn with the binomial probability p and the remainder are
    independent Poisson numbers of the means pm and (1 - p)m. So what is held out is new data of the same
    specimen, of which no view and no pixel is missing. That needs whole counts, as they were recorded.
    """
    rng = np.random.default_rng(seed)
    whole = [np.rint(values).astype(np.int64) for values in counts]
    fitted = [rng.binomial(values, fraction).astype(np.float32) for values in whole]
    others = [(values - part).astype(np.float32) for values, part in zip(whole, fitted, strict=True)]
    return ThinnedCounts(tuple(fitted), tuple(others), fraction)
