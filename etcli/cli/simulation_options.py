"""Options of simulations, in groups; each kind of specimen uses the groups that it supports."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, mode_option, option_name
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX

Option = Callable[[Any], Any]
ORDERS = ("rising", "dose-symmetric")


def size_option(default: int) -> Option:
    """Declare the size of the views."""
    return click.option(
        "--size", type=click.IntRange(16), default=default, show_default=True, help="Pixels along each side."
    )


def pixel_option(default: str) -> Option:
    """Declare the pixel size."""
    return click.option("--pixel", type=LENGTH_A, default=default, show_default=True, help="Pixel size.")


def range_option(start: float, stop: float, step: float) -> Option:
    """Declare the tilt angles."""
    return click.option(
        "--range",
        "angles",
        nargs=3,
        type=float,
        default=(start, stop, step),
        show_default=True,
        metavar="A B STEP",
        help="Tilt angles from A to B.",
    )


def truth_option(what: str) -> Option:
    """Declare the files for the true values, which are the errors and what is named."""
    return click.option(
        "--write-truth",
        type=FILE,
        metavar="FILE",
        multiple=True,
        help=f"Also write the true values: the errors (.json), {what}.",
    )


order_option = click.option(
    "--order",
    type=click.Choice(ORDERS),
    default=ORDERS[0],
    show_default=True,
    help="Order in which views are taken.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of all random numbers."
)
dose_option = click.option(
    "--dose",
    "dose_e_A2",
    type=click.FloatRange(0, min_open=True),
    help="Electrons per Å² and view.  [default: no noise]",
)
NOISE: tuple[Option, ...] = (
    dose_option,
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


CRYSTAL: tuple[Option, ...] = (
    click.option(
        "--diameter",
        type=LENGTH_A,
        help="Cut the specimen to a ball: a model about the rotation centre, a crystal about a random point.",
    ),
    click.option(
        "--axis-direction",
        nargs=3,
        type=float,
        default=(0.0, 1.0, 0.0),
        show_default=True,
        metavar="U V W",
        help="Direction of the specimen along the tilt axis.",
    ),
    click.option(
        "--beam",
        nargs=3,
        type=float,
        default=(0.0, 0.0, 1.0),
        show_default=True,
        metavar="U V W",
        help="Direction of the specimen along the beam at 0°; what of it is along the axis is taken off.",
    ),
)
"""Size and orientation of a specimen of atoms."""
ATOMS: tuple[Option, ...] = (
    *CRYSTAL,
    click.option(
        "--resolution",
        type=LENGTH_A,
        help="Distance from the maximum of an atom's Airy disc to its first zero.  [default: 1.6A]",
    ),
    click.option(
        "--spheres",
        type=LENGTH_A,
        metavar="RADIUS",
        help="Image spheres, or with 0 points, and no Airy discs.",
    ),
)
"""Size and orientation of a specimen of atoms, and how they are imaged."""


def crystal_options(function: Decorated) -> Decorated:
    """Add the options of the size and orientation of a specimen of atoms."""
    return add_options(function, CRYSTAL)


def specimen_options(function: Decorated) -> Decorated:
    """Add the options of a specimen of atoms."""
    return add_options(function, ATOMS)


def simulation_options(*groups: tuple[Option, ...], truth: str) -> Callable[[Decorated], Decorated]:
    """Add groups of options, and those of the output and the seed, and pass them on as a `SeriesRequest`.

    Parameters
    ----------
    *groups : tuple of options
    truth : str
        What of the specimen ``--write-truth`` writes, with its ending.
    """
    options = [option for group in groups for option in group]
    options += [seed_option, truth_option(truth), mode_option]

    def decorate(function: Decorated) -> Decorated:
        @wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            from etcli.pipeline.simulate import SeriesRequest

            own = {name: given.pop(name) for name in map(option_name, options)}
            return function(*args, request=SeriesRequest(**own), **given)

        return add_options(command, options)  # type: ignore[return-value]

    return decorate
