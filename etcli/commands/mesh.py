"""``etcli mesh``: write the surface of a volume or of labels."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    json_option,
    output_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import FILE


@subcommand(
    "mesh",
    example="etcli mesh volume.mrc particle.stl\n"
    "etcli mesh --level 0.4 --reduce 0.2 volume.mrc particle.obj\n"
    "etcli mesh labels.mrc particles.ply\n"
    "etcli mesh volume.mrc particles.ply --labels labels.mrc",
    references=(
        "Lewiner, Lopes, Vieira & Tavares, J. Graph. Tools 8, 1 (2003): marching cubes.",
        "Taubin, Proc. SIGGRAPH 95, 351 (1995): smoothing that keeps the volume.",
        "Garland & Heckbert, Proc. SIGGRAPH 97, 209 (1997): reduction by quadrics.",
        "Lindstrom & Turk, Proc. Visualization 98, 279 (1998): reduction that keeps the volume.",
    ),
)
@input_argument
@output_argument
@click.option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="Labels in the volume: the surface of each is at its own level, as in measure.",
)
@click.option(
    "--level",
    type=float,
    metavar="V",
    help="Value of the surface.  [default: that of the edges, as in segment]",
)
@click.option(
    "--smooth",
    type=click.IntRange(0),
    metavar="N",
    default=10,
    show_default=True,
    help="Smoothing steps; 0 for none.",
)
@click.option(
    "--reduce",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="PART",
    help="Part of the triangles to keep, such as 0.2.  [default: all]",
)
@click.option(
    "--unit",
    type=click.Choice(["nm", "A", "um", "px"]),
    help="Unit of the coordinates.  [default: nm, or px where the pixel size is unknown]",
)
@click.option(
    "--open", is_flag=True, help="End the surface at the border of the volume; do not close it there."
)
@json_option
@pass_settings
def command(
    settings: Settings, /, input: str, output: str, labels: str | None, as_json: bool, **options: Any
) -> None:
    """Write the surface of a volume or of labels as triangles: OUTPUT ends in stl, ply or obj.

    Where bodies differ in grey level, no level is right for all: give the labels that segment found in the
    volume. A file of labels, or a mask, by itself is known by its history or by its values, unless --level is
    given; --labels INPUT says so where it is not. Each label has a surface of its own: with a colour in PLY,
    as a group in OBJ. It encloses the volume of the voxels of its label, or of those above its level.

    The surface is closed, every edge between two triangles, unless --open is given. Area and volume of what
    is written are printed. Smoothing keeps the volume of every piece and takes 0.3 to 1 % from the area, of
    noisy volumes 4 %. Labels alone have 3 (radius of 3 voxels) to 1 % too much area after it, 8 % before.
    Edges are rounded: a cube of 10 voxels loses 8 %. --reduce keeps the volume as well.

    Coordinates are from the rotation centre, where that is known, else from the middle of the volume.
    """
    from etcli.pipeline.mesh import MeshRequest, mesh_files
    from etcli.pipeline.mesh_report import mesh_lines, mesh_numbers

    result = mesh_files(settings.session, input, output, MeshRequest(**options), labels)
    if as_json:
        settings.console.data(mesh_numbers(result))
    else:
        settings.console.text("\n".join(mesh_lines(result)))
