"""The level that is taken off before the work."""

from typing import Any

from etcli.core.background import empty_rim_background
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session


def background_level(session: Session, series: TiltSeries, asked: float | str) -> float | None:
    """Return the level to take off, and tell it.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    asked : float or {"auto", "none"}
        A level, none, or that of an empty rim across the tilt axis.

    Returns
    -------
    float or None
        None where nothing is taken off.
    """
    if asked == "none":
        return None
    if isinstance(asked, int | float):
        return float(asked)
    images: Any = series.images()
    with file_named_in_errors(series):
        found = empty_rim_background(
            images.swapaxes(1, 2) if lies_along_x(series.axis_deg or 0.0) else images
        )
    if found.level is None:
        session.reporter.report(f"no background is taken off: {found.reason}")
    elif found.level == 0:
        session.reporter.note(f"no background has to be taken off: {found.reason}")
    else:
        session.reporter.report(f"background {found.level:.7g} is taken off ({found.reason})")
    return found.level


def level_words(level: float | None, contrast: str) -> list[str]:
    """Say what was taken off, for the history of the volume."""
    what = "background" if contrast == "linear" else "logarithm from"
    return [f"{what} {level:.6g}"] if level else []
