"""Whether a solid has a second, higher density: metal particles on a support."""

import numpy as np

from etcli.core.segmentation.thresholds import Histogram, dense, grey_range, plateau

DENSER = 1.6
"""Contrast of the denser material over that of the lighter, at least."""
APART = 8.0
"""Least distance of the two, in medians of what exceeds the lighter level by less; 3 in normal noise."""


def two_densities(histogram: Histogram) -> tuple[float, float] | None:
    """Tell the grey levels of the two materials of a solid.

    Parameters
    ----------
    histogram : Histogram
        That of the volume, with the vacuum.

    Returns
    -------
    lighter, denser : float
        The most frequent level of the solid, and the median of what `dense` finds; None where this is no
        material of its own but noise.
    """
    vacuum, lighter = grey_range(histogram)[0], plateau(histogram)
    upper = histogram.above(lighter)
    if not upper.counts.any():
        return None
    threshold = dense(histogram)
    above = upper.above(threshold)
    if not above.counts.any():
        return None
    below = Histogram(np.where(upper.centres <= threshold, upper.counts, 0), upper.centres)
    denser, scatter = above.quantile(0.5), below.quantile(0.5) - lighter
    if denser - vacuum < DENSER * (lighter - vacuum) or denser - lighter < APART * scatter:
        return None
    return lighter, denser
