"""Tilt axis angle as given by the description of a series."""

from etcli.core.series import TiltSeries
from etcli.pipeline.session import Session


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
