"""``etcli tiltalign``: find the tilt axis and turn it vertical and central."""

from typing import Any

import click

from etcli.cli.alignment_options import axis_option, residual_options
from etcli.cli.options import (
    Settings,
    check_options,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.types import FILE, LENGTH_PX
from etcli.core.lengths import Length


@subcommand(
    "tiltalign",
    example="etcli register --write-xf r.xf series.mrc registered.mrc\n"
    "etcli tiltalign --prexf r.xf --write-xf a.xf --plot axis.png series.mrc aligned.mrc",
    references=(
        "Scott et al., Nature 483, 444 (2012): the centre of mass.",
        "Sanders, Prange, Akatay & Binev, Adv. Struct. Chem. Imaging 1, 4 (2015): its motion.",
    ),
)
@input_argument
@output_argument
@click.option(
    "--method",
    type=click.Choice(["auto", "com", "maximage", "sum", "match"]),
    default="auto",
    show_default=True,
    help="com: motion of the centre of mass. maximage: paths in the maximum of all views. sum: sharpness of "
    "slices. match: reprojections of the reconstruction, starting from com where possible. auto: match, "
    "or sum where the specimen reaches the sides of the views.",
)
@click.option(
    "--angle",
    "angle_deg",
    type=float,
    help="Apply this angle from +y to the axis, counter-clockwise, without a search.  "
    "[default with --offset: the mdoc's]",
)
@click.option(
    "--offset",
    type=LENGTH_PX,
    help="Apply this distance of the axis from the centre, without a search.  [default with --angle: 0]",
)
@click.option(
    "--prexf",
    type=FILE,
    metavar="FILE",
    help="Transforms to apply first, such as those of register; the axis in FILE.axis is confirmed first.",
)
@click.option("--write-xf", type=FILE, metavar="FILE", help="Write the combined transforms as IMOD's .xf.")
@click.option("--refine-tilts", is_flag=True, help="match: refine the tilt angles; their mean is kept.")
@click.option("--write-tlt", type=FILE, metavar="FILE", help="Write the tilt angles, one per line.")
@residual_options
@axis_option
@series_options
@pass_settings
def command(
    settings: Settings,
    /,
    method: str,
    angle_deg: float | None,
    offset: Length | None,
    refine_tilts: bool,
    background: float | str,
    strict: bool,
    max_residual: Length,
    as_json: bool,
    **files: Any,
) -> None:
    """Find the tilt axis of a registered series and turn it vertical and central.

    The search starts from the angle in the file, or from --axis. With --prexf, INPUT is the raw series:
    both alignments are applied together, so that the views are interpolated only once, and the axis that
    register found is refined if the views confirm it, instead of searching again. Where the axis lies
    along x in INPUT, OUTPUT is rotated by 90°.
    """
    from etcli.pipeline.tiltalign import TiltAlignFiles, TiltAlignRequest, tiltalign_files

    request = TiltAlignRequest(
        method,
        angle_deg=angle_deg,
        offset=offset,
        refine_tilts=refine_tilts,
        background=background,
        max_residual=max_residual,
        strict=strict,
    )
    if not request.is_given:
        check_options(method, {"refine_tilts": ("auto", "match")})
    numbers = tiltalign_files(TiltAlignFiles(**files), request, settings.session)
    if as_json:
        settings.console.data(numbers)
