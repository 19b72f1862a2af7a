"""Thresholds of a whole volume: where its solid ends, as a grey level."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError
from etcli.core.parallel import ordered_map
from etcli.core.segmentation.pieces import Mask, components

Array = NDArray[np.float32]

RULES = ("edge", "otsu", "multi-otsu", "mixture", "dense")
BINS, COARSE_BINS = 4096, 256
HIGH_SHARE = 0.005
"""Share of the voxels that are taken to be brighter than the solid: of the bright end of the contrast."""
INSIDE = 0.2
"""Of the contrast: what is above it is the solid, with the blur around it."""
HALO = 6  # sections; a Gaussian of one voxel is cut off at four standard deviations
BODIES = 0.02  # of the contrast: what is below it is vacuum, and no part of a mixture


@dataclass(frozen=True, eq=False)
class Histogram:
    """Histogram of a volume in bins of equal width.

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
    centres : ndarray of shape (n,), float64
        Middle of each bin.
    """

    counts: NDArray[np.int64]
    centres: NDArray[np.float64]

    def quantile(self, share: float) -> float:
        """Level below which a share of the voxels lies, to the width of a bin."""
        total = np.cumsum(self.counts)
        return float(self.centres[np.searchsorted(total, share * total[-1])])

    def above(self, level: float) -> "Histogram":
        """Return the part above a level."""
        return Histogram(np.where(self.centres > level, self.counts, 0), self.centres)

    def coarse(self) -> "Histogram":
        """Return the histogram in fewer bins."""
        width = len(self.counts) // COARSE_BINS
        return Histogram(
            self.counts.reshape(-1, width).sum(axis=1), self.centres.reshape(-1, width).mean(axis=1)
        )


def histogram_of(volume: Array, inside: Mask | None = None) -> Histogram:
    """Count the voxels of a volume, or of a part of it, by their grey level.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    inside : ndarray of shape (nz, ny, nx), bool, optional
        The part; everything by default.

    Returns
    -------
    Histogram

    Raises
    ------
    DataError
        When all voxels have the same value.
    """
    parts = list(_sections(volume, inside))
    low, high = float(min(part.min() for part in parts)), float(max(part.max() for part in parts))
    if not low < high:
        raise DataError(f"all voxels have the value {low:g}, so there is nothing to segment")
    counts = np.zeros(BINS, np.int64)
    for part in parts:
        # in float32 the edges of the bins of 60000...60010 coincide
        counts += np.histogram(part.astype(np.float64), BINS, (low, high))[0]
    edges = np.linspace(low, high, BINS + 1)
    return Histogram(counts, (edges[1:] + edges[:-1]) / 2)


def global_threshold(
    volume: Array, rule: str = "edge", *, inside: Mask | None = None, threads: int = 1
) -> tuple[float, ...]:
    """Determine the threshold of a volume by a rule.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    rule : {"edge", "otsu", "multi-otsu", "mixture", "dense"}
    inside : ndarray of shape (nz, ny, nx), bool, optional
        Part of the volume to look at.
    threads : int

    Returns
    -------
    tuple of float
        The threshold; of ``multi-otsu`` both, the lower one first.

    Raises
    ------
    UsageError
        When there is no such rule.
    DataError
        When all voxels have the same value, or ``dense`` finds one density only.
    """
    check_choice("threshold rule", rule, RULES)
    histogram = histogram_of(volume, inside)
    if rule == "otsu":
        return (otsu(histogram),)
    if rule == "multi-otsu":
        return multi_otsu(histogram)
    if rule == "mixture":
        return (mixture(histogram),)
    if rule == "dense":
        return (dense(histogram),)
    return (edge(volume, histogram, inside=inside, threads=threads),)


def otsu(histogram: Histogram) -> float:
    """Level that parts a histogram into two classes of the least variance.

    References
    ----------
    Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    counts, centres = histogram.counts.astype(np.float64), histogram.centres
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (sums[-1] * below / below[-1] - sums) ** 2 / (below * (below[-1] - below))
    return float(centres[np.argmax(np.nan_to_num(between[:-1], posinf=0.0))])


