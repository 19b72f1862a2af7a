"""``etcli bin``: reduce images or a volume."""

import click

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
    help="Mean or sum of the area, or a crop of the Fourier transform.  [default: mean, of maps of counts "
    "sum]",
)
@mode_option
@pass_settings
def command(
    settings: Settings, input: str, output: str, factor: float, dims: str, method: str | None, mode: int
) -> None:
    """Reduce images or a volume.

    With an integer or real FACTOR, n pixels become n / FACTOR, rounded down; pixels on the edge between two
    new ones count by their fraction in each, so that the centre stays the centre. Where n / FACTOR is whole,
    and odd or even as n is, the result is that of IMOD's newstack -bin, which adds a pixel otherwise. INPUT
    or OUTPUT may be - for a stream.
    """
    from etcli.pipeline.bin import BinRequest, bin_files

    bin_files(settings.session, input, output, BinRequest(factor, method), dims=int(dims), mode=mode)
