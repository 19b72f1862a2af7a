"""``etcli filter``: denoise images or a volume, or enhance edges."""

from typing import Any

import click

from etcli.cli.options import (
    Settings,
    check_options,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import LENGTH_PX

# the methods that use an option
BELONGS_TO = {
    "size": ("median", "median-sobel", "despike"),
    "sigma": ("gaussian",),
    "low": ("bandpass",),
    "high": ("bandpass",),
    "weight": ("tv", "nlm"),
    "threshold": ("despike",),
}
METHODS = ("median", "gaussian", "sobel", "median-sobel", "bandpass", "tv", "nlm", "despike")


@subcommand(
    "filter",
    example="etcli filter --method despike series.mrc clean.mrc\n"
    "etcli filter --method bandpass --low 60px --high 3px clean.mrc band.mrc",
    references=(
        "Rudin, Osher & Fatemi, Physica D 60, 259 (1992): total variation.",
        "Buades, Coll & Morel, CVPR 2, 60 (2005): non-local means.",
    ),
)
@input_argument
@output_or_stream_argument
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="median",
    show_default=True,
    help="Kind of filter.",
)
@click.option(
    "--size", type=LENGTH_PX, default="3", show_default=True, help="Kernel of median, median-sobel, despike."
)
@click.option(
    "--sigma", type=LENGTH_PX, default="1", show_default=True, help="Standard deviation of gaussian."
)
@click.option("--low", type=LENGTH_PX, help="Longest period that bandpass keeps.")
@click.option("--high", type=LENGTH_PX, help="Shortest period that bandpass keeps.")
@click.option(
    "--weight",
    type=click.FloatRange(0, min_open=True),
    help="Strength of tv and nlm in units of intensity.  [default: from the noise]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, min_open=True),
    default=8.0,
    show_default=True,
    help="Least deviation that despike replaces, in standard deviations.",
)
@click.option(
    "--dims", type=click.Choice(["2", "3"]), default="2", show_default=True, help="Each image, or a volume."
)
@mode_option
@pass_settings
def command(
    settings: Settings, /, input: str, output: str, method: str, dims: str, mode: int, **options: Any
) -> None:
    """Denoise images or a volume, or enhance edges.

    bandpass keeps the periods from --high to --low; one of them alone makes a low- or a high-pass.
    despike replaces single pixels that stand out of their surroundings, such as X-ray hits. INPUT or
    OUTPUT may be - for a stream.
    """
    from etcli.pipeline.filter import FilterRequest, filter_files

    check_options(method, BELONGS_TO)
    request = FilterRequest(method, **options)
    filter_files(settings.session, input, output, request, dims=int(dims), mode=mode)
