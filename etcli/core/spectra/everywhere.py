"""Elements whose X-rays also come from the holder: counts where there is no specimen."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

EVERYWHERE = 0.1
"""Share of a map that counts beside the specimen must have to be told."""
RIM, EMPTY = 0.1, 0.05
"""Share of the pixels that are looked at, those with the fewest counts of others, and how many counts of
others they may have, relative to the mean."""
BLUR_PX = 2.0
DEVIATIONS = 4.0
"""Standard deviations from which counts are significant."""


def levels_off_specimen(maps: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Measure the counts of each element where the others have none.

    Parameters
    ----------
    maps : ndarray of shape (n_elements, n_views, ny, nx), float32
        Counts.

    Returns
    -------
    list of tuple of float
        Counts a pixel of each element, and their share of its map; 0 where they are not significant, or
        others have counts everywhere, as in a film that fills the field.
    """
    whole = maps.sum(axis=0)
    found = []
    for own in maps:
        level, mean = 0.0, float(own.mean(dtype=np.float64))
        others = gaussian_filter(whole - own, (0, BLUR_PX, BLUR_PX))
        beside = others <= np.quantile(others, RIM, axis=(1, 2), keepdims=True)
        is_empty = others[beside].mean(dtype=np.float64) < EMPTY * others.mean(dtype=np.float64)
        if is_empty and mean > 0:
            there = own[beside].astype(np.float64)
            error = np.sqrt(max(there.mean(), 1 / there.size) / there.size)
            level = float(there.mean()) if there.mean() > DEVIATIONS * error else 0.0
        found.append((level, level / mean if mean > 0 else 0.0))
    return found
