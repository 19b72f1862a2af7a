"""Which views are left out to judge by, and how a series is halved."""

import numpy as np
from numpy.typing import NDArray

EVERY = 6
FEWEST_VIEWS = 8
"""Views of which some can be left out."""

Chosen = NDArray[np.intp]


def every_sixth(tilt_deg: NDArray[np.float64]) -> Chosen:
    """Every sixth view in the order of tilt, ascending by number, counted from 0."""
    return np.sort(np.argsort(tilt_deg, kind="stable")[EVERY // 2 :: EVERY])


def halves(tilt_deg: NDArray[np.float64]) -> tuple[Chosen, Chosen]:
    """The odd and the even views in the order of tilt, ascending by number, counted from 0."""
    order = np.argsort(tilt_deg, kind="stable")
    return np.sort(order[0::2]), np.sort(order[1::2])
