"""Tilt axis angle as given by the description of a series, and what a region is in views rotated by it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import ConvergenceError
from etcli.core.geometry import wrapped_deg
from etcli.core.registration.axis_direction import axis_direction
from etcli.core.registration.transforms import lies_along_x, resample
from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session
from etcli.pipeline.view_selection import Region

OTHER_AXIS_DEG = 45.0
"""Difference of two tilt axes that no rough angle explains."""
NEAR_XY_DEG = 25.0
"""Angle from x or y up to which an axis is compared with one across it."""


def known_axis_deg(session: Session, series: TiltSeries, *, told: bool = False) -> float:
    """Return the angle from +y to the tilt axis in the description of a series, 0 if it has none.

    ``told`` is whether `with_axis_direction` has said already that it has none.
    """
    axis_deg = series.axis_deg or 0.0
    if series.axis_deg is None and series.views.euler_deg is None and not told:
        session.reporter.report(
            f"{series.name}: states no tilt axis; taken as vertical (--axis gives another)"
        )
    if axis_deg and series.axis_source == "RotationAngle":
        session.reporter.warn(
            f"{series.name}: tilt axis at {axis_deg:g}° by RotationAngle - 90, as is usual but not universal"
        )
    elif axis_deg and series.axis_source == "title":
        session.reporter.note(f"{series.name}: tilt axis at {axis_deg:g}° by the mdoc")
    elif series.axis_source.endswith(".txt"):
        session.reporter.report(f"{series.name}: tilt axis at {axis_deg:g}° by {series.axis_source}")
    return axis_deg


def with_given_axis(session: Session, series: TiltSeries, axis_deg: float | None) -> TiltSeries:
    """Return the series with a tilt axis that the user gives; warn where its description has another one."""
    if axis_deg is None:
        return series
    if series.axis_deg is not None:
        away_deg = abs(wrapped_deg(axis_deg - series.axis_deg))
        mirrored = "; one of them makes the volume a mirror image" if away_deg > 90 else ""
        if away_deg > OTHER_AXIS_DEG:
            session.reporter.warn(
                f"{series.name}: --axis {axis_deg:g} contradicts the tilt axis at {series.axis_deg:g}° by "
                f"{stated_by(series)}; taken as given{mirrored}"
            )
    return series.with_axis(axis_deg)


def stated_by(series: TiltSeries) -> str:
    """Return in words where the tilt axis of a series is stated."""
    words = {"title": "its mdoc", "RotationAngle": "RotationAngle in its mdoc", "": "its description"}
    return words.get(series.axis_source, series.axis_source)


def with_axis_direction(session: Session, series: TiltSeries, *, strict: bool) -> TiltSeries:
    """Return a series that states no tilt axis with the direction, along y or x, that its views show.

    Parameters
    ----------
    session : Session
        Told of the choice; gets a warning where the axis is not along y, or the views do not tell, or
        contradict an axis that the user gives.
    series : TiltSeries
    strict : bool
        Whether there is an error where the views do not tell.

    Returns
    -------
    TiltSeries
        The series itself where it states an axis or Euler angles, or where the views do not tell.

    Raises
    ------
    DataError
        When there are no tilt angles.
    ConvergenceError
        Where `strict`.
    """
    if series.axis_deg is not None or series.views.euler_deg is not None:
        if series.axis_source == "given" and series.views.euler_deg is None:
            _doubt_given_axis(session, series, series.axis_deg or 0.0)
        return series
    tilt_deg = series.tilt_deg
    found = axis_direction(series.images(), tilt_deg, threads=session.threads)
    silent = f"{series.name}: states no tilt axis"
    if found.angle_deg is None:
        unknown = f"{silent}, and the views do not show whether it lies along y or x"
        if strict:
            raise ConvergenceError(f"{unknown}; give --axis 0 or --axis 90")
        session.reporter.warn(f"{unknown}; taken as vertical (--axis 90 where it lies along x)")
        return series
    better = f"predict each other {found.ratio:.1f} times better"
    if found.angle_deg:
        session.reporter.warn(
            f"{silent}; views {better} with one along x: taken as --axis {found.angle_deg:g}; if --axis "
            f"{-found.angle_deg:g} is right, the volume is a mirror image"
        )
    else:
        session.reporter.report(
            f"{silent}; taken as vertical, with which views {better} than with one along x"
        )
    return replace(series, axis_deg=found.angle_deg, axis_source="views")


def _doubt_given_axis(session: Session, series: TiltSeries, axis_deg: float) -> None:
    """Warn where views predict each other better with an axis across the given one."""
    if abs((axis_deg + 45) % 90 - 45) > NEAR_XY_DEG:
        return  # as far from x as from y
    found = axis_direction(series.images(), series.tilt_deg, threads=session.threads)
    if found.angle_deg is None or bool(found.angle_deg) == lies_along_x(axis_deg):
        return
    direction, other = ("x", "90 or --axis -90") if found.angle_deg else ("y", "0")
    session.reporter.warn(
        f"{series.name}: --axis {axis_deg:g} contradicts the views, which predict each other "
        f"{found.ratio:.1f} times better with one along {direction} (--axis {other})"
    )


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


def rotated_mask(
    mask: NDArray[np.generic], matrix: NDArray[np.float64], rotated_shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Find the pixels of rotated views that a mask of the original views, not zero there, shows in full.

    Parameters
    ----------
    mask : ndarray of shape (ny, nx)
    matrix : ndarray of shape (2, 2)
        The rotation about the centre, acting on (x, y).
    rotated_shape : (int, int)
        Rows and columns of the rotated views.

    Returns
    -------
    ndarray of shape `rotated_shape`, bool
    """
    shown = (mask != 0).astype(np.float32)
    return resample(shown, matrix, (0, 0), shape=rotated_shape, method="linear", fill=0.0) > 1 - 1e-3
