"""The residual of an alignment: telling it, and failing where it must not be so large."""

import math

from etcli.core.errors import ConvergenceError
from etcli.core.registration.matching import Matched
from etcli.pipeline.session import Session


def check_residual(
    session: Session, found: Matched, pixel_A: float | None, *, limit_px: float, strict: bool
) -> None:
    """Report the residual; warn or raise where it is too large or not known, or angles seem mixed up.

    Raises
    ------
    ConvergenceError
        Where `strict`.
    """
    residual_px = found.shifts.residual_px
    if not found.in_order:
        mixed_up = (
            "views next to each other in tilt are no more alike than others; are the tilt angles right?"
        )
        if strict:
            raise ConvergenceError(mixed_up)
        session.reporter.warn(mixed_up)
    length = f" ({residual_px * pixel_A:.3g} Å)" if pixel_A else ""
    known = not math.isnan(residual_px)
    told = (
        f"residual {residual_px:.2f} px{length}"
        if known
        else "the residual is not known: too few tilt angles"
    )
    session.reporter.report(told)
    if known and residual_px <= limit_px:
        return
    if strict:
        raise ConvergenceError(f"{told}, above the limit of {limit_px:g} px" if known else told)
    if known:
        session.reporter.warn(f"{told} is above {limit_px:g} px; look at --plot before going on")
