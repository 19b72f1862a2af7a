"""Options of measures of pores and networks, of `etcli measure`."""

from functools import wraps
from typing import Any, cast

import click

from etcli.cli.options import Decorated, add_options
from etcli.cli.types import FILE, LENGTH_PX

OPTIONS = (
    click.option(
        "--pores",
        is_flag=True,
        help="Pores, in a table beside that of --csv; pieces, loops and chords of the labels as a network.",
    ),
    click.option(
        "--envelope",
        type=LENGTH_PX,
        metavar="R",
        help="Open pores too: what a ball of this radius cannot reach from outside, in px unless with a "
        "unit. At least twice the radius of their mouths.",
    ),
    click.option("--thickness", is_flag=True, help="Local thickness of the labels and of the pores."),
    click.option(
        "--thickness-out",
        type=FILE,
        metavar="FILE",
        help="The local thickness of each voxel of labels and pores as a volume, in nm.",
    ),
    click.option(
        "--tortuosity",
        type=click.Choice(["z", "y", "x"]),
        help="Tortuosity factor along an axis, by diffusion.",
    ),
)


def pore_options(function: Decorated) -> Decorated:
    """Add the options; the command gets them as ``pores``, a dict of what was given."""

    @wraps(function)
    def collected(*args: Any, **others: Any) -> Any:
        names = ("pores", "envelope", "thickness", "thickness_out", "tortuosity")
        return function(*args, pores={name: others.pop(name) for name in names}, **others)

    return add_options(cast("Decorated", collected), OPTIONS)
