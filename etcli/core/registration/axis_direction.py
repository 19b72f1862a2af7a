"""Direction of an unknown tilt axis: along y or along x, whichever way views predict each other better."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.binning import bin_image
from etcli.core.errors import ConvergenceError, DataError
from etcli.core.registration.matching import match_roughly
from etcli.core.registration.shifts import checked_tilts
from etcli.core.registration.transforms import Views

NARROWEST_PX = 16  # of the shorter side, that can be compared
SIZE_PX, SCALE_PX = 64, 32  # that views are binned to, for their first shifts and for the comparison
MOST_VIEWS, FEWEST_VIEWS = 31, 8
MOST_AGREE = 0.8  # of the views must be predicted better along the same axis; by chance 1 time in 1000
BETTER = 1.15  # times smaller must be the part of the views that is not predicted, in the median


@dataclass(frozen=True)
class AxisDirection:
    """Whether the tilt axis lies along y or along x.

    Parameters
    ----------
    angle_deg : float or None
        0 for an axis along y, 90 for one along x, None where the views do not tell.
    ratio : float
        How many times larger the part of the views that is not predicted is with the other axis; 1 where
        unknown.
    """

    angle_deg: float | None
    ratio: float = 1.0


def axis_direction(views: Views, tilt_deg: ArrayLike, *, threads: int = 1) -> AxisDirection:
    """Find out whether the tilt axis lies roughly along y or along x.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; at most 31 of its views are read.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    threads : int
        Number of threads.

    Returns
    -------
    AxisDirection
        Unknown with fewer than 8 views, and where the views are predicted about as well both ways.

    Raises
    ------
    DataError
        If counts differ.

    Notes
    -----
    Views binned to 32 px are registered and each of them is predicted from others, for both directions. The
    part 1 - c of a view that is not predicted, c the correlation of details, is compared view by view.
    """
    tilt = checked_tilts(views, tilt_deg)
    order = np.argsort(tilt, kind="stable")
    chosen = np.unique(order[np.linspace(0, len(order) - 1, MOST_VIEWS).astype(int)])
    if len(np.unique(tilt[chosen])) < FEWEST_VIEWS:
        return AxisDirection(None)
    factor = ceil(max(views.shape[1:]) / SIZE_PX)
    if min(views.shape[1:]) // factor < NARROWEST_PX:
        return AxisDirection(None)
    upright = np.array([bin_image(np.asarray(views[int(k)]), factor) for k in chosen], np.float32)
    if not np.isfinite(upright.sum(dtype=np.float64)):
        return AxisDirection(None)  # refused where the views are registered
    lying = np.ascontiguousarray(upright.swapaxes(1, 2))
    missed_y, missed_x = (_not_predicted(each, tilt[chosen], threads) for each in (upright, lying))
    excess = np.log(missed_x / missed_y)
    ratio = float(np.exp(np.median(excess)))
    if np.mean(excess > 0) >= MOST_AGREE and ratio >= BETTER:
        return AxisDirection(0.0, ratio)
    if np.mean(excess < 0) >= MOST_AGREE and ratio <= 1 / BETTER:
        return AxisDirection(90.0, 1 / ratio)
    return AxisDirection(None)


def _not_predicted(
    views: NDArray[np.float32], tilt_deg: NDArray[np.float64], threads: int
) -> NDArray[np.float64]:
    """Return the part of each view that others do not predict with the axis along y; 1 if none match."""
    try:
        quality = match_roughly(views, tilt_deg, size_px=SCALE_PX, threads=threads).quality
    except (ConvergenceError, DataError):
        return np.ones(len(views))
    return np.asarray(np.clip(1 - quality, np.finfo(np.float32).eps, 1))
