"""``etcli register``: shift the views of a tilt series onto each other."""

from typing import TYPE_CHECKING, Any

import click

from etcli.cli.axis import known_axis_deg
from etcli.cli.background import background_level
from etcli.cli.inputs import naming, open_input
from etcli.cli.options import (
    Settings,
    axis_option,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.pictures import check_picture, save_picture
from etcli.cli.rehearsal import check_series
from etcli.cli.resampling import write_resampled
from etcli.cli.types import LENGTH_PX, REGION, Length, Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from etcli.core.registration.shifts import Shifts
    from etcli.io.stack import Stack

MISFIT_PX = 1.0


@subcommand(
    "register",
    example="etcli register series.mrc registered.mrc\n"
    "etcli register --write-xf r.xf --plot shifts.png series.mrc registered.mrc",
    references=(
        "Guizar-Sicairos, Thurman & Fienup, Opt. Lett. 33, 156 (2008): sub-pixel peak of the correlation.",
        "Knapp & Carter, IEEE Trans. Acoust. Speech Signal Process. 24, 320 (1976): its weights.",
    ),
)
@input_argument
@output_argument
@click.option(
    "--method",
    type=click.Choice(["auto", "pc"]),
    default="auto",
    show_default=True,
    help="pc: correlation of views near each other in tilt. auto: pc.",
)
@click.option(
    "--reference", type=click.IntRange(1), help="View that stays where it is.  [default: nearest 0°]"
)
@click.option(
    "--max-shift", type=LENGTH_PX, help="Largest displacement between neighbours.  [default: half a view]"
)
@click.option("--region", type=REGION, help="Columns and rows to compare, counted from 1.  [default: all]")
@click.option("--write-xf", metavar="FILE", help="Write the shifts in IMOD's form.")
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
    rough_axis_deg: float | None,
    background: float | str,
    write_xf: str | None,
    tilts: str | None,
    as_json: bool,
    plot: str | None,
    mode: int,
) -> None:
    """Shift the views of a tilt series onto each other; shifts only.

    Where the file or --axis says that the tilt axis is not vertical, views are turned for the comparison
    alone. Views that cannot be trusted are named. The shifts are applied by one cubic spline
    interpolation; to interpolate only once in all, hand them to tiltalign with --prexf.
    """
    from etcli.core.registration.transforms import Transforms
    from etcli.io.save import Step, series_writer
    from etcli.io.transforms import write_xf as write_transforms

    check_picture(plot)
    stack = open_input(settings, input, tilts=tilts, axis_deg=rough_axis_deg)
    check_series(settings, output, stack, sides=(write_xf, plot))
    level = background_level(settings, stack, background)
    found = _found(settings, stack, reference, max_shift, region, level)
    _report(settings, found, stack.pixel_A)
    transforms = Transforms.shifts(found.shift_px)
    step = Step("register", f"pc, residual {found.residual_px:.2f} px")
    with settings.outputs() as outputs:
        with series_writer(outputs, output, stack, step=step, mode=mode) as writer:
            write_resampled(settings, writer, stack, transforms, what="shifting", fill=level)
        if write_xf:
            write_transforms(outputs.path(write_xf), transforms)
        if plot:
            from etcli.plotting.alignment import registration

            figure = registration(
                stack.tilt_deg, found.shift_px, quality=found.quality, doubtful=found.doubtful
            )
            save_picture(outputs, plot, figure)
        if as_json:
            settings.console.data(_numbers(found, level, stack.pixel_A))


def _found(
    settings: Settings,
    stack: "Stack",
    reference: int | None,
    max_shift: Length | None,
    region: Region | None,
    level: float | None,
) -> "Shifts":
    """Find the shifts with the tilt axis upright, and turn them back."""
    from dataclasses import replace

    import numpy as np

    from etcli.core.registration.correlation import correlate_views
    from etcli.core.registration.transforms import TransformedViews, Transforms, turned_shape

    if reference is not None and reference > len(stack):
        raise click.UsageError(f"--reference {reference}: there are {len(stack)} views; count from 1")
    _, ny, nx = stack.shape
    if region and (region.columns.stop > nx or region.rows.stop > ny):
        raise click.UsageError(f"--region reaches beyond the views of {nx} x {ny} pixels; count from 1")
    axis_deg = known_axis_deg(settings, stack)
    turn = Transforms.rotation(axis_deg, len(stack))
    shape = turned_shape((ny, nx), axis_deg)
    views: Any = stack.images()
    if axis_deg:
        views = TransformedViews(stack.view, turn, shape, fill=level)
    with naming(stack), settings.console.progress(2 * len(stack), "comparing") as advance:
        found = correlate_views(
            views,
            stack.tilt_deg,
            reference=reference - 1 if reference else None,
            background=level,
            max_shift_px=max_shift.px(stack.pixel_A) if max_shift else None,
            region=_turned(region, turn.matrix[0], (ny, nx), shape) if region else None,
            threads=settings.threads,
            progress=advance,
        )
    back = np.einsum("kij,kj->ki", turn.inverse().matrix, found.shift_px)
    return replace(found, shift_px=back)


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


def _report(settings: Settings, found: "Shifts", pixel_A: float | None) -> None:
    """Tell how well the views fit, and which to look at."""
    import numpy as np

    length = f" ({found.residual_px * pixel_A:.3g} Å)" if pixel_A else ""
    farthest = float(np.abs(found.shift_px).max())
    settings.console.report(
        f"largest shift {farthest:.2f} px; neighbouring views fit to {found.residual_px:.2f} px{length}"
    )
    if found.residual_px > MISFIT_PX:
        settings.console.warn("neighbouring views do not fit each other; look at --plot before going on")
    if found.doubtful.any():
        numbers = ",".join(str(k + 1) for k in np.flatnonzero(found.doubtful))
        settings.console.warn(f"look at view {numbers}: unlike the neighbours, or far from their motion")


def _numbers(found: "Shifts", level: float | None, pixel_A: float | None) -> dict[str, Any]:
    """Return what a script may want to know."""
    return {
        "method": "pc",
        "shift_px": found.shift_px.round(4),
        "quality": found.quality.round(4),
        "doubtful": [k + 1 for k, doubt in enumerate(found.doubtful) if doubt],
        "residual_px": found.residual_px,
        "residual_A": found.residual_px * pixel_A if pixel_A else None,
        "background": level,
    }
