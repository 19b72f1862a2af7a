"""``etcli xform``: apply existing transforms."""

import click

from etcli.cli.options import (
    Settings,
    mode_option,
    output_or_stream_argument,
    pass_settings,
    subcommand,
)
from etcli.cli.types import FILE, LENGTH_A
from etcli.core.lengths import Length


@subcommand(
    "xform",
    example="etcli xform --xf haadf.xf eds_iron.mrc eds_iron_aligned.mrc\n"
    "etcli xform --linear --parts --xf haadf.xf map_Ni.mrc map_Co.mrc aligned.mrc",
)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=FILE)
@output_or_stream_argument
@click.option(
    "--xf", type=FILE, required=True, metavar="FILE", help="Transforms as IMOD's .xf, one per line."
)
@click.option(
    "--xf-pixel",
    type=LENGTH_A,
    help="Pixel size on which they were found.  [default: that in FILE.axis, else that of INPUT]",
)
@click.option(
    "--xf-tilts",
    type=FILE,
    metavar="FILE",
    help="Tilt angles at which they were found: one per line, an mdoc, or the series.  [default: those in "
    "FILE.axis, else beside FILE]",
)
@click.option("--linear", is_flag=True, help="Interpolate linearly, for counts: no negative values.")
@click.option(
    "--parts",
    is_flag=True,
    help="Also write two random parts of the counts, OUTPUT_train and _test, by which fuse sets its weights.",
)
@mode_option
@pass_settings
def command(
    settings: Settings,
    inputs: tuple[str, ...],
    output: str,
    xf: str,
    xf_pixel: Length | None,
    xf_tilts: str | None,
    linear: bool,
    parts: bool,
    mode: int,
) -> None:
    """Apply transforms found elsewhere to one or more series.

    The transforms are those of register and tiltalign --write-xf, or IMOD's: A11 A12 A21 A22 DX DY about
    the centre of the image. One cubic spline interpolation per view applies them. Found on one detector's
    series, they align another's. Found on pixels of another size, their shifts are rescaled: etcli keeps
    that size in FILE.axis; for transforms of other programs give it with --xf-pixel. Pixels from outside
    a view are filled with the median of its rim. INPUT or OUTPUT may be - for a stream.

    A series of other tilts than those of the transforms, such as element maps at every third tilt, gets
    for each view the transform of its own tilt angle, to 0.1°. register and tiltalign keep the angles in
    FILE.axis; of other transforms they are looked for in .rawtlt, .mdoc and .tlt files of the same name.

    Several INPUTs, such as the element maps of a specimen, are transformed alike, to OUTPUT_Ni.mrc and so
    on: what distinguishes their names goes before the ending of OUTPUT. All outputs appear, or none.
    Counts can be divided at random only before they are interpolated: decompose does so, and --parts for
    maps of another program.
    """
    from etcli.pipeline.xform import XformRequest, xform_files

    request = XformRequest(xf, xf_pixel, xf_tilts, linear, parts)
    xform_files(settings.session, inputs, output, request, mode=mode)
