"""``etcli recon``: reconstruct the volume."""

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.background import background_level
from etcli.cli.inputs import open_input
from etcli.cli.options import (
    Settings,
    check_options,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.pictures import announce_picture, check_picture
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX, VIEWS, WEIGHT, Length, checked_list

if TYPE_CHECKING:
    from pathlib import Path

    from etcli.core.geometry import SlabGeometry
    from etcli.core.slabs import Method, Plan
    from etcli.core.solvers.filtered_backprojection import Window
    from etcli.io.stack import Stack
    from etcli.plotting.slices import MiddleSlices

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
UPRIGHT_DEG = 2.0
FEWEST_PX = 4  # whoever asks for less in Å has meant another unit
# the methods that look at an option
BELONGS_TO = {
    "iterations": ("sirt", "sart", "cgls", "fista"),
    "relaxation": ("sirt", "sart"),
    "prior": ("fista",),
    "weight": ("fista",),
    "nonnegative": ("sirt", "sart", "fista"),
    "error_curve": ("sirt", "sart", "cgls", "fista"),
    "kernel": ("sirt", "sart", "cgls", "fista", "bp"),
    "window": ("fbp",),
}


@subcommand(
    "recon",
    example="etcli recon --method sirt --iterations 50 --nonnegative aligned.mrc volume.mrc\n"
    "etcli recon --method fbp --filter hann --thickness 80nm aligned.mrc volume.mrc",
    references=(
        "Gilbert, J. Theor. Biol. 36, 105 (1972): SIRT.",
        "Kak & Slaney, Principles of Computerized Tomographic Imaging, chapter 3 (1988): FBP.",
        "Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",
        "Beck & Teboulle, IEEE Trans. Image Process. 18, 2419 (2009): FISTA, total variation.",
    ),
)
@input_argument
@output_argument
@click.option(
    "--method",
    type=click.Choice(["sirt", "sart", "cgls", "fista", "fbp", "bp"]),
    default="sirt",
    show_default=True,
    help="sirt, sart: iterative, all views at once or one by one. cgls: conjugate gradients. fista: under a "
    "prior on the volume. fbp, bp: filtered and plain back-projection.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    help="Sweeps over all views.  [default: sirt 30, sart and cgls 10, fista 100]",
)
@click.option(
    "--relaxation",
    type=click.FloatRange(0, 2, min_open=True, max_open=True),
    default=1.0,
    help="Step of sirt and sart.",
)
@click.option(
    "--prior",
    type=click.Choice(["tv", "l1"]),
    default="tv",
    show_default=True,
    help="fista: of the volume. tv: total variation in 3-D, for specimens of even density. l1: most voxels "
    "are empty.",
)
@click.option(
    "--weight",
    type=WEIGHT,
    default="auto",
    show_default=True,
    help="fista: of the prior. auto: the one that predicts best some views left out.",
)
@click.option(
    "--nonnegative", is_flag=True, help="Let sirt, sart or fista keep densities from going below zero."
)
@click.option(
    "--filter",
    "window",
    metavar="NAME",
    callback=lambda ctx, param, value: _checked_filter(value),
    default=FILTERS[0],
    show_default=True,
    help=f"Filter of fbp: {', '.join(FILTERS)}, or IMOD's sirt-like:N (resembles N iterations) or "
    "hamming-like:F (falls off from F cycles per pixel).",
)
@click.option(
    "--kernel", type=click.Choice(["linear", "strip"]), default="linear", show_default=True, help="Projector."
)
@click.option(
    "--thickness", type=LENGTH_A, help="Extent along z, such as 80nm or 256px.  [default: as wide as a view]"
)
@click.option("--width", type=LENGTH_A, help="Extent along x.  [default: as wide as a view]")
@click.option(
    "--axis-offset", type=LENGTH_PX, default="0", help="Where the tilt axis lies from the centre, to +x."
)
@click.option("--views", type=VIEWS, help="Views to use, counted from 1: 1,4-7,60.")
@click.option("--slices", type=VIEWS, help="First and last row of the views to reconstruct, as in 101-200.")
@click.option(
    "--contrast",
    type=click.Choice(["linear", "log"]),
    default="linear",
    show_default=True,
    help="log: bright field, the logarithm of the --background given over the value is reconstructed.",
)
@click.option(
    "--error-curve", type=FILE, metavar="FILE", help="Write the residual of every iteration of sirt as CSV."
)
@click.option(
    "--orient",
    type=click.Choice(["zyx", "imod"]),
    default="zyx",
    show_default=True,
    help="Sections along z, or along y with z downwards as IMOD's tilt writes them.",
)
@series_options
@pass_settings
def command(
    settings: Settings,
    input: str,
    output: str,
    method: str,
    iterations: int | None,
    relaxation: float,
    prior: str,
    weight: float | str,
    nonnegative: bool,
    window: str,
    kernel: str,
    thickness: Length | None,
    width: Length | None,
    axis_offset: Length,
    views: tuple[int, ...] | None,
    slices: tuple[int, ...] | None,
    background: float | str,
    contrast: str,
    error_curve: str | None,
    orient: str,
    tilts: str | None,
    as_json: bool,
    plot: str | None,
    mode: int,
) -> None:
    """Reconstruct the volume of an aligned tilt series.

    The tilt axis must be vertical and central, as tiltalign leaves it. The volume has the density that,
    summed along a ray in voxels, gives the view. It is computed slab by slab under --memory; fista holds
    the whole of it.
    """
    import numpy as np

    from etcli.core.errors import UsageError
    from etcli.core.projectors.slab import WIDTHS, SlabProjector
    from etcli.core.slabs import plan_reconstruction, reconstruct
    from etcli.core.solvers.backprojection import inverse_sums
    from etcli.core.solvers.regularised import check_memory
    from etcli.core.solvers.sart import view_sums
    from etcli.io.save import Step, volume_writer

    check_picture(plot)
    check_options(method, BELONGS_TO)
    if contrast == "log" and not (isinstance(background, float) and background > 0):
        raise UsageError("--contrast log needs the level of the empty image; give it with --background")
    stack = open_input(settings, input, tilts=tilts)
    if views:
        stack = stack.select(checked_list(views, len(stack), "view"))
    ny = stack.shape[1]
    rows = np.array(checked_list(slices, ny, "slice") if slices else range(ny))
    if (np.diff(rows) != 1).any():
        raise UsageError("--slices must follow one another; name the first and the last, as in 101-200")
    geometry = _geometry(settings, stack, thickness, width, axis_offset)
    level = background_level(settings, stack, background)
    iterations = iterations or {"sart": 10, "cgls": 10, "fista": 100}.get(method, 30)
    make_projector = partial(SlabProjector, kernel=kernel)
    if method == "fista":
        check_memory(geometry, len(rows), settings.memory, prior)
    else:
        solver = _method(method, iterations, relaxation, nonnegative, window)
        plan = plan_reconstruction(
            len(rows), geometry, solver, threads=settings.threads, memory=settings.memory
        )
        _announce(settings, plan)
    if method == "sart":
        per_view = view_sums(make_projector(geometry, n_slices=WIDTHS[0]))
        solver = replace(solver, solve=partial(solver.solve, sums=per_view))
    if method in ("sirt", "bp"):  # one geometry serves all slabs
        sums = inverse_sums(make_projector(geometry, n_slices=WIDTHS[0]), one_slice=True)
        solver = replace(solver, solve=partial(solver.solve, sums=sums))

    def read_rows(y0: int, y1: int) -> Any:
        values = stack.rows(rows[y0:y1])
        return values if contrast == "linear" else _attenuation(values, level)

    shape = (geometry.thickness, len(rows), geometry.width)
    subtracted = level if level and contrast == "linear" else 0.0
    middle = None
    if plot:
        from etcli.plotting.slices import MiddleSlices

        middle = MiddleSlices(shape)
    volume = None
    if method == "fista":
        volume, weight, residuals = _regularised(
            settings,
            read_rows(0, len(rows)) - np.float32(subtracted),
            geometry,
            make_projector,
            prior,
            weight,
            iterations,
            nonnegative,
        )
        window = f"{prior} {weight:.3g}"
    step = Step("recon", _summary(method, iterations, nonnegative, window, contrast, len(stack), level))
    with settings.outputs() as outputs:
        with (
            volume_writer(
                outputs,
                output,
                step=step,
                pixel_A=stack.pixel_A,
                labels=stack.labels,
                mode=mode,
                **_layout(orient, shape, _corner_A(stack, geometry, int(rows[0]))),
            ) as writer,
            settings.console.progress(
                len(rows), "reconstructing" if volume is None else "writing"
            ) as advance,
        ):
            # a name that cannot be written is found out now, not when all is done
            curve = outputs.path(error_curve) if error_curve else None
            write_picture = announce_picture(outputs, plot) if plot else None

            write = partial(_write_rows, writer, orient, middle)
            if volume is not None:
                for y0 in range(0, len(rows), WIDTHS[-1]):
                    block = volume[..., y0 : y0 + WIDTHS[-1]].swapaxes(1, 2)
                    write(y0, block)
                    advance(block.shape[1])
            else:
                residuals = reconstruct(
                    read_rows,
                    write,
                    geometry,
                    solver,
                    plan=plan,
                    background=subtracted,
                    make_projector=make_projector,
                    progress=advance,
                )
        if curve:
            _write_curve(curve, residuals)
        if write_picture and middle:
            write_picture(middle.draw(pixel_A=stack.pixel_A))
        if as_json:
            settings.console.data(
                {
                    "method": method,
                    "size": [shape[2], shape[1], shape[0]],
                    "pixel_A": stack.pixel_A,
                    "n_views": len(stack),
                    "background": level,
                    "residuals": residuals,
                    **({"prior": prior, "weight": weight} if volume is not None else {}),
                }
            )


def _regularised(
    settings: Settings,
    views: Any,
    geometry: "SlabGeometry",
    make_projector: Any,
    prior: str,
    weight: float | str,
    iterations: int,
    nonnegative: bool,
) -> tuple[Any, float, Any]:
    """Reconstruct the whole volume under a prior; return the weight and the residuals of all sweeps, too."""
    import numpy as np

    from etcli.core.solvers.left_out import MOST_WEIGHTS, best_weight, brightest_rows
    from etcli.core.solvers.priors import make_prior
    from etcli.core.solvers.regularised import as_series, regularised

    how: dict[str, Any] = {"make_projector": make_projector, "threads": settings.threads}
    prior_of = partial(make_prior, prior, lower=0.0 if nonnegative else -np.inf, threads=settings.threads)
    if not isinstance(weight, float):
        with settings.console.progress(MOST_WEIGHTS, "looking for the weight") as advance:
            some = views[:, brightest_rows(views)]
            weight = best_weight(some, geometry, prior_of, progress=advance, **how).best
        settings.console.report(f"weight {weight:.3g} predicts views left out best")
    residuals: list[float] = []
    with settings.console.progress(iterations, "reconstructing") as advance:

        def note(_: int, residual: float) -> None:
            residuals.append(residual)
            advance(1)

        series = as_series(views, geometry, **how)
        volume = regularised(
            series, prior_of(series.shape), weight=weight, iterations=iterations, callback=note
        )
    return volume, weight, np.array(residuals)


def _geometry(
    settings: Settings, stack: "Stack", thickness: Length | None, width: Length | None, axis_offset: Length
) -> "SlabGeometry":
    """Return the geometry of the slices, and warn where the series is not ready for it."""
    from etcli.core.geometry import SlabGeometry

    if abs(stack.tilt_axis_deg or 0.0) > UPRIGHT_DEG:
        settings.console.warn(
            f"{stack.name}: the tilt axis is at {stack.tilt_axis_deg:g}° by its description, not vertical; "
            "use tiltalign first"
        )
    nx = stack.shape[2]
    return SlabGeometry(
        stack.tilt_deg,
        n_detector=nx,
        thickness=_pixels(thickness, stack.pixel_A, nx, "--thickness"),
        width=_pixels(width, stack.pixel_A, nx, "--width"),
        axis_offset_px=axis_offset.px(stack.pixel_A),
    )


def _announce(settings: Settings, plan: "Plan") -> None:
    """Tell how the work is shared out, and of the compiler where it will take its time."""
    from etcli.core.jit import kernels_cached

    settings.console.note(
        f"{len(plan.slabs)} slabs of {plan.slabs[0][1]} slices on {plan.threads} threads, "
        f"{plan.working_bytes >> 20} MiB"
    )
    if not kernels_cached():
        settings.console.report("compiling the projector for this machine, once")


def _write_rows(writer: Any, orient: str, middle: "MiddleSlices | None", y0: int, block: Any) -> None:
    """Write slices (z, rows, x) from row ``y0`` on in the order of axes asked for."""
    if middle:
        middle.add(y0, block)
    if orient == "zyx":
        writer.write_rows(y0, block)
        return
    for y, section in enumerate(block.swapaxes(0, 1), y0):
        writer.write_section(y, section[::-1])


def _checked_filter(name: str) -> str:
    """Refuse a filter that fbp does not know."""
    if name in FILTERS or re.fullmatch(r"sirt-like:\d{1,6}|hamming-like:0?\.\d+", name):
        return name
    raise click.UsageError(
        f"--filter '{name}' is not one of {', '.join(FILTERS)}, sirt-like:30 or hamming-like:0.3"
    )


def _window(name: str) -> "str | Window":
    """Return a filter of fbp; those with a number behind a colon are made for it."""
    from etcli.core.solvers.filtered_backprojection import hamming_like, sirt_like

    kind, _, number = name.partition(":")
    if kind == "sirt-like":
        return sirt_like(int(number))
    return hamming_like(float(number)) if kind == "hamming-like" else name


def _pixels(length: Length | None, pixel_A: float | None, default: int, name: str) -> int:
    """Return an extent in whole pixels."""
    if length is None:
        return default
    n = round(length.px(pixel_A))
    if n < 1:
        raise click.UsageError(f"{name} {length.value:g}{length.unit} is less than a pixel; give more")
    if length.unit == "A" and n < FEWEST_PX:
        raise click.UsageError(
            f"{name} {length.value:g} Å is only {n} px; a bare number is Å, so write 80px or 80nm"
        )
    return n


def _method(name: str, iterations: int, relaxation: float, nonnegative: bool, window: str) -> "Method":
    """Return the solver with its options."""
    import numpy as np

    from etcli.core.slabs import Method
    from etcli.core.solvers.backprojection import backprojection
    from etcli.core.solvers.cgls import cgls
    from etcli.core.solvers.filtered_backprojection import filtered_backprojection
    from etcli.core.solvers.sart import sart
    from etcli.core.solvers.sirt import sirt

    if name == "fbp":
        return Method(partial(filtered_backprojection, window=_window(window)), sinograms=3)
    if name == "bp":
        return Method(backprojection)
    if name == "cgls":
        return Method(partial(cgls, iterations=iterations), iterative=True, sinograms=3, volumes=3)
    lower = 0.0 if nonnegative else -np.inf
    how: dict[str, Any] = {"iterations": iterations, "relaxation": relaxation, "lower": lower}
    if name == "sart":
        return Method(partial(sart, **how), iterative=True)
    return Method(partial(sirt, **how), iterative=True)


def _attenuation(values: Any, level: float | None) -> Any:
    """Return the logarithm of the empty level over the values, finite also where nothing came through."""
    import numpy as np

    empty = np.float32(level)
    return np.log(empty / np.maximum(values, np.float32(1e-6) * empty))


def _corner_A(stack: "Stack", geometry: "SlabGeometry", first_row: int) -> tuple[float, float, float]:
    """Return the place (x, y, z) of the first voxel in the volume as wide and thick as a view.

    The volume has the tilt axis in its middle, wherever that lies in the views.
    """
    nx, pixel_A = geometry.n_detector, stack.pixel_A or 0.0
    x, z = ((nx - n) / 2 for n in (geometry.width, geometry.thickness))
    x += geometry.axis_offset_px
    return stack.origin_A[0] + pixel_A * x, stack.origin_A[1] + pixel_A * first_row, pixel_A * z


def _layout(orient: str, shape: tuple[int, int, int], corner_A: tuple[float, float, float]) -> dict[str, Any]:
    """Return shape and origin of the file: sections along z, or along y as IMOD's tilt writes them."""
    (nz, ny, nx), (x, y, z) = shape, corner_A
    if orient == "zyx":
        return {"shape": shape, "origin_A": corner_A}
    return {"shape": (ny, nz, nx), "origin_A": (x, z, y)}


def _summary(
    method: str,
    iterations: int,
    nonnegative: bool,
    window: str,
    contrast: str,
    n_views: int,
    level: float | None,
) -> str:
    """Say in a few words what was done."""
    words = [
        {
            "sirt": f"SIRT {iterations}",
            "sart": f"SART {iterations}",
            "cgls": f"CGLS {iterations}",
            "fista": f"FISTA {iterations} {window}",
            "fbp": f"FBP {window}",
            "bp": "BP",
        }[method]
    ]
    words += ["nonnegative"] if nonnegative else []
    words += [f"{n_views} views"]
    words += [f"{'background' if contrast == 'linear' else 'logarithm from'} {level:.6g}"] if level else []
    return ", ".join(words)


def _write_curve(path: "Path", residuals: Any) -> None:
    """Write the residual after 0, 1, 2... iterations."""
    rows = [f"{k},{residual:.9g}" for k, residual in enumerate(residuals)]
    path.write_text("\n".join(["iteration,residual", *rows]) + "\n", encoding="ascii")
