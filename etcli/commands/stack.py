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
    "etcli stack --exclude 1,40-42 series.mrc good.mrc\n"
    "etcli stack --scale 0.1%,99.9% volume.mrc volume.tif\n"
    "etcli stack --turn rotx-90 volume.mrc turned.mrc",
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
    "INPUT.mdoc lists. May be repeated.  [default: mean; sum for maps of counts]",
)
@click.option(
    "--scale",
    metavar="MIN,MAX|P%,P%|mean-sd",
    help="Scale these values, these percentiles of all pixels, or images of one mean and standard deviation "
    "to the range of --mode 0 (the default then), 1 or 6.",
)
@click.option(
    "--turn",
    metavar="STEP,...",
    help="Flip a volume (reversez), exchange axes (swapyz) or turn it (rotx90: by 90° about x, from y to z), "
    "in this order.",
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
    scale: str | None,
    turn: str | None,
    mode: int,
    **files: Any,
) -> None:
    """Make one series of files: assemble, select, reorder, crop, convert.

    Views are counted in the order of the files, before frames are combined. Their descriptions are kept,
    and a crop is recorded in the header: its origin, and the rotation centre, from which recon takes the
    tilt axis. INPUT may be the mdoc of a session (SerialEM, Tomo5) that lists a file per exposure: these are
    looked for by name, in --frames and beside the mdoc, and each is one view. Files without times are taken
    to be in the order of acquisition. The ending of OUTPUT chooses the format: .tif or .tiff for TIFF, .mrc,
    .st, .ali, .rec, .preali, .map, .mrcs or none for MRC; others are refused. INPUT or OUTPUT may be - for a
    stream.

    Bytes (--mode 0) are signed in an MRC file, where IMOD shows -128 to 127 as 0 to 255, and from 0 to 255 in
    a TIFF. A TIFF carries the pixel size as ImageJ reads it, in nm.

    One volume of etcli stays a volume, with its frame: --views and --exclude choose sections, which must
    follow each other. A turned volume knows its axes and its rotation centre: project, compare and recon
    (--mask, --initial) use it as it was reconstructed; view, trace-atoms and other programs take it as it is.
    """
    from etcli.core.grey_scale import GreyScale
    from etcli.pipeline.stack import StackRequest, stack_files

    grey_scale = None if scale is None else GreyScale.parse(scale)
    source = click.get_current_context().get_parameter_source("mode")
    if grey_scale is not None and source is click.core.ParameterSource.DEFAULT:
        mode = 0
    ways = [word for word in frames if word in FRAMES]
    if len(ways) > 1:
        raise UsageError(f"--frames {' and '.join(ways)} cannot go together; give one of them")
    folders = tuple(word for word in frames if word not in FRAMES)
    way: Any = ways[0] if ways else None
    request = StackRequest(views, exclude, sort is not None, crop, way, grey_scale, turn, folders)
    stack_files(settings.session, inputs, output, request, mode=mode, **files)
