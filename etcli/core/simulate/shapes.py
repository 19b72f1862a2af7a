"""Solids of any orientation, besides ellipsoids: boxes and elliptic cylinders."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.simulate.solids import Plate, Solid

Array = NDArray[np.float64]
LEAST_LEAN = 1e-3
"""Least component along y of the axis of a cylinder: rays, perpendicular to y, must not run along it."""


def rotation(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> Array:
    """Return the matrix that turns first about x, then about y, then about z, by the right-hand rule.

    Parameters
    ----------
    x_deg, y_deg, z_deg : float
        Angles in degrees.

    Returns
    -------
    ndarray of shape (3, 3), float64
        Its columns are the directions of the axes of a turned body.
    """
    cx, cy, cz = np.cos(np.deg2rad([x_deg, y_deg, z_deg]))
    sx, sy, sz = np.sin(np.deg2rad([x_deg, y_deg, z_deg]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def box(
    middle: ArrayLike, half_px: ArrayLike, *, axes: ArrayLike | None = None, density: float = 1.0
) -> Solid:
    """Create a box.

    Parameters
    ----------
    middle : array_like of shape (3,)
        Its centre (x, y, z), in pixels from the rotation centre.
    half_px : array_like of shape (3,)
        Halves of its sides along its own x, y, z.
    axes : array_like of shape (3, 3), optional
        Matrix whose columns are the directions of its sides.
    density : float
        Value that it adds to the voxels inside it.

    Returns
    -------
    Solid

    Raises
    ------
    UsageError
        When a side is not positive.
    """
    middle, half, own = _checked(middle, half_px, axes)
    reach = abs(own) @ half
    solid = Solid(density, (), (), middle - reach, middle + reach)
    for direction, extent in zip(own.T, half, strict=True):
        solid = _between(solid, direction, middle, extent)
    return solid


def cylinder(
    middle: ArrayLike, half_px: ArrayLike, *, axes: ArrayLike | None = None, density: float = 1.0
) -> Solid:
    """Create an elliptic cylinder.

    Parameters
    ----------
    middle : array_like of shape (3,)
        Its centre (x, y, z), in pixels from the rotation centre.
    half_px : array_like of shape (3,)
        Half axes of its section along its own x and y, and half its length along its own z.
    axes : array_like of shape (3, 3), optional
        Matrix whose columns are the directions of its own x, y, z.
    density : float
        Value that it adds to the voxels inside it.

    Returns
    -------
    Solid

    Raises
    ------
    UsageError
        When a length is not positive, or its axis is perpendicular to y, the tilt axis: rays may then run
        along it.
    """
    middle, half, own = _checked(middle, half_px, axes)
    if abs(own[1, 2]) < LEAST_LEAN:
        raise UsageError("the axis of a cylinder must not be perpendicular to y; turn it a little")
    form = own[:, :2] @ np.diag(half[:2] ** -2.0) @ own[:, :2].T
    quadric = np.block([[form, -(form @ middle)[:, None]], [-(form @ middle), middle @ form @ middle - 1]])
    reach = np.sqrt(own[:, :2] ** 2 @ half[:2] ** 2) + abs(own[:, 2]) * half[2]
    solid = Solid(density, (quadric,), (), middle - reach, middle + reach)
    return _between(solid, own[:, 2], middle, half[2])


def _checked(middle: ArrayLike, half_px: ArrayLike, axes: ArrayLike | None) -> tuple[Array, Array, Array]:
    """Return centre, half lengths and directions as arrays; raise UsageError for an empty body."""
    half = np.asarray(half_px, np.float64)
    if not (half > 0).all():
        raise UsageError(f"a body with half lengths {half.tolist()} px is empty; use positive ones")
    own = np.eye(3) if axes is None else np.asarray(axes, np.float64)
    return np.asarray(middle, np.float64), half, own


def _between(solid: Solid, direction: Array, middle: Array, extent: float) -> Solid:
    """Return the part of a solid up to a distance from its middle along a direction; its box is as it was."""
    height = float(direction @ middle)
    plate = Plate(direction, height - extent, height + extent)
    return Solid(solid.density, solid.quadrics, (*solid.plates, plate), solid.low, solid.high)
