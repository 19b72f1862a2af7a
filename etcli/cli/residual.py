"""The residual of an alignment: telling it, and failing where it must not be so large."""

import math
from typing import TYPE_CHECKING

import click

from etcli.cli.options import Decorated, Settings
from etcli.cli.types import LENGTH_PX
from etcli.core.errors import ConvergenceError

if TYPE_CHECKING:
    from etcli.core.registration.matching import Matched

_max_residual = click.option(
    "--max-residual",
    type=LENGTH_PX,
    default="1px",
    show_default=True,
    help="Residual above which there is a warning, or an error with --strict.",
)
_strict = click.option(
    "--strict", is_flag=True, help="Fail, and write nothing, where the residual is above --max-residual."
)


def residual_options(function: Decorated) -> Decorated:
    """Add the options that say how large a residual may be."""
    return _strict(_max_residual(function))


def check_residual(
    settings: Settings, found: "Matched", pixel_A: float | None, *, limit_px: float, strict: bool
) -> None:
    """Report the residual; warn or raise where it is too large or not known, or angles seem mixed up."""
    residual_px = found.shifts.residual_px
    if not found.in_order:
        mixed_up = (
            "views next to each other in tilt are no more alike than others; are the tilt angles right?"
        )
        if strict:
            raise ConvergenceError(mixed_up)
        settings.console.warn(mixed_up)
    length = f" ({residual_px * pixel_A:.3g} Å)" if pixel_A else ""
    known = not math.isnan(residual_px)
    told = (
        f"residual {residual_px:.2f} px{length}"
        if known
        else "the residual is not known: too few tilt angles"
    )
    settings.console.report(told)
    if known and residual_px <= limit_px:
        return
    if strict:
        raise ConvergenceError(f"{told}, above the limit of {limit_px:g} px" if known else told)
    if known:
        settings.console.warn(f"{told} is above {limit_px:g} px; look at --plot before going on")
