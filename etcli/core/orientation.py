"""Orientations of views that were not taken about one axis: Euler angles and matrices.

The point r of the specimen, from the centre, is at R r in the microscope, whose beam is along z; it is seen
at u = (R r)_x, v = (R r)_y. R = (Rz(φ) Ry(θ) Rx(ψ))ᵀ with right-handed, active matrices. A series tilted
about y has θ = -tilt and φ = ψ = 0: u = x cos tilt + z sin tilt.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError

Float = NDArray[np.float64]


def rotation_matrices(euler_deg: ArrayLike) -> Float:
    """Return the matrices that take the specimen to the microscope.

    Parameters
    ----------
    euler_deg : array_like of shape (n_views, 3)
        φ, θ and ψ of each view in degrees.

    Returns
    -------
    ndarray of shape (n_views, 3, 3), float64
        R = (Rz(φ) Ry(θ) Rx(ψ))ᵀ, acting on (x, y, z).

    Raises
    ------
    DataError
        If there are not three finite angles a view.
    """
    angles = np.asarray(euler_deg, np.float64)
    if angles.ndim != 2 or angles.shape[1] != 3 or not len(angles) or not np.isfinite(angles).all():
        raise DataError(f"three finite Euler angles a view are needed, not an array of shape {angles.shape}")
    active = Rotation.from_euler("ZYX", angles, degrees=True).as_matrix()
    return np.asarray(active.transpose(0, 2, 1))


def tilts_as_euler(tilt_deg: ArrayLike) -> Float:
    """Return the Euler angles of a series tilted about y.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.

    Returns
    -------
    ndarray of shape (n_views, 3), float64
        φ = 0, θ = -tilt and ψ = 0 in degrees.
    """
    tilt = np.asarray(tilt_deg, np.float64)
    return np.stack([np.zeros_like(tilt), -tilt, np.zeros_like(tilt)], axis=1)


def euler_angles(rotation: ArrayLike, *, near_deg: ArrayLike) -> Float:
    """Return Euler angles of matrices: of all that describe them, those nearest to given ones.

    Parameters
    ----------
    rotation : array_like of shape (n_views, 3, 3)
        As `rotation_matrices` returns them.
    near_deg : array_like of shape (n_views, 3)
        φ, θ and ψ in degrees, for example before a refinement.

    Returns
    -------
    ndarray of shape (n_views, 3), float64
        φ, θ and ψ in degrees. Where θ is ±90° and only a sum or difference of the others is determined, ψ is
        the given one.
    """
    active = np.swapaxes(np.asarray(rotation, np.float64), 1, 2)
    near = np.asarray(near_deg, np.float64)
    # columns of the matrix: (cos φ cos θ, sin φ cos θ, -sin θ); last row: (-sin θ, cos θ sin ψ, cos θ cos ψ)
    cos = np.hypot(active[:, 0, 0], active[:, 1, 0])
    theta = np.arctan2(-active[:, 2, 0], cos)
    phi = np.arctan2(active[:, 1, 0], active[:, 0, 0])
    psi = np.arctan2(active[:, 2, 1], active[:, 2, 2])
    locked = cos < 1e-9
    psi[locked] = np.deg2rad(near[locked, 2])
    sign = np.sign(theta)
    # there, (0, 1) and (1, 1) are sin(± ψ - φ) and cos(± ψ - φ)
    phi[locked] = (sign * psi - np.arctan2(active[:, 0, 1], active[:, 1, 1]))[locked]
    first = np.rad2deg(np.stack([phi, theta, psi], axis=1))
    second = first * [1, -1, 1] + 180
    both = np.stack([first, second])
    both += 360 * np.round((near - both) / 360)
    closer = np.argmin(((both - near) ** 2).sum(axis=2), axis=0)
    return np.asarray(both[closer, np.arange(len(near))])
