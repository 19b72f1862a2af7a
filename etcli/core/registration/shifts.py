"""Shifts of views: the result of all registration methods, and tests for doubtful views."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]

FEWEST_TO_JUMP = 5
JUMP_SIGMA = 4.0
JUMP_PX = 1.0  # a smaller deviation is no reason for doubt, however smooth the rest is


@dataclass(frozen=True, eq=False)
class Shifts:
    """Shift of every view, with its quality and whether it is doubtful.

    Parameters
    ----------
    shift_px : ndarray of shape (n_views, 2), float64
        (x, y) by which the content of a view has to be moved, in pixels of the views.
    quality : ndarray of shape (n_views,), float64
        How well the view matched, at most 1.
    doubtful : ndarray of shape (n_views,), bool
        Views to inspect: blank, unlike their neighbours, or away from the smooth motion.
    residual_px : float
        Root mean square disagreement of the measurements; NaN if no shift was measured more than once.
    deviation_px : ndarray of shape (n_views, 2), float64, optional
        (x, y) from where a view is to where other views predict it, with the axis vertical; None if that is
        not known.
    """

    shift_px: Float
    quality: Float
    doubtful: NDArray[np.bool_]
    residual_px: float
    deviation_px: Float | None = None


def checked_tilts(views: Views, tilt_deg: ArrayLike) -> Float:
    """Return the tilt angles after validation: one for each of at least two views.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.

    Returns
    -------
    ndarray of shape (n_views,), float64

    Raises
    ------
    DataError
        If there are fewer than two views, the counts differ or an angle is not finite.
    """
    tilt = np.asarray(tilt_deg, np.float64)
    if views.ndim != 3 or len(views) < 2:
        raise DataError(f"a series of at least two views is needed, not an array of shape {views.shape}")
    if tilt.shape != (len(views),):
        raise DataError(f"{len(views)} views but {tilt.size} tilt angles; one per view is needed")
    if not np.isfinite(tilt).all():
        raise DataError(f"the tilt angle of view {np.argmin(np.isfinite(tilt)) + 1} is not a finite number")
    return tilt


def jumps(shift_px: Float, *, least_px: float = JUMP_PX) -> NDArray[np.bool_]:
    """Find the views whose shift departs from the smooth motion of the series.

    Parameters
    ----------
    shift_px : ndarray of shape (n_views, 2)
        Shifts of the views in the order of their angles.
    least_px : float
        Smaller departures are ignored.

    Returns
    -------
    ndarray of shape (n_views,), bool
        Whether a view is more than 4 robust standard deviations, and ``least_px``, from the median of the two
        views before and the two after it; at a step, both views beside it are marked. With fewer than five
        views, none is.
    """
    if len(shift_px) < FEWEST_TO_JUMP:
        return np.zeros(len(shift_px), bool)
    middle = partial(ndimage.median_filter, footprint=[[1], [1], [0], [1], [1]], mode="mirror")
    upper, lower = middle(shift_px), -middle(-shift_px)  # of the two in the middle of four
    deviation = np.maximum(np.abs(shift_px - upper), np.abs(shift_px - lower))
    return np.asarray((deviation > np.maximum(outlier_limit(deviation), least_px)).any(axis=1))


def running_median(values: Float) -> Float:
    """Return the median of eleven neighbouring views around each view.

    Parameters
    ----------
    values : ndarray of shape (n_views,)
        One value per view, in the order of the tilt angles.

    Returns
    -------
    ndarray of shape (n_views,), float64
    """
    return np.asarray(ndimage.median_filter(values, 11, mode="mirror"))


def like_neighbours(quality: Float, least: float) -> NDArray[np.bool_]:
    """Find the views that match about as well as those around them.

    Parameters
    ----------
    quality : ndarray of shape (n_views,)
        Of the views in the order of their angles.
    least : float
        Smallest accepted ratio of the quality to its running median.

    Returns
    -------
    ndarray of shape (n_views,), bool
    """
    return np.asarray((quality > 0) & (quality >= least * running_median(quality)))


def outlier_limit(deviation: Float) -> Float:
    """Return the limit beyond which a deviation is an outlier.

    Parameters
    ----------
    deviation : ndarray of shape (n, ...)
        Absolute deviations in pixels.

    Returns
    -------
    ndarray of shape (...), float64
        4 robust standard deviations of each column, but at least a pixel.
    """
    return np.maximum(JUMP_SIGMA * 1.4826 * np.median(deviation, axis=0), JUMP_PX)
