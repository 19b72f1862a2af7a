"""Options of the microscope that records a focal series."""

from functools import wraps
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, option_name
from etcli.cli.simulation_options import Option
from etcli.cli.types import ANGLES, LENGTH_A

OPTICS: tuple[Option, ...] = (
    click.option(
        "--kv",
        type=click.FloatRange(0, min_open=True),
        default=300.0,
        show_default=True,
        help="Accelerating voltage, kV.",
    ),
    click.option(
        "--alpha",
        type=click.FloatRange(0, min_open=True),
        default=21.0,
        show_default=True,
        help="Semi-angle of convergence, mrad.",
    ),
    click.option(
        "--detector",
        type=ANGLES,
        default="48,180",
        show_default=True,
        help="Inner and outer semi-angle of the annular detector, mrad.",
    ),
    click.option(
        "--source-fwhm",
        type=LENGTH_A,
        default="0.7A",
        show_default=True,
        help="Full width at half maximum of the image of the electron source.",
    ),
    click.option(
        "--diffuse",
        type=click.Choice(["local", "nonlocal", "multiple"]),
        default="local",
        show_default=True,
        help="Thermal diffuse scattering: a function of position; with all directions and phases, which puts "
        "columns of heavy atoms 1 to 2 Å less deep; and scattered again, as by frozen phonons (slowest).",
    ),
)
debye_waller_option = click.option(
    "--debye-waller",
    "debye_waller_A2",
    type=click.FloatRange(0),
    default=0.63,
    show_default=True,
    help="Debye-Waller factor B of the atoms, Å²; the default is that of gold at room temperature.",
)


def optics_options(function: Decorated) -> Decorated:
    """Add the options of the microscope, passed on as ``optics``, and that of the Debye-Waller factor."""

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        from etcli.core.depth.focal_optics import FocalOptics

        kv, alpha, detector, source, diffuse = (given.pop(name) for name in map(option_name, OPTICS))
        optics = FocalOptics(kv, alpha, detector, source.angstrom(None), diffuse)
        return function(*args, optics=optics, **given)

    return add_options(command, (*OPTICS, debye_waller_option))  # type: ignore[return-value]
