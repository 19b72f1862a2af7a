"""Residual of an alignment: report it, and warn or fail where it is too large."""

import math

from etcli.core.errors import ConvergenceError
from etcli.core.registration.matching import Matched
from etcli.pipeline.session import Session


def check_residual(
    session: Session, matched: Matched, pixel_A: float | None, *, max_residual_px: float, strict: bool
) -> None:
    """Report the residual; warn or raise where it is too large or unknown, or tilt angles seem mixed up.

    Raises
    ------
    ConvergenceError
        Instead of a warning, where `strict`.
    """
    residual_px = matched.shifts.residual_px
    if not matched.in_order:
        mixed_up = (
            "views next to each other in tilt are no more alike than others; are the tilt angles right?"
        )
        if strict:
            raise ConvergenceError(mixed_up)
        session.reporter.warn(mixed_up)
    length = f" ({residual_px * pixel_A:.3g} Å)" if pixel_A else ""
    known = not math.isnan(residual_px)
    message = (
        f"residual {residual_px:.2f} px{length}"
        if known
        else "the residual is not known: too few tilt angles"
    )
    session.reporter.report(message)
    if known and residual_px <= max_residual_px:
        return
    if strict:
        raise ConvergenceError(f"{message}, above the limit of {max_residual_px:g} px" if known else message)
    if known:
        session.reporter.warn(f"{message} is above {max_residual_px:g} px; look at --plot before going on")
