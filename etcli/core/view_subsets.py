"""Subsets of views: the views left out for cross-validation, and the two halves of a series."""

import numpy as np
from numpy.typing import NDArray

EVERY = 6
FEWEST_VIEWS = 8
"""Smallest number of views of which some can be left out."""

ViewIndices = NDArray[np.intp]


def every_sixth(tilt_deg: NDArray[np.float64]) -> ViewIndices:
    """Return the indices of every sixth view in the order of tilt, ascending, counted from 0."""
    return np.sort(np.argsort(tilt_deg, kind="stable")[EVERY // 2 :: EVERY])


def halves(tilt_deg: NDArray[np.float64]) -> tuple[ViewIndices, ViewIndices]:
    """Return the indices of the odd and of the even views in the order of tilt, ascending, counted from 0."""
    order = np.argsort(tilt_deg, kind="stable")
    return np.sort(order[0::2]), np.sort(order[1::2])
