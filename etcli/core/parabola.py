"""The parabola through three values."""

import numpy as np
from numpy.typing import ArrayLike


def lowest(values: ArrayLike) -> float:
    """Return where the parabola through three values at equal distances is lowest.

    Parameters
    ----------
    values : array_like of shape (3,)
        In order.

    Returns
    -------
    float
        In steps from the middle one, at most 2; where it bends down, 2 towards the smaller end.
    """
    before, middle, behind = np.asarray(values, np.float64)
    slope, bend = (behind - before) / 2, before - 2 * middle + behind
    return float(np.clip(-slope / bend, -2, 2)) if bend > 0 else float(-2 * np.sign(slope))
