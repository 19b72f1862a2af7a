"""Axes of the ellipsoids that have the second moments of labels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

LEAST_ELONGATION = 1.1
"""Ratio of the first to the second axis below which the direction of the first is an accident."""


class Axes(NamedTuple):
    """Axes of labels.

    Parameters
    ----------
    length : ndarray of shape (n, 3), float64
        Full axes of the ellipsoids in voxels, falling.
    direction : ndarray of shape (n, 3), float64
        Unit vectors (z, y, x) along the first axes, z ≥ 0; NaN where the body is not elongated.
    angle_z_deg : ndarray of shape (n,), float64
        Angles between the first axes and z, 0 to 90; NaN where there is no direction.
    """

    length: Doubles
    direction: Doubles
    angle_z_deg: Doubles


def ellipsoid_axes(covariance: Doubles) -> Axes:
    """Compute the axes of the ellipsoids of equal second moments.

    Parameters
    ----------
    covariance : ndarray of shape (n, 3, 3), float64
        Second central moments along z, y and x.

    Returns
    -------
    Axes

    Notes
    -----
    A solid ellipsoid of half axis a has the second moment a² / 5 along it, so the full axis is 2 √(5 λ).
    """
    moments, vectors = np.linalg.eigh(covariance)
    length = 2 * np.sqrt(5 * moments[:, ::-1].clip(0))
    direction = vectors[:, :, 2]
    direction = np.where(direction[:, :1] < 0, -direction, direction)
    direction[length[:, 0] < LEAST_ELONGATION * length[:, 1]] = np.nan
    return Axes(length, direction, np.degrees(np.arccos(direction[:, 0].clip(0, 1))))