def multi_otsu(histogram: Histogram) -> tuple[float, float]:
    """Two levels that part a histogram into three classes of the least variance.

    References
    ----------
    Liao, Chen & Chung, J. Inf. Sci. Eng. 17, 713 (2001).
    """
    coarse = histogram.coarse()
    counts, centres = coarse.counts.astype(np.float64), coarse.centres
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)

    def moment(weights: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(total**2 / weights)

    middle = moment(below - below[:, np.newaxis], sums - sums[:, np.newaxis])
    between = (
        moment(below, sums)[:, np.newaxis] + np.triu(middle, 1) + moment(below[-1] - below, sums[-1] - sums)
    )
    first, second = np.unravel_index(np.argmax(np.triu(between[:-1, :-1], 1)), (COARSE_BINS - 1,) * 2)
    return float(centres[first]), float(centres[second])


def mixture(histogram: Histogram) -> float:
    """Level at which two normal distributions fitted to the histogram are equally likely.

    Notes
    -----
    The vacuum, below 2 % of the contrast, is left out: a non-negative reconstruction has a spike there. The
    fit is by expectation and maximisation, from the classes of Otsu.
    """
    low, high = grey_range(histogram)
    part = histogram.above(low + BODIES * (high - low))
    part = Histogram(np.where(part.centres < high, part.counts, 0), part.centres).coarse()
    if np.count_nonzero(part.counts) < 2:  # a binary volume has no distributions
        return otsu(histogram)
    weights, levels = part.counts + 0.0, part.centres
    upper = levels > otsu(part)
    members = np.stack([~upper, upper]) + 1e-9
    least = (high - low) / 2000
    for _ in range(300):
        total = (members * weights).sum(axis=1)
        mean = (members * weights * levels).sum(axis=1) / total
        spread = (
            np.sqrt((members * weights * (levels - mean[:, np.newaxis]) ** 2).sum(axis=1) / total) + least
        )
        z = (levels - mean[:, np.newaxis]) / spread[:, np.newaxis]
        likely = (total / spread)[:, np.newaxis] * np.exp(-(z**2) / 2) + 1e-300
        members = likely / likely.sum(axis=0)
    between = (levels > mean[0]) & (levels < mean[1])
    if not between.any():
        return otsu(part)
    return float(levels[between][np.argmin(np.abs(members[0] - members[1])[between])])


def dense(histogram: Histogram) -> float:
    """Level that parts the denser of two materials, such as metal, from the other one, its support.

    Raises
    ------
    DataError
        When no voxel exceeds the most frequent level of the solid.

    Notes
    -----
    Otsu's threshold of what is above the most frequent level of the solid, which is that of the support. The
    surface of the support lies below; in Otsu's threshold of all of the solid, or in three classes, it
    outweighs metal that is less than about 1 % of the support.
    """
    upper = histogram.above(plateau(histogram))
    if not upper.counts.any():
        raise DataError("the solid has one density, so nothing in it is denser; leave out --method dense")
    return otsu(upper)


def edge(volume: Array, histogram: Histogram, *, inside: Mask | None = None, threads: int = 1) -> float:
    """Mean grey level of the surfaces: where a reconstruction is steepest.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    histogram : Histogram
        That of the volume.
    inside : ndarray of shape (nz, ny, nx), bool, optional
        Part of the volume to look at.
    threads : int

    Returns
    -------
    float

    Notes
    -----
    Mean of the levels v, weighted with the slope g = ``|∇(G₁ * v)|`` (a Gaussian of one voxel), over voxels
    where g is above the median that it has in the solid and its surface (v above 20 % of the contrast).
    """
    low, high = grey_range(histogram)
    level = low + INSIDE * (high - low)
    slopes = np.concatenate([slope[np.newaxis] for slope in _slopes(volume, threads)])
    solid = volume > level
    if inside is not None:
        solid &= inside
    steep = slopes > np.median(slopes[solid])
    if inside is not None:
        steep &= inside
    if not steep.any():  # a plateau without noise and without surfaces
        return otsu(histogram)
    weights = slopes[steep].astype(np.float64)
    return float(np.average(volume[steep].astype(np.float64), weights=weights))


def plateau(histogram: Histogram) -> float:
    """Most frequent level of the solid, that is, above Otsu's threshold."""
    upper = histogram.above(otsu(histogram))
    first = int(np.argmax(upper.counts > 0))
    smooth = ndimage.gaussian_filter1d(upper.counts[first:].astype(np.float64), len(upper.counts) / 100)
    return float(upper.centres[first + int(np.argmax(smooth))])


def hysteresis(volume: Array, low: float, high: float) -> Mask:
    """Voxels above the lower level in pieces that reach above the higher one.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    low, high : float

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool
    """
    numbers, count = components(volume > low)
    kept = np.zeros(count + 1, bool)
    kept[np.unique(numbers[volume > high])] = True
    kept[0] = False
    return np.asarray(kept[numbers])


def grey_range(histogram: Histogram) -> tuple[float, float]:
    """Levels of the vacuum and of the solid, roughly, from a histogram."""
    threshold = otsu(histogram)
    below = np.where(histogram.centres <= threshold, histogram.counts, 0)
    low = Histogram(below, histogram.centres).quantile(0.5)
    high = histogram.quantile(1 - HIGH_SHARE)
    if high <= threshold:  # the solid fills less of the volume than that
        high = histogram.above(threshold).quantile(0.5)
    return low, high


def _slopes(volume: Array, threads: int) -> Iterator[Array]:
    """Yield the length of the gradient of each section, after a Gaussian of one voxel."""

    def slab(start: int) -> NDArray[Any]:
        first, stop = max(start - HALO, 0), min(start + 2 * HALO, len(volume))
        slopes = ndimage.gaussian_gradient_magnitude(volume[first : stop + HALO], 1.0)
        return np.asarray(slopes[start - first : stop - first])

    for part in ordered_map(slab, range(0, len(volume), 2 * HALO), threads=threads):
        yield from part


def _sections(volume: Array, inside: Mask | None) -> Iterator[Array]:
    """Yield the voxels to look at, section by section."""
    for z, section in enumerate(volume):
        part = section if inside is None else section[inside[z]]
        if part.size:
            yield part
