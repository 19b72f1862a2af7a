"""``etcli stack``: assemble, select, reorder, crop, convert."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    defocus_option,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
    tilts_option,
)
from etcli.cli.types import FILE, REGION, VIEWS
from etcli.pipeline.view_selection import Region


@subcommand(
    "stack",
    example="etcli stack --sort tilt SerialEM_*.mrc series.mrc\n"
    "etcli stack --exclude 1,40-42 series.mrc good.mrc",
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=FILE)
@output_or_stream_argument
@click.option("--views", type=VIEWS, help="Views to keep, in this order, counted from 1: 1,4-7,60.")
@click.option("--exclude", type=VIEWS, help="Views to leave out, counted from 1.")
@click.option("--sort", type=click.Choice(["tilt"]), help="Order the views by tilt angle.")
@click.option("--crop", type=REGION, help="Columns and rows to keep, counted from 1.")
@click.option(
    "--frames",
    type=click.Choice(["mean", "sum", "keep"]),
    default="mean",
    show_default=True,
    help="How sections of one file at the same tilt and defocus are combined.",
)
@defocus_option
@tilts_option
@mode_option
@pass_settings
def command(
    settings: Settings,
    /,
    inputs: tuple[str, ...],
    output: str,
    views: tuple[int, ...] | None,
    exclude: tuple[int, ...] | None,
    sort: str | None,
    crop: Region | None,
    frames: Any,
    **files: Any,
) -> None:
    """Make one series of files: assemble, select, reorder, crop, convert.

    Views are counted in the order of the files, before frames are combined. Their descriptions are kept,
    and a crop is recorded in the header: its origin, and the rotation centre, from which recon takes the
    tilt axis. The format is chosen by the name of OUTPUT: .tif or .tiff writes TIFF, endings of pictures and
    other formats are refused, all else is MRC. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.pipeline.stack import StackRequest, stack_files

    request = StackRequest(views, exclude, sort is not None, crop, frames)
    stack_files(settings.session, inputs, output, request, **files)
