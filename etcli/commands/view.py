"""``etcli view``: draw montages, slices, sinograms, atoms and movies."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    output_argument,
    pass_settings,
    subcommand,
    tilts_option,
)
from etcli.cli.picture_options import LIMITS, SIZE
from etcli.cli.types import VIEWS


@subcommand(
    "view",
    example="etcli view --slices volume.mrc slices.png\n"
    "etcli view --no-crosshair --limits 0,0.8 --size 85 --dpi 600 volume.mrc figure.png\n"
    "etcli view series.mrc tilting.gif\n"
    "etcli view --surface labels.mrc turning.gif\n"
    "etcli view atoms.xyz atoms.png",
    references=("Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979): what is specimen, for its centre.",),
)
@input_argument
@output_argument
@click.option(
    "--slices",
    is_flag=True,
    help="The three slices through a point.  [default for a volume]  In a movie, the sections along z.",
)
@click.option(
    "--at",
    nargs=3,
    type=click.IntRange(1),
    metavar="X Y Z",
    help="That point, counted from 1.  [default: centre of mass of the specimen]",
)
@click.option("--views", type=VIEWS, help="Montage of these views or sections.  [default for a series]")
@click.option("--maximum", is_flag=True, help="Maximum over all views or sections.")
@click.option(
    "--sinogram", type=click.IntRange(1), metavar="Y", help="One row of all views against the tilt."
)
@click.option(
    "--surface", is_flag=True, help="Surface of a volume or of labels, from an angle; turns in a movie."
)
@click.option(
    "--level", type=float, metavar="V", help="Value of the surface.  [default: that of the edges, as in mesh]"
)
@click.option("--cmap", default="gray", show_default=True, help="Colour map of matplotlib.")
@click.option(
    "--limits",
    type=LIMITS,
    help="Values shown as black and white, 0,2.5, or percentiles, 1%,99.8%.  [default: by what is shown]",
)
@click.option(
    "--gamma",
    type=click.FloatRange(0.05, 20),
    default=1.0,
    show_default=True,
    help="Exponent of the grey level; below 1 faint features become brighter.",
)
@click.option("--crosshair/--no-crosshair", default=True, help="Lines through the point of --slices.")
@click.option(
    "--size",
    "size_mm",
    type=SIZE,
    help="Width, or width and height, of the picture in mm.  [default: 203, height by content]",
)
@click.option("--dpi", type=click.FloatRange(30, 2400), help="Resolution of the picture.  [default: 200]")
@click.option("--fps", type=click.FloatRange(0.1, 50), help="Speed of a movie.  [default: 10]")
@click.option(
    "--step",
    type=click.FloatRange(0, min_open=True),
    help="Degrees between the frames of what turns, or views or sections between frames.  [default: 10, 1]",
)
@tilts_option
@pass_settings
def command(settings: Settings, /, input: str, output: str, tilts: str | None, **options: Any) -> None:
    """Draw a series, a volume or atoms as a picture (png, pdf, svg) or a movie (gif, mp4).

    A movie shows the views of a series in the order of their tilt, the sections of a volume (--slices), or
    the maximum projection of a volume that rotates about the tilt axis. An mp4 needs the program ffmpeg.

    A file with tilt angles is taken for a series. A volume is shown with its sections along z, whatever the
    order of axes that recon wrote; lengths are from its rotation centre, where that is known. Atoms (xyz,
    pdb, cif) are drawn along z, x and y and from an angle, with 0.6 times their covalent radii. Surfaces are
    those of mesh; each label has a colour.
    """
    from etcli.pipeline.view import ViewRequest, view_file

    at, row = options.pop("at"), options.pop("sinogram")
    request = ViewRequest(
        at=(at[0] - 1, at[1] - 1, at[2] - 1) if at else None,
        sinogram=None if row is None else row - 1,
        **options,
    )
    view_file(settings.session, input, output, request, tilts=tilts)
