"""Counts in two independent parts: one is fitted, the other tells how well the fit predicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

TRAINED = 0.8
"""Share of the counts that is fitted; with half of them the weights of priors become 1.8 times too large."""
SEED = 0


@dataclass(frozen=True, eq=False)
class ThinnedCounts:
    """Maps of counts, each in two independent parts.

    Parameters
    ----------
    train, test : tuple of ndarray of shape (n_views, ny, nx), float32
        The part of each element that is fitted, and the one that is held out.
    fraction : float
        Share of the counts that is in `train`.
    """

    train: tuple[Array, ...]
    test: tuple[Array, ...]
    fraction: float

    @classmethod
    def of_parts(cls, train: Sequence[Array], test: Sequence[Array]) -> "ThinnedCounts":
        """Take parts that were separated before, such as the spectra that maps are made of."""
        fitted, held_out = (
            sum(float(part.sum(dtype=np.float64)) for part in parts) for parts in (train, test)
        )
        return cls(tuple(train), tuple(test), fitted / (fitted + held_out))


def thinned(counts: Sequence[Array], *, fraction: float = TRAINED, seed: int = SEED) -> ThinnedCounts:
    """Assign each count to one of two parts at random.

    Parameters
    ----------
    counts : sequence of ndarray of shape (n_views, ny, nx)
        Whole numbers of counts, one array an element.
    fraction : float
        Probability that a count is put into the part that is fitted.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    ThinnedCounts

    Notes
    -----
    Of a number of counts with a Poisson distribution of mean m, the part drawn with the binomial probability
    p and the rest are independent, with Poisson distributions of mean pm and (1 - p)m. So the held-out part
    is new data of the same specimen, of which no view and no pixel is missing.
    """
    rng = np.random.default_rng(seed)
    whole = [np.rint(values).astype(np.int64) for values in counts]
    train = [rng.binomial(values, fraction).astype(np.float32) for values in whole]
    test = [(values - part).astype(np.float32) for values, part in zip(whole, train, strict=True)]
    return ThinnedCounts(tuple(train), tuple(test), fraction)
