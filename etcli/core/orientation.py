"""Orientations of views that are not all tilted about one axis: Euler angles and rotation matrices.

A point r of the specimen, measured from the centre, is at R r in the microscope, whose beam is along z, and
appears in the view at u = (R r)_x, v = (R r)_y. R = (Rz(φ) Ry(θ) Rx(ψ))ᵀ with right-handed, active matrices.
A series tilted about y has θ = -tilt and φ = ψ = 0: u = x cos tilt + z sin tilt.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError

Float = NDArray[np.float64]


def rotation_matrices(euler_deg: ArrayLike) -> Float:
    """Compute the rotation matrices from specimen to microscope coordinates.

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
        If there are not three finite angles per view.
    """
    angles = np.asarray(euler_deg, np.float64)
    if angles.ndim != 2 or angles.shape[1] != 3 or not len(angles) or not np.isfinite(angles).all():
        raise DataError(
            f"three finite Euler angles per view are needed, not an array of shape {angles.shape}"
        )
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
    """Compute the Euler angles of rotation matrices; of equivalent sets, take the nearest to given angles.

    Parameters
    ----------
    rotation : array_like of shape (n_views, 3, 3)
        As `rotation_matrices` returns them.
    near_deg : array_like of shape (n_views, 3)
        φ, θ and ψ in degrees, for example before a refinement.

    Returns
    -------
    ndarray of shape (n_views, 3), float64
        φ, θ and ψ in degrees. Where θ is ±90°, only the sum or difference of φ and ψ is determined; ψ is then
        taken from `near_deg`.
    """
    active = np.swapaxes(np.asarray(rotation, np.float64), 1, 2)
    near = np.asarray(near_deg, np.float64)
    # columns of the matrix: (cos φ cos θ, sin φ cos θ, -sin θ); last row: (-sin θ, cos θ sin ψ, cos θ cos ψ)
    cos_theta = np.hypot(active[:, 0, 0], active[:, 1, 0])
    theta = np.arctan2(-active[:, 2, 0], cos_theta)
    phi = np.arctan2(active[:, 1, 0], active[:, 0, 0])
    psi = np.arctan2(active[:, 2, 1], active[:, 2, 2])
    locked = cos_theta < 1e-9
    psi[locked] = np.deg2rad(near[locked, 2])
    sign = np.sign(theta)
    # where θ is ±90°, elements (0, 1) and (1, 1) are sin(± ψ - φ) and cos(± ψ - φ)
    phi[locked] = (sign * psi - np.arctan2(active[:, 0, 1], active[:, 1, 1]))[locked]
    solution = np.rad2deg(np.stack([phi, theta, psi], axis=1))
    equivalent = solution * [1, -1, 1] + 180
    candidates = np.stack([solution, equivalent])
    candidates += 360 * np.round((near - candidates) / 360)
    nearest = np.argmin(((candidates - near) ** 2).sum(axis=2), axis=0)
    return np.asarray(candidates[nearest, np.arange(len(near))])
