"""Assignment of views to those of another series of the same specimen, by tilt angle."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError

SAME_TILT_DEG = 0.1
"""Largest difference of two readings of one tilt angle; stages are set to about 0.05°."""


def views_by_tilt(tilt_deg: ArrayLike, of_others_deg: ArrayLike, *, others: str = "view") -> NDArray[np.intp]:
    """Find for each view the one of another series that was taken at the same tilt angle.

    Parameters
    ----------
    tilt_deg : array_like of shape (n_views,)
        Tilt angles of the views, in degrees and in any order.
    of_others_deg : array_like of shape (n_others,)
        Tilt angles of the other series.
    others : str
        Word for one of its views in messages.

    Returns
    -------
    ndarray of shape (n_views,), intp
        Indices into the other series, from 0.

    Raises
    ------
    DataError
        When no view of the other series, or more than one, is within `SAME_TILT_DEG` of a view.
    """
    views, found = np.asarray(tilt_deg, np.float64), np.asarray(of_others_deg, np.float64)
    away_deg = abs(views[:, None] - found)
    chosen = np.empty(len(views), np.intp)
    for k, row in enumerate(away_deg):
        same = np.flatnonzero(row <= SAME_TILT_DEG + 1e-9)
        nearest = int(row.argmin())
        if not same.size:
            raise DataError(
                f"view {k + 1} is at {views[k]:g}°, and the nearest {others} is {nearest + 1} at "
                f"{found[nearest]:g}°"
            )
        if same.size > 1:
            raise DataError(
                f"view {k + 1} is at {views[k]:g}°, and so are {others}s {same[0] + 1} and {same[1] + 1}"
            )
        chosen[k] = nearest
    return chosen
