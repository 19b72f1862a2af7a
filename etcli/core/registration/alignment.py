"""Alignment of a series: shifts, tilt axis and tilt angles, as the transforms that they amount to."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.registration.transforms import Transforms, compose

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Alignment of a series: shifts of the views, tilt axis and tilt angles.

    Parameters
    ----------
    shift_px : ndarray of shape (n_views, 2), float64
        (x, y) by which the content of each view has to be moved before it is rotated.
    angle_deg, offset_px : float
        The tilt axis in the shifted views, as in `TiltAxis`.
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles in degrees.
    before : Transforms, optional
        Transforms that are applied to the views first.
    """

    shift_px: Float
    angle_deg: float
    offset_px: float
    tilt_deg: Float
    before: Transforms | None = None

    def transforms(self) -> Transforms:
        """Return the transforms that make the tilt axis vertical and central."""
        n_views = len(self.tilt_deg)
        shifts = Transforms.shifts(self.shift_px)
        shifted = shifts if self.before is None else compose(self.before, shifts)
        rotated = compose(shifted, Transforms.rotation(self.angle_deg, n_views))
        return compose(rotated, Transforms.shifts(np.tile([-self.offset_px, 0.0], (n_views, 1))))

    def moved(self, step_px: Float, offset_px: float = 0.0) -> "Alignment":
        """Return the alignment with the rotated views moved by ``step_px`` and the axis by ``offset_px``."""
        turn = Transforms.rotation(self.angle_deg, 1).matrix[0]
        return replace(
            self, shift_px=self.shift_px + step_px @ turn, offset_px=self.offset_px + float(offset_px)
        )

    def turned(self, turn_deg: float, pivot_px: Float) -> "Alignment":
        """Return the alignment with the axis turned, and views and axis moved so that pivots stay in place.

        The pivots, one (x, y) a view, are relative to the middle of the aligned views. A turn about other
        points than the specimen would displace the views along the axis, each by another distance.
        """
        turned = replace(self, angle_deg=self.angle_deg + turn_deg)
        before = pivot_px + np.array([self.offset_px, 0.0])
        across, along = (before - before @ Transforms.rotation(turn_deg, 1).matrix[0].T).T
        return turned.moved(np.stack([0 * along, along - along.mean()], axis=1), -across.mean())
