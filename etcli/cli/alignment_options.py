"""Options that registration and tilt alignment share."""

import click

from etcli.cli.options import Decorated
from etcli.cli.types import LENGTH_PX

axis_option = click.option(
    "--axis",
    "axis_deg",
    type=float,
    metavar="DEGREES",
    help="Rough angle from +y to the tilt axis, counter-clockwise, if the file has none or a wrong one.",
)
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
    """Add the options that limit the residual."""
    return _strict(_max_residual(function))
