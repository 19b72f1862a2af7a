"""``etcli xform``: apply existing transforms."""

import click

from etcli.cli.options import (
    Settings,
    input_argument,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import FILE, LENGTH_A
from etcli.core.lengths import Length


@subcommand("xform", example="etcli xform --xf haadf.xf eds_iron.mrc eds_iron_aligned.mrc")
@input_argument
@output_or_stream_argument
@click.option(
    "--xf", type=FILE, required=True, metavar="FILE", help="Transforms as IMOD's .xf, one line per view."
)
@click.option(
    "--xf-pixel",
    type=LENGTH_A,
    help="Pixel size on which they were found.  [default: that in FILE.axis, of the raw series of its name, "
    "or of INPUT]",
)
@mode_option
@pass_settings
def command(settings: Settings, input: str, output: str, xf: str, xf_pixel: Length | None, mode: int) -> None:
    """Apply transforms found elsewhere to a series.

    The transforms are those of register and tiltalign --write-xf, or IMOD's: A11 A12 A21 A22 DX DY about
    the centre of the image. One cubic spline interpolation per view applies them. Found on one detector's
    series, they align another's. Found on pixels of another size, their shifts are rescaled: etcli keeps
    that size in FILE.axis; for transforms of other programs it is that of the raw series of the same base
    name (a.st or a.mrc beside a.xf), else it is taken to be that of INPUT, or give it with --xf-pixel. Pixels
    from outside a view are filled with the median of its rim. INPUT or OUTPUT may be - for a stream.
    """
    from etcli.pipeline.xform import xform_files

    xform_files(settings.session, input, output, xf=xf, xf_pixel=xf_pixel, mode=mode)
