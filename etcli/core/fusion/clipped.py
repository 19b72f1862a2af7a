"""HAADF views that are clipped at the largest value of the detector."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

STEP = 0.1
"""Width of a bin of intensities over the standard deviation of the noise."""
BELOW = 10
"""Bins below the ceiling with which it is compared."""
PILED_UP, FEWEST = 5.0, 20
"""A ceiling has so many times the pixels of a bin below it, and so many more."""
SHARE = 0.1
"""Share of the views that reach the same ceiling."""


def clipped_views(haadf: Array, noise: float) -> NDArray[np.intp]:
    """Find the views that are clipped: in which bright pixels pile up at one value that all views share.

    Parameters
    ----------
    haadf : ndarray of shape (n_views, ny, nx)
        HAADF views, also interpolated ones.
    noise : float
        Standard deviation of a pixel.

    Returns
    -------
    ndarray of int
        Their indices; none where less than a tenth of the views are, as in one view pixels may be equal by
        chance.

    Notes
    -----
    Noise spreads equal intensities, so a value that many more pixels have than the values just below it is a
    limit of the detector. Interpolation keeps it inside areas that are clipped.
    """
    bright = float(haadf.max()) / 2
    values, views = haadf[haadf > bright], np.nonzero(haadf > bright)[0]
    if not values.size:
        return np.empty(0, np.intp)
    whole = bool((values == np.rint(values)).all())
    width = max(STEP * noise, 1.0 if whole else 0.0)
    at = np.rint((values - values.min()) / width).astype(np.int64)
    n = np.bincount(at)
    top = int(n.argmax())
    below = n[max(top - BELOW, 0) : top].mean() if top else 0.0
    if n[top] <= PILED_UP * below + FEWEST or n[top + 1 :].sum() > n[top]:
        return np.empty(0, np.intp)
    found = np.unique(views[at == top])
    return found if len(found) >= SHARE * len(haadf) and len(found) > 1 else np.empty(0, np.intp)
