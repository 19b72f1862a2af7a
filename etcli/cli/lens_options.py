"""Options of phase contrast: microscope and slabs; defoci and displacements of `etcli simulate hrtem`."""

from functools import wraps
from math import inf
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, option_name
from etcli.cli.simulation_options import Option
from etcli.cli.types import DEBYE_WALLER, DEFOCI, LENGTH_A
from etcli.core.solvers.methods import DEFAULT_BINNED_SLICES


def _described(owner: str, text: str) -> str:
    """Return the help of an option, which names its owner where a command has others."""
    return f"{owner}: {text}" if owner else text[0].upper() + text[1:]


def voltage_option(owner: str = "", source: str = "") -> Option:
    """Declare the option of the voltage, 300 kV by default, or from a source that the help names."""
    default = f"  [default: {source}]" if source else ""
    return click.option(
        "--kv",
        type=click.FloatRange(0, min_open=True),
        default=None if source else 300.0,
        show_default=not source,
        help=_described(owner, "accelerating voltage, kV." + default),
    )


def aperture_option(owner: str = "") -> Option:
    """Declare the option of the objective aperture."""
    return click.option(
        "--alpha",
        type=click.FloatRange(0, min_open=True),
        metavar="MRAD",
        help=_described(
            owner, "semi-angle of the objective aperture, mrad.  [default: frequencies up to 1/(2 pixel)]"
        ),
    )


def cs_option(owner: str = "") -> Option:
    """Declare the option of the spherical aberration."""
    return click.option(
        "--cs",
        type=float,
        default=0.0,
        show_default=not owner,
        metavar="MM",
        help=_described(owner, "coefficient of the spherical aberration, mm."),
    )


def binned_slices_option(owner: str) -> Option:
    """Declare the option of the thickness of slabs."""
    return click.option(
        "--binned-slices",
        type=click.IntRange(1),
        default=DEFAULT_BINNED_SLICES,
        show_default=True,
        help=_described(
            owner, "sections of the volume that are added up between two propagations of the wave."
        ),
    )


def aberration_options(owner: str = "") -> tuple[Option, ...]:
    """Declare the options of aberrations and coherence, of the owner that the help names."""
    return (
        cs_option(owner),
        click.option(
            "--astigmatism",
            nargs=2,
            type=float,
            default=(0.0, 0.0),
            metavar="A DEGREES",
            help=_described(
                owner,
                "two-fold astigmatism: half of the difference of the largest and smallest defocus in Å, and "
                "the direction of the largest one, counter-clockwise from +x.",
            ),
        ),
        click.option(
            "--focal-spread",
            type=LENGTH_A,
            default="0",
            help=_described(owner, "standard deviation of the defocus, in Å."),
        ),
        click.option(
            "--convergence",
            type=click.FloatRange(0),
            default=0.0,
            metavar="MRAD",
            help=_described(owner, "standard deviation of the directions of the illumination, mrad."),
        ),
    )


LENS: tuple[Option, ...] = (voltage_option(), aperture_option(), *aberration_options())
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
