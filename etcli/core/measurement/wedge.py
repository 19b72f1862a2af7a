"""What the missing wedge does to the shape of bodies."""

import math

import numpy as np
from numpy.typing import NDArray

FEWEST = 5
"""Elongated bodies from which it is told whether their axes crowd."""
SIGNIFICANT = 3.0
"""Deviation from random directions, in standard errors, from which axes crowd."""


def expected_elongation(reach_deg: float) -> float:
    """Compute by how much points are longer along the beam than across it.

    Parameters
    ----------
    reach_deg : float
        Largest tilt angle of a series from -`reach_deg` to `reach_deg`, in degrees.

    Returns
    -------
    float
        √((α + sin α cos α) / (α - sin α cos α)); 1 for 90°. Bodies are less elongated than points, and those
        of methods with a prior hardly at all.

    References
    ----------
    M. Radermacher, W. Hoppe, Proc. 7th Eur. Congr. Electron Microsc. (1980) 132.
    """
    alpha = math.radians(min(reach_deg, 90.0))
    mixed = math.sin(alpha) * math.cos(alpha)
    return math.sqrt((alpha + mixed) / (alpha - mixed)) if alpha > 0 else math.inf


def crowding(direction: NDArray[np.float64]) -> float | None:
    """Compute how much more than at random the long axes of bodies point along z.

    Parameters
    ----------
    direction : ndarray of shape (n, 3), float64
        Unit vectors (z, y, x), z ≥ 0; NaN for bodies without a direction.

    Returns
    -------
    float or None
        Mean of cos(angle to z) less the 1/2 of random directions, in standard errors √(1 / 12 n); None for
        fewer than `FEWEST` directions.
    """
    cosines = direction[np.isfinite(direction[:, 0]), 0]
    if len(cosines) < FEWEST:
        return None
    return float((cosines.mean() - 0.5) * math.sqrt(12 * len(cosines)))
