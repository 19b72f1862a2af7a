"""``etcli stack``: assemble, select, reorder, crop, convert."""

from typing import TYPE_CHECKING

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
    tilts_option,
)
from etcli.cli.types import FILE, REGION, VIEWS, Region, checked_list

if TYPE_CHECKING:
    from etcli.io.assemble import Frames
    from etcli.io.stack import Stack


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
    help="What becomes of sections of one file at one tilt and defocus.",
)
@tilts_option
@mode_option
@pass_settings
def command(
    settings: Settings,
    inputs: tuple[str, ...],
    output: str,
    views: tuple[int, ...] | None,
    exclude: tuple[int, ...] | None,
    sort: str | None,
    crop: Region | None,
    frames: "Frames",
    tilts: str | None,
    mode: int,
) -> None:
    """Make one series of files: assemble, select, reorder, crop, convert.

    Views are counted in the order of the files, before frames are put together. Their descriptions go
    with them, and a crop is recorded in the header's origin. Formats are chosen by the name of OUTPUT:
    .tif or .tiff writes TIFF, all else MRC. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.core.errors import UsageError
    from etcli.core.geometry import centre
    from etcli.core.parallel import ordered_map
    from etcli.io.assemble import assemble
    from etcli.io.save import Step, series_writer

    if views and exclude:
        raise UsageError("--views and --exclude cannot go together; name the views to keep or those to drop")
    if tilts and len(inputs) > 1:
        raise UsageError("--tilts goes with one INPUT only; put the files together first")
    stacks = _open_all(settings, inputs, tilts, exclude or ())
    n = sum(map(len, stacks))
    dropped = set(checked_list(exclude or (), n, "view"))
    kept = [view for view in checked_list(views or tuple(range(n)), n, "view") if view not in dropped]
    series = assemble(stacks, kept, frames=frames)
    if len(series.parts) < len(kept):
        settings.console.report(f"{len(kept)} sections give {len(series.parts)} views: {frames} of frames")
    if sort:
        series = series.arranged(series.like.tilt_deg.argsort(kind="stable").tolist())
    like, shape, origin_A = series.like, series.like.shape[1:], series.like.origin_A
    area = crop or Region(slice(0, shape[1]), slice(0, shape[0]))
    if area.columns.stop > shape[1] or area.rows.stop > shape[0]:
        raise UsageError(f"--crop reaches beyond the image of {shape[1]} x {shape[0]}; count from 1")
    corner = (area.columns.start * (like.pixel_A or 0.0), area.rows.start * (like.pixel_A or 0.0))
    aside = centre(shape[1]) - area.columns.start - centre(area.columns.stop - area.columns.start)
    if aside:
        settings.console.warn(
            f"the middle of the views moves: an axis that was central is now {aside:+g} px beside it, "
            "which recon takes as --axis-offset"
        )
    step = Step("stack", _summary(len(inputs), len(series.parts), sort, crop))
    with (
        settings.outputs() as outputs,
        series_writer(
            outputs,
            output,
            like,
            step=step,
            shape=(area.rows.stop - area.rows.start, area.columns.stop - area.columns.start),
            origin_A=(origin_A[0] + corner[0], origin_A[1] + corner[1], origin_A[2]),
            mode=mode,
        ) as writer,
    ):
        images = ordered_map(series.view, range(len(series.parts)), threads=settings.threads)
        for k, image in enumerate(settings.console.track(images, len(series.parts), "stacking")):
            writer.write_section(k, image[area.rows, area.columns])


def _open_all(
    settings: Settings, inputs: tuple[str, ...], tilts: str | None, exclude: tuple[int, ...]
) -> "list[Stack]":
    """Open the files; sections that are left out may lack a description."""
    stacks: list[Stack] = []
    for name in inputs:
        start = sum(map(len, stacks))
        without = [view - start for view in exclude if view >= start]
        stacks.append(open_input(settings, name, tilts=tilts, stream=True, without=without))
    return stacks


def _summary(n_files: int, n_views: int, sort: str | None, crop: Region | None) -> str:
    """Say in a few words what was done."""
    words = [f"{n_views} views of {n_files} file" + "s" * (n_files > 1)]
    words += [f"sorted by {sort}"] if sort else []
    if crop:
        columns, rows = crop.columns, crop.rows
        words.append(f"cropped to {columns.start + 1}-{columns.stop},{rows.start + 1}-{rows.stop}")
    return ", ".join(words)
