"""``etcli register``: shift the views of a tilt series onto each other."""

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
from etcli.cli.types import FILE, LENGTH_PX, REGION
from etcli.core.lengths import Length
from etcli.pipeline.view_selection import Region

# the methods that use an option
BELONGS_TO = {
    "max_shift": ("auto", "pc", "stackreg", "focal"),
    "region": ("auto", "match", "pc", "stackreg", "com", "com-cl", "focal"),
    "mask": ("auto", "match"),
    "iterations": ("auto", "match"),
    "euler": ("auto", "match"),
    "axis_deg": ("auto", "pc", "stackreg", "com", "com-cl", "match"),
}


@subcommand(
    "register",
    example="etcli register series.mrc registered.mrc\n"
    "etcli register --write-xf r.xf --plot shifts.png series.mrc registered.mrc",
    references=(
        "Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33, 156 (2008): sub-pixel peak of the correlation.",
        "Knapp & Carter, IEEE Trans. Acoust. Speech Signal Process. 24, 320 (1976): its weights.",
        "Thévenaz, Ruttimann & Unser, IEEE Trans. Image Process. 7, 27 (1998): stackreg.",
        "Scott et al., Nature 483, 444 (2012): com, the centre of mass.",
        "Penczek, Grassucci & Frank, Ultramicroscopy 53, 251 (1994): match, projection matching.",
        "Alania et al., Ultramicroscopy 177, 36 (2017): focal, for depth sectioning.",
    ),
)
@input_argument
@output_argument
@click.option(
    "--method",
    type=click.Choice(["auto", "pc", "stackreg", "com", "com-cl", "match", "focal"]),
    default="auto",
    show_default=True,
    help="pc: correlation of views near each other in tilt. stackreg: least squares from view to view. "
    "com: motion of the centre of mass. com-cl: the same across the axis, common lines along it. "
    "match: reprojections of the reconstruction, starting from one of these. focal: correlation of views of "
    "one tilt near each other in focus. auto: match, or pc with --max-shift; focal for a series of one tilt "
    "at several defoci.",
)
@click.option(
    "--reference",
    type=click.IntRange(1),
    help="View that is not shifted.  [default: nearest 0°, or in the middle of the focus]",
)
@click.option(
    "--max-shift",
    type=LENGTH_PX,
    help="Largest displacement between neighbours.  [default: half a view, focal: a quarter]",
)
@click.option("--region", type=REGION, help="Columns and rows to compare, counted from 1.  [default: all]")
@click.option(
    "--mask",
    type=FILE,
    metavar="FILE",
    help="match: image of the size of a view, not zero where views are compared: leaves out a feature that "
    "dominates or moves by itself.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="match: largest number of rounds at each of two scales.",
)
@click.option(
    "--euler",
    type=FILE,
    metavar="FILE",
    help="match: orientations of the views (CSV: phi,theta,psi), which are refined with the shifts and "
    "written to OUTPUT.euler.csv.",
)
@click.option(
    "--write-xf",
    type=FILE,
    metavar="FILE",
    help="Write the shifts as IMOD's .xf; the tilt axis that match has found to FILE.axis.",
)
@residual_options
@axis_option
@series_options
@pass_settings
def command(
    settings: Settings,
    /,
    method: str,
    reference: int | None,
    max_shift: Length | None,
    region: Region | None,
    iterations: int,
    background: float | str,
    strict: bool,
    max_residual: Length,
    as_json: bool,
    **files: Any,
) -> None:
    """Shift the views of a tilt or focal series onto each other; shifts only.

    If the tilt axis is not vertical according to the file or --axis, views are rotated, but only for the
    comparison. With every method for tilt series, the result is compared with reprojections of a
    reconstruction: the residual is the distance of the views from their prediction by other views. That of
    a focal series is the disagreement of comparisons with the next view and the next but one. Doubtful
    views are listed; -v lists all views. Two neighbours with each other's angle are named where the views
    show it; in noisy views of a small specimen they are not. The shifts are applied by one cubic spline
    interpolation; to interpolate only once in all, pass them to tiltalign with --prexf.
    """
    from etcli.pipeline.register import RegisterFiles, RegisterRequest, register_files

    check_options(method, BELONGS_TO)
    request = RegisterRequest(
        method,
        reference=reference - 1 if reference else None,
        max_shift=max_shift,
        region=region,
        iterations=iterations,
        background=background,
        max_residual=max_residual,
        strict=strict,
    )
    numbers = register_files(RegisterFiles(**files), request, settings.session)
    if as_json:
        settings.console.data(numbers)
