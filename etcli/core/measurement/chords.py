"""Mean chords: how long straight lines along the axes stay in a body."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

ENDS = ((0, -1), (1, None))
"""Voxels, and their neighbours ahead."""


def mean_chords(mask: Mask, region: Mask | None = None) -> NDArray[np.float64]:
    """Measure the mean length of chords along z, y and x.

    Parameters
    ----------
    mask : ndarray of shape (nz, ny, nx), bool
        The body.
    region : ndarray of shape (nz, ny, nx), bool, optional
        Where it is measured; by default everywhere.

    Returns
    -------
    ndarray of shape (3,), float64
        Lengths in voxels; infinite where lines never leave the body, NaN where there is none.

    Notes
    -----
    The mean chord is 2 φ / T_L, with the part φ of the voxels that is in the body and the number T_L of
    crossings of its surface in a unit length of line: chords that the region cuts do not shorten it.

    References
    ----------
    Underwood, Quantitative Stereology, Addison-Wesley (1970), chapter 4: mean intercept length.
    """
    inside = mask if region is None else mask & region
    fraction = np.count_nonzero(inside) / (inside.size if region is None else np.count_nonzero(region))
    lengths = np.empty(3)
    for axis in range(3):
        first, second = (tuple(slice(a, b) if k == axis else slice(None) for k in range(3)) for a, b in ENDS)
        unlike = mask[first] != mask[second]
        if region is None:
            steps = unlike.size
        else:
            both = region[first] & region[second]
            unlike &= both
            steps = np.count_nonzero(both)
        crossings = np.count_nonzero(unlike)
        lengths[axis] = 2 * fraction * steps / crossings if crossings else np.inf
    return lengths if fraction else np.full(3, np.nan)
