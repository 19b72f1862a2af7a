"""Geometry: the conventions of etcli, and the geometry of a slice.

A tilt series is an array ``(view, y, x)``, a volume ``(z, y, x)``; row 0 is the bottom of an image.
The tilt axis is parallel to y. The centre of ``n`` pixels is the pixel-centre point ``(n - 1) / 2``,
for odd and even ``n`` alike, in every direction. In coordinates from the centres, the point ``(x, y, z)``
of the specimen appears at tilt angle θ at ``(x cos θ + z sin θ, y)``, as in IMOD.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError


def centre(n: int) -> float:
    """Return the index of the centre of ``n`` pixels."""
    return (n - 1) / 2


def wrapped_deg(angle_deg: float) -> float:
    """Return an angle in degrees as that from -180 to 180 in the same direction, 180 as -180."""
    return (angle_deg + 180) % 360 - 180


def across_axis(position: NDArray[np.float64], tilt_deg: float) -> NDArray[np.float64]:
    """Compute how far from the tilt axis points are seen in a view: x cos θ + z sin θ.

    Parameters
    ----------
    position : ndarray of shape (n, 3), float64
        Points (x, y, z) from the rotation centre, in any unit.
    tilt_deg : float
        Tilt angle θ.

    Returns
    -------
    ndarray of shape (n,), float64
        In the same unit; y is seen unchanged.
    """
    tilt = np.deg2rad(tilt_deg)
    across: NDArray[np.float64] = position[:, 0] * np.cos(tilt) + position[:, 2] * np.sin(tilt)
    return across


@dataclass(frozen=True)
class SliceGeometry:
    """Two-dimensional geometry shared by all slices perpendicular to the tilt axis.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles in degrees, in any order and with any spacing.
    n_detector : int
        Pixels of a view across the tilt axis.
    thickness, width : int
        Voxels of a slice along z and x.
    axis_offset_px : float
        Position of the tilt axis on the detector, in pixels from its centre, positive towards larger x.
    z_offset_px : float
        Height of the centre of the slice above the tilt axis.
    view_weight : ndarray of shape (n_views,), float32, optional
        Weight of each view; equal by default. Projectors without weights ignore it.
    """

    tilt_deg: NDArray[np.float64]
    n_detector: int
    thickness: int
    width: int
    axis_offset_px: float = 0.0
    z_offset_px: float = 0.0
    view_weight: NDArray[np.float32] | None = None
    cos: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    sin: NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tilt_deg = np.atleast_1d(np.asarray(self.tilt_deg, np.float64))
        if tilt_deg.ndim != 1 or tilt_deg.size == 0 or not np.isfinite(tilt_deg).all():
            raise UsageError("tilt angles must be a list of finite numbers, one per view")
        if min(self.n_detector, self.thickness, self.width) < 1:
            raise UsageError("detector, thickness and width must be at least one pixel")
        if self.view_weight is not None:
            weight = np.asarray(self.view_weight, np.float32)
            if weight.shape != tilt_deg.shape or not (np.isfinite(weight) & (weight > 0)).all():
                raise UsageError(f"{tilt_deg.size} views need as many positive weights; exclude the others")
            object.__setattr__(self, "view_weight", weight)
        tilt_rad = np.deg2rad(tilt_deg)
        object.__setattr__(self, "tilt_deg", tilt_deg)
        object.__setattr__(self, "cos", np.cos(tilt_rad))
        object.__setattr__(self, "sin", np.sin(tilt_rad))

    def of_views(self, views: Sequence[int] | NDArray[np.intp]) -> "SliceGeometry":
        """Return the geometry of a subset of the views, counted from 0."""
        chosen = np.asarray(views)
        weight = None if self.view_weight is None else self.view_weight[chosen]
        return replace(self, tilt_deg=self.tilt_deg[chosen], view_weight=weight)

    @property
    def centre_px(self) -> NDArray[np.float64]:
        """Position of the centre of the slice on the detector in each view, in pixels from the first."""
        return centre(self.n_detector) + self.axis_offset_px + self.z_offset_px * self.sin

    @property
    def n_views(self) -> int:
        """Number of views."""
        return int(self.tilt_deg.size)


def tilt_range(start_deg: float, stop_deg: float, step_deg: float) -> NDArray[np.float64]:
    """Return evenly spaced tilt angles, both ends included where the step reaches them.

    Parameters
    ----------
    start_deg, stop_deg, step_deg : float
        First and last angle, and the distance between neighbours, in degrees.

    Returns
    -------
    ndarray of shape (n_views,), float64

    Raises
    ------
    UsageError
        When the step is zero or leads away from the last angle.
    """
    span = stop_deg - start_deg
    if not np.isfinite(span) or step_deg == 0 or not span * step_deg >= 0:
        raise UsageError(f"no tilt angles from {start_deg:g} to {stop_deg:g}° in steps of {step_deg:g}°")
    # count first: adding up the steps would miss the last angle by rounding
    n_views = int(np.floor(span / step_deg + 1e-6)) + 1
    return np.asarray(start_deg + step_deg * np.arange(n_views), np.float64)
