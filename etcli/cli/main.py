"""Command ``etcli`` and the table of its subcommands."""

from pathlib import Path

import click

from etcli.cli.groups import LazyGroup
from etcli.cli.options import CONTEXT, global_options

COMMANDS = {
    "bin": "Reduce images or a volume.",
    "filter": "Denoise images or a volume, or enhance edges.",
    "register": "Shift the views of a tilt or focal series onto each other; shifts only.",
    "tiltalign": "Find the tilt axis of a registered series and turn it vertical and central.",
    "recon": "Reconstruct the volume of an aligned tilt series.",
    "fuse": "Reconstruct the volumes of several elements together, from maps of counts.",
    "segment": "Label the bodies in a volume, from 1 on by falling volume; 0 is the background.",
    "trace-atoms": "Find, fit and classify the atoms of a volume at atomic resolution.",
    "depthsect": "Find atomic columns, atom counts and depths in one focal series, and build a 3-D model.",
    "measure": "Measure the labels of a volume: volumes, surfaces, axes, densities, distances, errors.",
    "entropy": "Rank the views of a tilt series by the entropy of their projections, or plan a series.",
    "info": "Tell what a file holds.",
    "stack": "Make one series of files: assemble, select, reorder, crop, convert.",
    "xform": "Apply transforms found elsewhere to one or more series.",
    "decompose": "Make maps of elements or components from spectrum images of a tilt series.",
    "mesh": "Write the surface of a volume or of labels as triangles: OUTPUT ends in stl, ply or obj.",
    "project": "Project a volume, its sections along z, at tilt angles about y.",
    "compare": "Compare A with the reference B: volumes, series or atoms, recognised by file name.",
    "simulate": "Simulate the tilt series or the focal series of a specimen with known properties.",
    "view": "Draw a series, a volume or atoms as a picture (png, pdf, svg) or a movie (gif, mp4).",
}
"""First line of the help of every subcommand, in the order of a usual workflow."""

RECIPES = {"make": "tomogram.mk", "serialem": "serialem.txt"}
"""Files of the package for other programs, from a tilt series to a volume."""


def _print_recipe(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        # slashes are read by make on Windows, too
        click.echo((Path(__file__).parents[1] / "recipes" / RECIPES[value]).as_posix())
        ctx.exit()


@click.group(
    cls=LazyGroup,
    package="etcli.commands",
    table=COMMANDS,
    context_settings=CONTEXT,
    epilog="Every command explains itself: etcli recon --help. Files open in IMOD and come from SerialEM.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    is_eager=True,
    expose_value=False,
    callback=_print_recipe,
    help="Print where the pattern rules for make, or the script for SerialEM, are installed.",
)
@global_options
def etcli() -> None:
    """Electron tomography of materials, from a tilt series to a volume."""
