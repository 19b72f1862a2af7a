"""``etcli view``: draw montages, slices, sinograms and movies."""

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    output_argument,
    pass_settings,
    subcommand,
    tilts_option,
)
from etcli.cli.types import VIEWS


@subcommand("view", example="etcli view --slices volume.mrc slices.png\netcli view series.mrc tilting.gif")
@input_argument
@output_argument
@click.option("--slices", is_flag=True, help="The three slices through a point.  [default for a volume]")
@click.option("--at", nargs=3, type=click.IntRange(1), metavar="X Y Z", help="That point, counted from 1.")
@click.option("--views", type=VIEWS, help="Montage of these views or sections.  [default for a series]")
@click.option("--maximum", is_flag=True, help="Maximum over all views or sections.")
@click.option(
    "--sinogram", type=click.IntRange(1), metavar="Y", help="One row of all views against the tilt."
)
@click.option("--cmap", default="gray", show_default=True, help="Colour map of matplotlib.")
@click.option(
    "--fps", type=click.FloatRange(0.1, 50), default=10.0, show_default=True, help="Speed of a movie."
)
@tilts_option
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    slices: bool,
    at: tuple[int, int, int] | None,
    views: tuple[int, ...] | None,
    maximum: bool,
    sinogram: int | None,
    cmap: str,
    fps: float,
    tilts: str | None,
) -> None:
    """Draw a series or a volume as a picture (png, pdf, svg) or a movie (gif).

    A movie shows the views of a series in the order of their tilt, or the maximum projection of a volume
    that rotates about the tilt axis. A file with tilt angles is taken for a series. A volume is shown with
    its sections along z, whatever the order of axes that recon wrote.
    """
    from etcli.pipeline.view import ViewRequest, view_file

    request = ViewRequest(
        slices,
        at=(at[0] - 1, at[1] - 1, at[2] - 1) if at else None,
        views=views,
        maximum=maximum,
        sinogram=None if sinogram is None else sinogram - 1,
        cmap=cmap,
        fps=fps,
    )
    view_file(settings.session, input, output, request, tilts=tilts)
