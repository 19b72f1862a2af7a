"""Options of `etcli simulate hrtem`: microscope, defoci, thermal displacements."""

from functools import wraps
from math import inf
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, option_name
from etcli.cli.simulation_options import Option
from etcli.cli.types import DEBYE_WALLER, DEFOCI, LENGTH_A

kv_option = click.option(
    "--kv",
    type=click.FloatRange(0, min_open=True),
    default=300.0,
    show_default=True,
    help="Accelerating voltage, kV.",
)
alpha_option = click.option(
    "--alpha",
    type=click.FloatRange(0, min_open=True),
    metavar="MRAD",
    help="Semi-angle of the objective aperture, mrad.  [default: frequencies up to 1/(2 pixel)]",
)


def aberration_options(owner: str = "") -> tuple[Option, ...]:
    """Declare the options of aberrations and coherence, of the owner that the help names."""

    def described(text: str) -> str:
        return f"{owner}: {text}" if owner else text[0].upper() + text[1:]

    return (
        click.option(
            "--cs",
            type=float,
            default=0.0,
            show_default=not owner,
            metavar="MM",
            help=described("coefficient of the spherical aberration, mm."),
        ),
        click.option(
            "--astigmatism",
            nargs=2,
            type=float,
            default=(0.0, 0.0),
            metavar="A DEGREES",
            help=described(
                "two-fold astigmatism: half of the difference of the largest and smallest defocus in Å, and "
                "the direction of the largest one, counter-clockwise from +x."
            ),
        ),
        click.option(
            "--focal-spread",
            type=LENGTH_A,
            default="0",
            help=described("standard deviation of the defocus, in Å."),
        ),
        click.option(
            "--convergence",
            type=click.FloatRange(0),
            default=0.0,
            metavar="MRAD",
            help=described("standard deviation of the directions of the illumination, mrad."),
        ),
    )


LENS: tuple[Option, ...] = (kv_option, alpha_option, *aberration_options())
"""Objective lens and coherence."""
defoci_option = click.option(
    "--defocus",
    "defocus_um",
    type=DEFOCI,
    default="0.02,0.045,0.1",
    show_default=True,
    metavar="LIST",
    help="Defoci of the images at each tilt in µm, negative for underfocus, from the tilt axis.",
)
displacements_option = click.option(
    "--debye-waller",
    "debye_waller_A2",
    type=DEBYE_WALLER,
    default="0.5",
    show_default=True,
    metavar="B|LIST",
    help="Debye-Waller factor B of the atoms, Å², or one for each element as in Si:0.5,O:0.8.",
)


def lens_options(function: Decorated) -> Decorated:
    """Add the options of the objective lens, passed on as ``optics``."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        from etcli.core.multislice.optics import PhaseContrastOptics

        kv, alpha, cs, astigmatism, spread, convergence = (given.pop(name) for name in map(option_name, LENS))
        size_A, direction_deg = astigmatism
        optics = PhaseContrastOptics(
            kv, alpha or inf, cs, size_A, direction_deg, spread.angstrom(None), convergence
        )
        return function(*args, optics=optics, **given)

    return add_options(command, LENS)  # type: ignore[return-value]
