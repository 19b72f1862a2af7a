"""``etcli register``: shift the views of a tilt series onto each other."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.axis import known_axis_deg
from etcli.cli.background import background_level
from etcli.cli.inputs import naming, open_input, open_orientations
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
from etcli.cli.types import LENGTH_PX, REGION, Length, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.registration.matching import Matched
    from etcli.io.stack import Stack


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
    ),
)
@input_argument
@output_argument
@click.option(
    "--method",
    type=click.Choice(["auto", "pc", "stackreg", "com", "com-cl", "match"]),
    default="auto",
    show_default=True,
    help="pc: correlation of views near each other in tilt. stackreg: least squares from view to view. "
    "com: motion of the centre of mass. com-cl: the same across the axis, common lines along it. "
    "match: reprojections of the reconstruction, from one of these. auto: match, or pc with --region or "
    "--max-shift.",
)
@click.option(
    "--reference", type=click.IntRange(1), help="View that stays where it is.  [default: nearest 0°]"
)
@click.option(
    "--max-shift",
    type=LENGTH_PX,
    help="Largest displacement between neighbours.  [default: half a view]",
)
@click.option("--region", type=REGION, help="Columns and rows to compare, counted from 1.  [default: all]")
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="match: most rounds at each of three scales.",
)
@click.option(
    "--euler",
    metavar="FILE",
    help="match: orientations of the views (CSV: phi,theta,psi), which are refined with the shifts and "
    "written to OUTPUT.euler.csv.",
)
@click.option("--write-xf", metavar="FILE", help="Write the shifts in IMOD's form.")
@residual_options
@axis_option
@series_options
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    method: str,
    reference: int | None,
    max_shift: Length | None,
    region: Region | None,
    iterations: int,
    euler: str | None,
    rough_axis_deg: float | None,
    background: float | str,
    strict: bool,
    max_residual: Length,
    write_xf: str | None,
    tilts: str | None,
    as_json: bool,
    plot: str | None,
    mode: int,
) -> None:
    """Shift the views of a tilt series onto each other; shifts only.

    Where the file or --axis says that the tilt axis is not vertical, views are turned for the comparison
    alone. Whatever the method, the result is compared with reprojections of a reconstruction: how far
    the views are from what other views predict is the residual, and views that cannot be trusted are
    named; -v lists all. The shifts are applied by one cubic spline interpolation; to interpolate only once
    in all, hand them to tiltalign with --prexf.
    """
    from etcli.core.registration.transforms import Transforms
    from etcli.io.euler import write_euler
    from etcli.io.save import Step, series_writer
    from etcli.io.transforms import write_xf as write_transforms

    check_options(
        method,
        {
            "max_shift": ("auto", "pc", "stackreg"),
            "region": ("auto", "pc", "stackreg", "com", "com-cl"),
            "iterations": ("auto", "match"),
            "euler": ("auto", "match"),
        },
    )
    if method == "auto":
        method = "pc" if region or max_shift else "match"
    if euler and method != "match":
        raise click.UsageError("--euler needs --method match, without --region and --max-shift")
    check_picture(plot)
    stack = open_input(settings, input, tilts=tilts, axis_deg=rough_axis_deg)
    euler_deg = None
    if euler:
        if tilts or known_axis_deg(settings, stack):
            raise click.UsageError(
                "--euler says where the tilt axis lies: along y; leave --tilts and --axis out"
            )
        stack, euler_deg = open_orientations(settings, euler, stack)
    check_series(settings, output, stack, sides=(write_xf, plot, f"{output}.euler.csv" if euler else None))
    if reference is not None and reference > len(stack):
        raise click.UsageError(f"--reference {reference}: there are {len(stack)} views; count from 1")
    limit_px = max_residual.px(stack.pixel_A)
    level = background_level(settings, stack, background)
    how: dict[str, Any] = {
        "reference": reference - 1 if reference else None,
        "background": level,
        "max_shift_px": max_shift.px(stack.pixel_A) if max_shift else None,
        "iterations": iterations,
    }
    found = _found(settings, stack, method, region, how)
    _report(settings, stack, found)
    check_residual(settings, found, stack.pixel_A, limit_px=limit_px, strict=strict)
    shift_px = found.shifts.shift_px
    if euler_deg is not None:
        shift_px, euler_deg = _oriented(settings, stack, euler_deg, found, level)
        stack = stack.with_tilts(-euler_deg[:, 1], "refinement")
    transforms = Transforms.shifts(shift_px)
    step = Step("register", f"{method}, residual {found.shifts.residual_px:.2f} px")
    with settings.outputs() as outputs:
        with series_writer(outputs, output, stack, step=step, mode=mode) as writer:
            write_resampled(settings, writer, stack, transforms, what="shifting", fill=level)
        if euler_deg is not None:
            write_euler(outputs.path(f"{output}.euler.csv", is_main=True), euler_deg)
        if write_xf:
            write_transforms(outputs.path(write_xf), transforms)
        if plot:
            from etcli.plotting.alignment import registration

            figure = registration(
                stack.tilt_deg, shift_px, quality=found.shifts.quality, doubtful=found.shifts.doubtful
            )
            save_picture(outputs, plot, figure)
        if as_json:
            numbers = _numbers(found, method, level, stack.pixel_A)
            if euler_deg is not None:
                numbers |= {"shift_px": shift_px.round(4), "euler_deg": euler_deg}
                numbers |= {"angle_deg": 0.0, "offset_px": 0.0}
            settings.console.data(numbers)


def _found(
    settings: Settings, stack: "Stack", method: str, region: Region | None, how: dict[str, Any]
) -> "Matched":
    """Find shifts and axis with the rough axis upright, and turn them back."""
    from dataclasses import replace

    import numpy as np

    from etcli.core.registration.methods import n_steps, register_views
    from etcli.core.registration.transforms import TransformedViews, Transforms, turned_shape

    _, ny, nx = stack.shape
    if region and (region.columns.stop > nx or region.rows.stop > ny):
        raise click.UsageError(f"--region reaches beyond the views of {nx} x {ny} pixels; count from 1")
    axis_deg = known_axis_deg(settings, stack)
    turn = Transforms.rotation(axis_deg, len(stack))
    shape = turned_shape((ny, nx), axis_deg)
    views: Any = stack.images()
    if axis_deg:
        views = TransformedViews(stack.view, turn, shape, fill=how["background"])
    total = n_steps(method, n_views=len(stack), iterations=how["iterations"])
    with naming(stack), settings.console.progress(total, "comparing") as advance:
        found = register_views(
            views,
            stack.tilt_deg,
            method=method,
            region=_turned(region, turn.matrix[0], (ny, nx), shape) if region else None,
            threads=settings.threads,
            progress=advance,
            **how,
        )
    back = np.einsum("kij,kj->ki", turn.inverse().matrix, found.shifts.shift_px)
    axis = replace(found.axis, angle_deg=found.axis.angle_deg + axis_deg)
    return replace(found, shifts=replace(found.shifts, shift_px=back), axis=axis)


def _oriented(
    settings: Settings,
    stack: "Stack",
    euler_deg: "NDArray[np.float64]",
    start: "Matched",
    level: float | None,
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Refine orientations and shifts; return both."""
    from etcli.core.registration.methods import ORIENTING_ROUNDS, orient_views

    with naming(stack), settings.console.progress(ORIENTING_ROUNDS, "orienting") as advance:
        found = orient_views(
            stack.images(), euler_deg, start, background=level, threads=settings.threads, progress=advance
        )
    settings.console.report(f"orientations changed by {found.change_deg:.2f}° in the last round")
    return found.shift_px, found.euler_deg


