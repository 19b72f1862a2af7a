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
)
from etcli.cli.types import FILE, REGION, VIEWS
from etcli.core.errors import UsageError
from etcli.pipeline.view_selection import Region

FRAMES = ("mean", "sum", "keep")


@subcommand(
    "stack",
    example="etcli stack --sort tilt SerialEM_*.mrc series.mrc\n"
    "etcli stack --frames frames/ session.mdoc series.mrc\n"
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
    multiple=True,
    type=FILE,
    metavar="mean|sum|keep|FOLDER",
    help="How sections of one file at the same tilt and defocus are combined, or a folder of the files that "
    "INPUT.mdoc lists. May be repeated.  [default: mean]",
)
@defocus_option
@click.option(
    "--tilts",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="Tilt angles instead of those found beside the input. For several INPUTs a file with one angle for "
    "each, or this option for each.",
)
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
    frames: tuple[str, ...],
    **files: Any,
) -> None:
    """Make one series of files: assemble, select, reorder, crop, convert.

    Views are counted in the order of the files, before frames are combined. Their descriptions are kept,
    and a crop is recorded in the header's origin. INPUT may be the mdoc of a session (SerialEM, Tomo5) that
    lists a file per exposure: these are looked for by name, in --frames and beside the mdoc, and each is one
    view. Files without times are taken to be in the order of acquisition. The format is chosen by the name
    of OUTPUT: .tif or .tiff writes TIFF, endings of pictures and other formats are refused, all else
    is MRC. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.pipeline.stack import StackRequest, stack_files

    ways = [word for word in frames if word in FRAMES]
    if len(ways) > 1:
        raise UsageError(f"--frames {' and '.join(ways)} cannot go together; give one of them")
    folders = tuple(word for word in frames if word not in FRAMES)
    way: Any = ways[0] if ways else FRAMES[0]
    request = StackRequest(views, exclude, sort is not None, crop, way, folders)
    stack_files(settings.session, inputs, output, request, **files)
