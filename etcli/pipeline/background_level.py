"""Background level that is subtracted from the views."""

from typing import Any

from etcli.core.arguments import checked_number
from etcli.core.background import empty_rim_background
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session


def background_level(
    session: Session, series: TiltSeries, requested: float | str, *, used: str = "subtracted"
) -> float | None:
    """Determine the background level to subtract, and report it.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    requested : float or {"auto", "none"}
        A level, none, or that of an empty rim across the tilt axis.
    used : str
        What is done with it, for the report.

    Returns
    -------
    float or None
        None where nothing is subtracted.
    """
    requested = checked_background(requested)
    if requested == "none":
        return None
    if not isinstance(requested, str):
        return requested
    images: Any = series.images()
    with file_named_in_errors(series):
        background = empty_rim_background(
            images.swapaxes(1, 2) if lies_along_x(series.axis_deg or 0.0) else images
        )
    if background.level is None:
        session.reporter.report(f"no background is {used}: {background.reason}")
    elif background.level == 0:
        session.reporter.note(f"no background has to be {used}: {background.reason}")
    else:
        session.reporter.report(f"background {background.level:.7g} is {used} ({background.reason})")
    return background.level


def checked_background(requested: Any) -> float | str:
    """Return a requested background level as a float, or "auto" or "none"; raise UsageError for others."""
    if isinstance(requested, str) and requested in ("auto", "none"):
        return requested
    return checked_number("background", requested, or_else="'auto' or 'none'")


def level_words(level: float | None, contrast: str) -> list[str]:
    """Return the background level in words, for the history of the volume."""
    what = "background" if contrast == "linear" else "logarithm from"
    return [f"{what} {level:.6g}"] if level else []
