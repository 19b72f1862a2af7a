"""Options of simulations, in groups; each kind of specimen uses the groups that it supports."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from etcli.cli.options import Decorated, mode_option, option_name
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX

Option = Callable[[Any], Any]
ORDERS = ("rising", "dose-symmetric")

size_option = click.option(
    "--size", type=click.IntRange(16), default=128, show_default=True, help="Pixels along each side."
)
pixel_option = click.option("--pixel", type=LENGTH_A, default="1nm", show_default=True, help="Pixel size.")
TILTS: tuple[Option, ...] = (
    click.option(
        "--range",
        "angles",
        nargs=3,
        type=float,
        default=(-70.0, 70.0, 2.0),
        show_default=True,
        metavar="A B STEP",
        help="Tilt angles from A to B.",
    ),
    click.option(
        "--order",
        type=click.Choice(ORDERS),
        default=ORDERS[0],
        show_default=True,
        help="Order in which views are taken.",
    ),
)
"""Tilt angles of the views."""
NOISE: tuple[Option, ...] = (
    click.option(
        "--dose",
        "dose_e_A2",
        type=click.FloatRange(0, min_open=True),
        help="Electrons per Å² and view.  [default: no noise]",
    ),
    click.option(
        "--level", type=float, default=0.0, help="Background added to every pixel, in density times pixels."
    ),
)
"""Dose and background."""
ERRORS: tuple[Option, ...] = (
    click.option("--drift", type=LENGTH_PX, default="0", help="Largest random displacement of a view."),
    click.option(
        "--axis",
        "axis_deg",
        type=float,
        default=0.0,
        help="Angle from +y to the tilt axis, counter-clockwise.",
    ),
    click.option("--offset", type=LENGTH_PX, default="0", help="Distance of the tilt axis from the centre."),
    click.option(
        "--tilt-error",
        "tilt_error_deg",
        type=click.FloatRange(0),
        default=0.0,
        help="Standard deviation of the angles, degrees.",
    ),
)
"""Errors of the acquisition."""
OUTPUT: tuple[Option, ...] = (
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers."),
    click.option(
        "--write-truth",
        type=FILE,
        metavar="FILE",
        multiple=True,
        help="Also write the true values: the errors (.json), the volume (.mrc).",
    ),
    mode_option,
)
"""Output files, and the seed of the random numbers."""


def simulation_options(*groups: tuple[Option, ...]) -> Callable[[Decorated], Decorated]:
    """Add groups of options and those of the output; they are passed to the function as a `SeriesRequest`."""
    options = [option for group in (*groups, OUTPUT) for option in group]

    def decorate(function: Decorated) -> Decorated:
        @wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            from etcli.pipeline.simulate import SeriesRequest

            own = {name: given.pop(name) for name in map(option_name, options)}
            return function(*args, request=SeriesRequest(**own), **given)

        decorated: Any = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate
