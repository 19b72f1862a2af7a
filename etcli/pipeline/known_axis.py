"""Tilt axis angle as given by the description of a series, and what a region is in views rotated by it."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import Region


def known_axis_deg(session: Session, series: TiltSeries) -> float:
    """Return the angle from +y to the tilt axis in the description of a series, 0 if it has none."""
    axis_deg = series.axis_deg or 0.0
    if series.axis_deg is None and series.views.euler_deg is None:
        session.reporter.report(
            f"{series.name}: states no tilt axis; taken as vertical (--axis gives another)"
        )
    if axis_deg and series.axis_source == "RotationAngle":
        session.reporter.warn(
            f"{series.name}: tilt axis at {axis_deg:g}° by RotationAngle - 90, as is usual but not universal"
        )
    elif axis_deg and series.axis_source == "title":
        session.reporter.note(f"{series.name}: tilt axis at {axis_deg:g}° by the mdoc")
    return axis_deg


def rotated_region(
    region: Region, matrix: NDArray[np.float64], shape: tuple[int, int], rotated_shape: tuple[int, int]
) -> tuple[slice, slice]:
    """Find the rows and columns of rotated views that hold a region of the original views.

    Parameters
    ----------
    region : Region
    matrix : ndarray of shape (2, 2)
        The rotation about the centre, acting on (x, y).
    shape, rotated_shape : (int, int)
        Rows and columns of the original and of the rotated views.

    Returns
    -------
    rows, columns : slice
    """
    # edges of pixels, relative to the centre, (x, y)
    spans = (region.columns.start, region.columns.stop), (region.rows.start, region.rows.stop)
    corners = np.array([(x, y) for x in spans[0] for y in spans[1]]) - np.array(shape[::-1]) / 2
    rotated = (corners @ matrix.T + np.array(rotated_shape[::-1]) / 2).round().astype(int)
    low, high = (np.clip(ends, 0, rotated_shape[::-1]) for ends in (rotated.min(axis=0), rotated.max(axis=0)))
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
