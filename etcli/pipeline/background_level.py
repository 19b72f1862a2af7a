"""Background level that is subtracted from the views."""

from dataclasses import replace
from typing import Any

from etcli.core.arguments import checked_number
from etcli.core.background import Background, empty_rim_background
from etcli.core.registration.transforms import lies_along_x
from etcli.core.series import TiltSeries
from etcli.pipeline.first_look import FirstLook
from etcli.pipeline.inputs import file_named_in_errors
from etcli.pipeline.session import Session


def background_level(
    session: Session,
    series: TiltSeries,
    requested: float | str,
    *,
    look: FirstLook | None = None,
    needed: bool = False,
    used: str = "subtracted",
) -> float | None:
    """Determine the background level to subtract, and report it.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    requested : float or {"auto", "none"}
        A level, none, or that of an empty rim across the tilt axis, else the one that is known of the series.
    look : FirstLook, optional
        First look at the series, whose rims are not measured again then.
    needed : bool
        Whether the values mean nothing with a wrong level, so that an unknown one is warned of.
    used : str
        What is done with it, for the report.

    Returns
    -------
    float or None
        None where nothing is subtracted; also where views contradict the level that is known of them.
    """
    requested = checked_background(requested)
    if requested == "none":
        return None
    if not isinstance(requested, str):
        return requested
    with file_named_in_errors(series):
        background = _measured(series, look)
    if background.level is None and series.background is not None:
        return _known(session, series, series.background, background, used)
    if background.level is None and needed and background.may_be_missed:
        session.reporter.warn(
            f"{series.name}: no background is {used} ({background.reason}); give the value where there "
            "is nothing with --background, 0 if it is that"
        )
    elif background.level is None:
        session.reporter.report(f"no background is {used}: {background.reason}")
    elif background.level == 0:
        session.reporter.note(f"no background has to be {used}: {background.reason}")
    else:
        session.reporter.report(f"background {background.level:.7g} is {used} ({background.reason})")
    return background.level


def _known(
    session: Session, series: TiltSeries, level: float, measured: Background, used: str
) -> float | None:
    """Return the level of an earlier step, or None where the views contradict it, and tell which."""
    if measured.allows(level):
        session.reporter.report(
            f"background {level:.7g} is {used} (known from an earlier step; here {measured.reason})"
        )
        return level
    session.reporter.warn(
        f"{series.name}: background {level:.7g} of an earlier step does not fit the views "
        f"({measured.lowest:.5g} to {measured.highest:.5g}), as if their values were changed since; it is "
        f"not {used}; give the value where there is nothing with --background"
    )
    return None


def _measured(series: TiltSeries, look: FirstLook | None) -> Background:
    """Measure the rims of a series, unless the first look has done so."""
    along_x = lies_along_x(series.axis_deg or 0.0)
    background = look.background(along_x=along_x) if look else None
    if background is not None:
        return background
    images: Any = series.images()
    return empty_rim_background(images.swapaxes(1, 2) if along_x else images)


def with_background(series: TiltSeries, level: float | None, requested: float | str) -> TiltSeries:
    """Return a series that knows the level found as `requested`; what it knew of it stays with "none"."""
    return series if requested == "none" else replace(series, background=level)


def checked_background(requested: Any) -> float | str:
    """Return a requested background level as a float, or "auto" or "none"; raise UsageError for others."""
    if isinstance(requested, str) and requested in ("auto", "none"):
        return requested
    return checked_number("background", requested, or_else="'auto' or 'none'")


def level_words(level: float | None, contrast: str) -> list[str]:
    """Return the background level in words, for the history of the volume."""
    what = "background" if contrast == "linear" else "logarithm from"
    return [f"{what} {level:.6g}"] if level else []
