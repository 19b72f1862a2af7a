"""Residual of an aligned series after reprojection, as a function of the tilt axis."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.registration.alignment import Alignment
from etcli.core.registration.matching import COARSE_PX
from etcli.core.registration.matching_scale import SeriesPyramid
from etcli.core.registration.shifts import checked_tilts
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AxisResidual:
    """Residual of a series after reprojection, as a function of angle and of offset of the axis.

    Parameters
    ----------
    angle_deg, by_angle : ndarray of shape (n_angles,), float64
        Angles from the axis of the series, and the relative norm of the residual for each.
    offset_px, by_offset : ndarray of shape (n_offsets,), float64
        Offsets from the axis of the series, and the relative norm of the residual for each.
    """

    angle_deg: Float
    by_angle: Float
    offset_px: Float
    by_offset: Float


def axis_residual(
    views: Views, tilt_deg: ArrayLike, *, background: float | None = None, threads: int = 1
) -> AxisResidual:
    """Measure the residual after reprojection for axes around that of an aligned series.

    Parameters
    ----------
    views, tilt_deg, background, threads
        As for `match_views`; the tilt axis vertical in the middle.

    Returns
    -------
    AxisResidual
        Within 3° and within 3 % of the width.

    Raises
    ------
    DataError
        If counts differ or a view holds NaN.
    """
    tilt = checked_tilts(views, tilt_deg)
    series = SeriesPyramid(views, background, threads)
    scale = series.level(series.factor(COARSE_PX))
    aligned = Alignment(np.zeros((len(tilt), 2)), 0.0, 0.0, tilt)
    angle_deg = np.linspace(-3, 3, 7)
    offset_px = np.linspace(-0.03, 0.03, 7) * views.shape[2]
    all_views = np.ones(len(tilt), bool)

    def residual(**axis: Any) -> float:
        return float(np.sqrt(scale.residual(replace(aligned, **axis), all_views)))

    by_angle = np.array([residual(angle_deg=angle) for angle in angle_deg])
    by_offset = np.array([residual(offset_px=offset) for offset in offset_px])
    return AxisResidual(angle_deg, by_angle, offset_px, by_offset)
