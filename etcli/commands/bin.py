"""``etcli bin``: reduce images or a volume."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)


@subcommand("bin", example="etcli bin --factor 2 series.mrc series_bin2.mrc")
@input_argument
@output_or_stream_argument
@click.option(
    "-b",
    "--factor",
    type=click.FloatRange(1),
    default=2.0,
    show_default=True,
    help="How many pixels become one.",
)
@click.option(
    "--dims", type=click.Choice(["2", "3"]), default="2", show_default=True, help="Each image, or a volume."
)
@click.option(
    "--method",
    type=click.Choice(["mean", "sum", "fourier"]),
    default="mean",
    show_default=True,
    help="Mean or sum of the area, or a crop of the Fourier transform.",
)
@mode_option
@pass_settings
def command(
    settings: Settings, input: str, output: str, factor: float, dims: str, method: str, mode: int
) -> None:
    """Reduce images or a volume.

    By an integer or real FACTOR, n pixels become n / FACTOR, rounded down; where that does not come out
    even the pixels at the rim of each new one count by their share, so that the centre stays the centre.
    Where n / FACTOR is whole, and odd or even as n is, the result is that of IMOD's newstack -bin, which
    adds a pixel otherwise. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.core.binning import bin_image, binned_sections, binned_size
    from etcli.core.parallel import ordered_map
    from etcli.io.frame import with_voxels
    from etcli.io.save import Step, series_writer, volume_writer

    stack = open_input(settings, input, stream=True)
    step = Step("bin", f"{method} of {factor:g} x {factor:g}" + (f" x {factor:g}" if dims == "3" else ""))
    pixel_A = stack.pixel_A * factor if stack.pixel_A else None
    nz, ny, nx = stack.shape
    size = binned_size(ny, factor), binned_size(nx, factor)
    # what does not make a whole pixel is left out evenly on both sides
    left_out = [(n - m * factor) / 2 for n, m in ((nx, size[1]), (ny, size[0]))]
    left_out.append((nz - binned_size(nz, factor) * factor) / 2 if dims == "3" else 0.0)
    x, y, z = (at + (stack.pixel_A or 0.0) * n for at, n in zip(stack.origin_A, left_out, strict=True))
    reduce = partial(bin_image, factor=factor, method=method)
    with settings.outputs() as outputs:
        if dims == "2":
            n_sections = nz
            opened = series_writer(
                outputs, output, stack, step=step, shape=size, pixel_A=pixel_A, origin_A=(x, y, z), mode=mode
            )
            images: Iterable[Any] = ordered_map(
                lambda k: reduce(stack.view(k)), range(len(stack)), threads=settings.threads
            )
        else:
            n_sections = binned_size(nz, factor)
            opened = volume_writer(
                outputs,
                output,
                (n_sections, *size),
                step=step,
                pixel_A=pixel_A,
                labels=with_voxels(stack.labels, pixel_A) if pixel_A else stack.labels,
                origin_A=(x, y, z),
                mode=mode,
            )
            images = binned_sections(stack.view, stack.shape, factor, method=method, threads=settings.threads)
        with opened as writer:
            for k, image in enumerate(settings.console.track(images, n_sections, "binning")):
                writer.write_section(k, image)
