"""The parabola through three values."""

import numpy as np
from numpy.typing import ArrayLike


def lowest(values: ArrayLike) -> float:
    """Find the minimum of the parabola through three equally spaced values.

    Parameters
    ----------
    values : array_like of shape (3,)
        In order.

    Returns
    -------
    float
        Position of the minimum in steps from the middle value, at most 2; where the parabola bends down, 2
        towards the smaller end.
    """
    before, middle, after = np.asarray(values, np.float64)
    slope, curvature = (after - before) / 2, before - 2 * middle + after
    return float(np.clip(-slope / curvature, -2, 2)) if curvature > 0 else float(-2 * np.sign(slope))
