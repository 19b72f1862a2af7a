"""``etcli view``: draw montages, slices, sinograms and movies."""

from typing import TYPE_CHECKING

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    output_argument,
    pass_settings,
    subcommand,
    tilts_option,
)
from etcli.cli.pictures import announce_picture, check_picture
from etcli.cli.types import VIEWS, checked_list

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from etcli.io.stack import Stack

MOST_PANELS = 20


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

    A movie shows the views of a series in the order of their tilt, or a volume's maximum projection
    turning about the tilt axis. A file with tilt angles is taken for a series.
    """
    from etcli.core.errors import UsageError

    if sum([slices or at is not None, views is not None, maximum, sinogram is not None]) > 1:
        raise UsageError("give one of --slices, --views, --maximum and --sinogram")
    is_movie = output.lower().endswith(".gif")
    if not is_movie:
        check_picture(output)
    elif slices or at is not None or maximum or sinogram is not None or cmap != "gray":
        raise UsageError("a movie is grey and shows views, or a volume that turns; end OUTPUT in .png")
    stack = open_input(settings, input, tilts=tilts)
    chosen = checked_list(views, len(stack), "view") if views else None
    with settings.outputs() as outputs:
        if is_movie:
            _movie(stack, chosen, outputs.path(output), fps)
            return
        _check_colours(cmap)
        write_picture = announce_picture(outputs, output)
        if sinogram is not None:
            figure = _sinogram(stack, sinogram, cmap)
        elif maximum:
            from etcli.plotting.slices import maximum_projection

            figure = maximum_projection(stack.images(), pixel_A=stack.pixel_A, cmap=cmap)
        elif slices or at is not None or (stack.tilts is None and chosen is None and len(stack) > 1):
            figure = _slices(stack, at, cmap)
        else:
            figure = _montage(stack, chosen, cmap)
        write_picture(figure)


def _check_colours(cmap: str) -> None:
    """Refuse a colour map that matplotlib does not know."""
    import matplotlib

    from etcli.core.errors import UsageError

    if cmap not in matplotlib.colormaps:
        raise UsageError(f"--cmap {cmap}: matplotlib has no such colour map; try gray, viridis or inferno")


def _by_tilt(stack: "Stack") -> list[int]:
    """Return the numbers of the views in the order of their tilt, or of the sections."""
    if stack.tilts is None:
        return list(range(len(stack)))
    order: list[int] = stack.tilts.tilt_deg.argsort(kind="stable").tolist()
    return order


def _movie(stack: "Stack", chosen: list[int] | None, path: "Path", fps: float) -> None:
    """Show views one after the other, or a volume that turns."""
    from etcli.plotting.movie import movie, rotating
    from etcli.plotting.style import contrast

    images = stack.images()
    if stack.tilts is None and chosen is None:
        # the least of a volume is far below its vacuum, the least of its projection is not
        movie(rotating(images), path, fps=fps, limits=contrast(images.max(axis=0)))
    else:
        views = (stack.view(k) for k in chosen or _by_tilt(stack))
        movie(views, path, fps=fps, limits=contrast(images))


def _sinogram(stack: "Stack", row: int, cmap: str) -> "Figure":
    """Draw one row of all views."""
    from etcli.core.errors import UsageError
    from etcli.plotting.slices import sinogram

    if row > stack.shape[1]:
        raise UsageError(f"--sinogram {row}: {stack.name} has {stack.shape[1]} rows; count from 1")
    title = f"row {row} of {stack.shape[1]}"
    return sinogram(stack.images()[:, row - 1], stack.tilt_deg, title=title, pixel_A=stack.pixel_A, cmap=cmap)


def _slices(stack: "Stack", at: tuple[int, int, int] | None, cmap: str) -> "Figure":
    """Draw the three slices through a point."""
    from etcli.plotting.slices import orthoslices

    point = (at[2] - 1, at[1] - 1, at[0] - 1) if at else None
    return orthoslices(stack.images(), pixel_A=stack.pixel_A, at=point, cmap=cmap)


def _montage(stack: "Stack", chosen: list[int] | None, cmap: str) -> "Figure":
    """Draw views or sections with their tilt angles."""
    from etcli.plotting.slices import montage

    every = -(-len(stack) // MOST_PANELS)
    chosen = chosen or _by_tilt(stack)[::every]
    labels = [str(k + 1) for k in chosen]
    if stack.tilts:
        angles = stack.tilts.tilt_deg.round(1) + 0.0  # no negative zero
        labels = [f"{k + 1}: {angles[k]:.1f}°".replace("-", "−") for k in chosen]
    return montage(stack.images(), indices=chosen, labels=labels, pixel_A=stack.pixel_A, cmap=cmap)
