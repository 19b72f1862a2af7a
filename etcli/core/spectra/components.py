"""Number of components: as many as predict counts best that the factorisation has not seen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.spectra.counts import SpectrumCounts
from etcli.core.spectra.factorisation import factorise

Doubles = NDArray[np.float64]

TRAINING = 0.8
"""Share of the counts that is factorised; the others are predicted."""
COUNTS_OF_BLOCK = 300.0
"""Mean counts of the blocks of pixels whose sums are factorised: single pixels leave the number open."""
SMALLEST_PX, LARGEST_PX = 1, 8
FEWEST_BLOCKS, MOST_BLOCKS = 100, 4000
MOST = 12
"""Largest number of components that is tried."""
WORSE = 3
"""Numbers in a row that predict worse, after which the search ends."""
EVEN_SHARE = 0.02
"""Share of the mean spectrum in a prediction, which else may be 0 where there are counts."""


@dataclass(frozen=True, eq=False)
class ComponentCurve:
    """How well numbers of components predict held-out counts.

    Parameters
    ----------
    n : ndarray of shape (m,), int
        Numbers of components.
    deviance : ndarray of shape (m,), float64
        Σ (z − y log z) over held-out counts y and their prediction z, in nats above the least one.
    block_px : int
        Edge of the squares over which counts were summed.
    """

    n: NDArray[np.int64]
    deviance: Doubles
    block_px: int

    @property
    def best(self) -> int:
        """The number that predicts best."""
        return int(self.n[self.deviance.argmin()])


def block_edge(counts: SpectrumCounts) -> int:
    """Return the edge of blocks of pixels with enough counts for a factorisation, and enough blocks."""
    n_views, ny, nx, _ = counts.shape
    mean = max(counts.total / (n_views * ny * nx), 1e-9)
    wanted = int(np.ceil(np.sqrt(COUNTS_OF_BLOCK / mean)))
    most = int(np.sqrt(n_views * ny * nx / FEWEST_BLOCKS))
    return max(SMALLEST_PX, min(wanted, most, LARGEST_PX))


def blocks_of(counts: SpectrumCounts, edge_px: int) -> NDArray[np.int64]:
    """Sum counts over blocks, (n_blocks, n_channels); of many blocks, some evenly chosen ones."""
    return counts.block_sums(edge_px, most=MOST_BLOCKS)


def n_blocks(counts: SpectrumCounts, edge_px: int) -> int:
    """Return how many blocks `blocks_of` sums over."""
    n_views, ny, nx, _ = counts.shape
    return min(n_views * -(-ny // edge_px) * -(-nx // edge_px), MOST_BLOCKS)


def component_curve(counts: SpectrumCounts, *, seed: int = 0, scaled: bool = False) -> ComponentCurve:
    """Predict held-out counts by 1, 2, 3 ... components.

    Parameters
    ----------
    counts : SpectrumCounts
    seed : int
        Of the counts that are held out.
    scaled : bool
        As for `factorise`.

    Returns
    -------
    ComponentCurve
    """
    edge_px = block_edge(counts)
    training, test = (blocks_of(part, edge_px) for part in counts.thinned(TRAINING, seed=seed))
    mean = training.sum(axis=0) + 0.5
    even = np.outer(training.sum(axis=1) + 0.1, mean / mean.sum())
    deviance: list[float] = []
    for n in range(1, min(MOST, *training.shape) + 1):
        weights, spectra = factorise(training, n, scaled=scaled)
        expected = (1 / TRAINING - 1) * ((1 - EVEN_SHARE) * weights @ spectra + EVEN_SHARE * even)
        deviance.append(float((expected - test * np.log(expected)).sum()))
        if n > WORSE and min(deviance[-WORSE:]) > min(deviance):
            break
    curve = np.array(deviance)
    return ComponentCurve(np.arange(1, len(curve) + 1), curve - curve.min(), edge_px)
