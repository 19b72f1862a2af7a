"""Residual of an alignment: report it, and warn or fail where it is too large."""

import math

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import ConvergenceError
from etcli.core.registration.matching import Matched
from etcli.core.registration.view_order import Order
from etcli.pipeline.session import Session

ALIKE = "; the views look alike at all tilts: any order of the tilt angles would fit as well"
MIXED_UP = "views next to each other in tilt are no more alike than others; are the tilt angles right?"


def check_residual(
    session: Session,
    matched: Matched,
    pixel_A: float | None,
    *,
    max_residual_px: float,
    strict: bool,
    focal: bool = False,
) -> None:
    """Report the residual; warn or raise where it is too large or unknown, or views or angles are doubtful.

    Parameters
    ----------
    session : Session
        Gets the report and the warnings.
    matched : Matched
        Result of a registration or alignment.
    pixel_A : float or None
    max_residual_px : float
        Largest residual without a warning.
    strict : bool
        Whether there is an error instead of a warning.
    focal : bool
        Whether the views are those of a focal series, compared with each other.

    Raises
    ------
    ConvergenceError
        Instead of a warning, where `strict`.
    """
    doubts = [MIXED_UP] if matched.order is Order.MIXED_UP else []
    doubts += [_named(matched.shifts.doubtful, focal=focal)] if matched.shifts.doubtful.any() else []
    for doubt in doubts:
        if strict:
            raise ConvergenceError(doubt)
        session.reporter.warn(doubt)
    residual_px = matched.shifts.residual_px
    length = f" ({residual_px * pixel_A:.3g} Å)" if pixel_A else ""
    known = not math.isnan(residual_px)
    message = (
        f"residual {residual_px:.2f} px{length}"
        if known
        else "the residual is not known: too few tilt angles"
    )
    session.reporter.report(message + (ALIKE if known and matched.order is Order.NOT_SHOWN else ""))
    if known and residual_px <= max_residual_px:
        return
    if strict:
        raise ConvergenceError(f"{message}, above the limit of {max_residual_px:g} px" if known else message)
    if known:
        session.reporter.warn(f"{message} is above {max_residual_px:g} px; look at --plot before going on")


def _named(doubtful: NDArray[np.bool_], *, focal: bool) -> str:
    """Return the numbers of the doubtful views, and why they are doubtful."""
    numbers = ",".join(str(k + 1) for k in np.flatnonzero(doubtful))
    plural = "s" if doubtful.sum() > 1 else ""
    why = "too little in common with their neighbours" if focal else "unlike what other views predict"
    return f"look at view{plural} {numbers}: {why}, or far from it (stack --exclude leaves views out)"
