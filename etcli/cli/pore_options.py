"""Options of measures of pores and networks, of `etcli measure`."""

from functools import wraps
from typing import Any, cast

import click

from etcli.cli.options import Decorated, add_options
from etcli.cli.types import FILE, LENGTH_PX


def _only(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the only value; raise an error for several, of which the first ones would be forgotten."""
    if len(values) > 1:
        raise click.BadParameter("give one axis, and run it again for another")
    return values[0] if values else None


OPTIONS = (
    click.option(
        "--pores",
        is_flag=True,
        help="Pores, in a table and a picture beside those of --csv and --plot, named with _pores; pieces, "
        "loops and chords of the labels as a network.",
    ),
    click.option(
        "--envelope",
        type=LENGTH_PX,
        metavar="R",
        help="Open pores too: what a ball of this radius cannot reach from outside, in px unless with a "
        "unit. At least twice the radius of their mouths.",
    ),
    click.option(
        "--thickness",
        is_flag=True,
        help="Local thickness of the labels, and of the pores: closed ones, with --envelope also open ones, "
        "with --roi alone all that is no label.",
    ),
    click.option(
        "--thickness-out",
        type=FILE,
        metavar="FILE",
        help="The local thickness of each voxel of labels and pores as a volume, in nm.",
    ),
    click.option(
        "--tortuosity",
        type=click.Choice(["z", "y", "x"]),
        multiple=True,
        callback=_only,
        help="Tortuosity factor along an axis, by diffusion: of the labels, and of the pores within "
        "--envelope or --roi.",
    ),
)


def pore_options(function: Decorated) -> Decorated:
    """Add the options; the command gets them as ``pores``, a dict of what was given."""

    @wraps(function)
    def collected(*args: Any, **others: Any) -> Any:
        names = ("pores", "envelope", "thickness", "thickness_out", "tortuosity")
        return function(*args, pores={name: others.pop(name) for name in names}, **others)

    return add_options(cast("Decorated", collected), OPTIONS)
