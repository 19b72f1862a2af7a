"""``etcli tiltalign``: find the tilt axis and turn it vertical and central."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.axis import known_axis_deg
from etcli.cli.background import background_level
from etcli.cli.inputs import naming, open_input, open_transforms
from etcli.cli.options import (
    Settings,
    axis_option,
    check_options,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.pictures import check_picture, save_picture
from etcli.cli.rehearsal import check_series
from etcli.cli.resampling import write_resampled
from etcli.cli.residual import check_residual, residual_options
from etcli.cli.types import LENGTH_PX, Length
from etcli.core.errors import ConvergenceError

if TYPE_CHECKING:
    from etcli.core.registration.matching import Matched
    from etcli.core.registration.tilt_axis import TiltAxis
    from etcli.core.registration.transforms import Transforms
    from etcli.io.stack import Stack

ITERATIONS = 12


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
    "slices. match: reprojections of the reconstruction, from com where that can be. auto: match, or sum "
    "where the specimen reaches the sides of the views.",
)
@click.option(
    "--angle",
    type=float,
    help="Find nothing; apply this angle from +y to the axis, counter-clockwise.  "
    "[default with --offset: the mdoc's]",
)
@click.option(
    "--offset",
    type=LENGTH_PX,
    help="Find nothing; apply this distance of the axis from the centre.  [default with --angle: 0]",
)
@click.option("--prexf", metavar="FILE", help="Transforms to apply before, such as those of register.")
@click.option("--write-xf", metavar="FILE", help="Write all that was applied, in IMOD's form.")
@click.option("--refine-tilts", is_flag=True, help="match: refine the tilt angles, their mean kept.")
@click.option("--write-tlt", metavar="FILE", help="Write the tilt angles, one a line.")
@residual_options
@axis_option
@series_options
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    method: str,
    angle: float | None,
    offset: Length | None,
    prexf: str | None,
    write_xf: str | None,
    refine_tilts: bool,
    write_tlt: str | None,
    strict: bool,
    max_residual: Length,
    rough_axis_deg: float | None,
    background: float | str,
    tilts: str | None,
    as_json: bool,
    plot: str | None,
    mode: int,
) -> None:
    """Find the tilt axis of a registered series and turn it vertical and central.

    The search starts from the angle in the file, or from --axis. With --prexf, INPUT is the raw series:
    both alignments are applied at once, so that the views are interpolated only once. Where the axis
    lies along x in INPUT, OUTPUT is turned by a quarter.
    """
    import numpy as np

    from etcli.core.registration.tilt_axis import TiltAxis, alignment_matrix
    from etcli.core.registration.transforms import Transforms, compose, turned_shape
    from etcli.io.save import Step, series_writer
    from etcli.io.tilts import write_tilts
    from etcli.io.transforms import write_xf as write_transforms

    check_picture(plot)
    stack = open_input(settings, input, tilts=tilts, axis_deg=rough_axis_deg)
    check_series(settings, output, stack, sides=(write_xf, write_tlt, plot))
    n = len(stack)
    before = open_transforms(settings, prexf, stack) if prexf else Transforms.identity(n)
    turned_deg = before.turned_deg
    limit_px = max_residual.px(stack.pixel_A)
    level = background_level(settings, stack, background)
    if angle is None and offset is None:
        check_options(method, {"refine_tilts": ("auto", "match")})
        start_deg = known_axis_deg(settings, stack) - turned_deg
        method, found = _found(settings, stack, before, start_deg, method, refine_tilts, level)
        axis = found.axis
        if refine_tilts:
            stack = stack.with_tilts(found.tilt_deg, "refinement")
        check_residual(settings, found, stack.pixel_A, limit_px=limit_px, strict=strict)
    else:
        if refine_tilts or strict or method != "auto":
            raise click.UsageError(
                "with --angle or --offset nothing is found; leave --method, --refine-tilts and --strict out"
            )
        method = "given"
        axis = TiltAxis(
            known_axis_deg(settings, stack) - turned_deg if angle is None else angle,
            offset.px(stack.pixel_A) if offset else 0.0,
            *(np.nan,) * 3,
        )
    tilt_deg = stack.tilt_deg
    placed = not np.isnan(axis.offset_px)  # some methods find the angle only
    matrix, shift_px = alignment_matrix(axis.angle_deg, axis.offset_px if placed else 0.0)
    transforms = compose(before, Transforms(np.tile(matrix, (n, 1, 1)), np.tile(shift_px, (n, 1))))
    shape = turned_shape((stack.shape[1], stack.shape[2]), turned_deg + axis.angle_deg)
    offset_px = f"{axis.offset_px:.2f} px"
    place = f"{offset_px} off the centre" if placed else f"taken to be central: {method} finds no offset"
    result = f"tilt axis at {axis.angle_deg:.2f}°, {place}"
    settings.console.report(result)
    done = [f"axis {axis.angle_deg:.2f} deg", *([f"offset {offset_px}"] if placed else [])]
    done += [f"after {Path(prexf).name}"] if prexf else []
    step = Step("tiltalign", ", ".join(done))
    with settings.outputs() as outputs:
        with series_writer(outputs, output, stack, step=step, shape=shape, axis_deg=0.0, mode=mode) as writer:
            write_resampled(settings, writer, stack, transforms, what="turning", shape=shape, fill=level)
        if write_xf:
            write_transforms(outputs.path(write_xf), transforms)
        if write_tlt:
            write_tilts(outputs.path(write_tlt), tilt_deg)
        if plot:
            figure = _picture(settings, outputs.part_of(output), tilt_deg, level, stack.pixel_A, result)
            save_picture(outputs, plot, figure)
        if as_json:
            numbers = _numbers(axis, method, level, stack.pixel_A)
            settings.console.data(numbers | {"tilt_deg": tilt_deg} if refine_tilts else numbers)


def _found(
    settings: Settings,
    stack: "Stack",
    before: "Transforms",
    start_deg: float,
    method: str,
    free_tilts: bool,
    level: float | None,
) -> tuple[str, "Matched"]:
    """Find the axis in the series as registered; return the method that did."""
    from etcli.core.registration.methods import find_axis

    chosen = "match" if method == "auto" else method
    n_read = 2 * len(stack) if chosen == "com" else len(stack)
    total = 3 * ITERATIONS if chosen == "match" else n_read
    with naming(stack), settings.console.progress(total, "looking for the axis") as advance:
        how: dict[str, Any] = {
            "transforms": before,
            "start_deg": start_deg,
            "background": level,
            "threads": settings.threads,
            "progress": advance,
        }
        if method == "auto" and level is None and not free_tilts:
            with suppress(ConvergenceError):
                return "sum", find_axis(stack.images(), stack.tilt_deg, method="sum", **how)
        how |= {"free_tilts": free_tilts, "iterations": ITERATIONS}
        return chosen, find_axis(stack.images(), stack.tilt_deg, method=chosen, **how)


def _numbers(axis: "TiltAxis", method: str, level: float | None, pixel_A: float | None) -> dict[str, Any]:
    """Return what a script may want to know."""
    return {
        "method": method,
        "background": level,
        "angle_deg": axis.angle_deg,
        "offset_px": axis.offset_px,
        "angle_sigma_deg": axis.angle_sigma_deg,
        "offset_sigma_px": axis.offset_sigma_px,
        "residual_px": axis.residual_px,
        "residual_A": axis.residual_px * pixel_A if pixel_A else None,
    }


def _picture(
    settings: Settings,
    path: Path,
    tilt_deg: Any,
    level: float | None,
    pixel_A: float | None,
    title: str,
) -> Any:
    """Draw three slices of the aligned series to judge it by, and how well other axes would do."""
    import numpy as np

    from etcli.core.errors import DataError
    from etcli.core.geometry import centre
    from etcli.core.preview import preview_slices
    from etcli.core.registration.center_of_mass import axis_along_itself
    from etcli.core.registration.matching import axis_residual
    from etcli.io.stack import open_stack
    from etcli.plotting.alignment import tilt_axis

    views = open_stack(str(path)).images()
    ny = views.shape[1]
    y_px, axis_px = axis_along_itself(views, tilt_deg, background=level or 0.0)
    rows = np.round(np.linspace(0, ny - 1, 5)).astype(int)[1:-1]
    try:
        residual = axis_residual(views, tilt_deg, background=level, threads=settings.threads)
    except DataError:  # too few views for any
        residual = None
    return tilt_axis(
        y_px,
        axis_px,
        slices=preview_slices(views[:, rows], tilt_deg, background=level or 0.0),
        slice_rows=rows - centre(ny),
        residual=residual,
        pixel_A=pixel_A,
        title=title,
    )