def _turned(
    region: Region, matrix: "NDArray[np.float64]", shape: tuple[int, int], turned: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of turned views that hold a region of the views."""
    import numpy as np

    # borders of pixels from the centre, (x, y)
    spans = (region.columns.start, region.columns.stop), (region.rows.start, region.rows.stop)
    corners = np.array([(x, y) for x in spans[0] for y in spans[1]]) - np.array(shape[::-1]) / 2
    found = (corners @ matrix.T + np.array(turned[::-1]) / 2).round().astype(int)
    low, high = (np.clip(ends, 0, turned[::-1]) for ends in (found.min(axis=0), found.max(axis=0)))
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _report(settings: Settings, stack: "Stack", found: "Matched") -> None:
    """Tell how well the views fit, and which to look at."""
    import numpy as np

    shifts = found.shifts
    settings.console.note("view   tilt (°)   x (px)   y (px)  correlation")
    rows = zip(stack.tilt_deg, shifts.shift_px, shifts.quality, shifts.doubtful, strict=True)
    for number, (tilt_deg, (x, y), quality, doubtful) in enumerate(rows, start=1):
        mark = "  doubtful" if doubtful else ""
        settings.console.note(f"{number:4} {tilt_deg:10.2f} {x:8.2f} {y:8.2f} {quality:12.3f}{mark}")
    axis = found.axis
    place = f"; tilt axis at {axis.angle_deg:.2f}°, {axis.offset_px:.2f} px off the centre"
    settings.console.report(
        f"largest shift {np.abs(shifts.shift_px).max():.2f} px{place if np.isfinite(axis.angle_deg) else ''}"
    )
    if shifts.doubtful.any():
        numbers = ",".join(str(k + 1) for k in np.flatnonzero(shifts.doubtful))
        plural = "s" if shifts.doubtful.sum() > 1 else ""
        settings.console.warn(
            f"look at view{plural} {numbers}: unlike what other views predict, or far from it"
        )


def _numbers(found: "Matched", method: str, level: float | None, pixel_A: float | None) -> dict[str, Any]:
    """Return what a script may want to know."""
    shifts = found.shifts
    return {
        "method": method,
        "shift_px": shifts.shift_px.round(4),
        "quality": shifts.quality.round(4),
        "doubtful": [k + 1 for k, doubt in enumerate(shifts.doubtful) if doubt],
        "residual_px": shifts.residual_px,
        "residual_A": shifts.residual_px * pixel_A if pixel_A else None,
        "angle_deg": found.axis.angle_deg,
        "offset_px": found.axis.offset_px,
        "background": level,
    }
