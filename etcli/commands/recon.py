"""``etcli recon``: reconstruct the volume."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.background import background_level, level_words
from etcli.cli.extent import as_thick_as_needed, slab_geometry
from etcli.cli.half_sets import check_half_sets, half_names, half_sets
from etcli.cli.inputs import open_input, open_orientations
from etcli.cli.options import (
    Settings,
    input_argument,
    output_argument,
    pass_settings,
    series_options,
    subcommand,
)
from etcli.cli.pictures import announce_picture, check_picture
from etcli.cli.recipes import Wish, parameters, recipe_options, summary
from etcli.cli.resume import finished_slabs, resume_key
from etcli.cli.selection import orientation, read_weights, used_rows, used_views
from etcli.cli.shells import curve, resolutions
from etcli.cli.tasks import make_task
from etcli.cli.tuning import tuned
from etcli.cli.types import FILE, LENGTH_A, LENGTH_PX, THICKNESS, VIEWS, Length
from etcli.cli.volumes import volume_output

if TYPE_CHECKING:
    from etcli.core.recipes import Recipe


@subcommand(
    "recon",
    example="etcli recon --method sirt --iterations 50 --nonnegative aligned.mrc volume.mrc\n"
    "etcli recon --method fbp --filter hann --thickness 80nm aligned.mrc volume.mrc",
    references=(
        "Gilbert, J. Theor. Biol. 36, 105 (1972): SIRT.",
        "Andersen & Kak, Ultrasonic Imaging 6, 81 (1984): SART.",
        "Kak & Slaney, Principles of Computerized Tomographic Imaging, chapter 3 (1988): FBP.",
        "Joseph, IEEE Trans. Med. Imaging 1, 192 (1982): linear projection kernel.",
        "Batenburg & Sijbers, IEEE Trans. Image Process. 20, 2542 (2011): DART.",
        "Yang et al., Nature 592, 60 (2021): RESIRE.",
        "Beck & Teboulle, IEEE Trans. Image Process. 18, 2419 (2009): FISTA, total variation.",
    ),
    on_gpu=True,
)
@input_argument
@output_argument
@recipe_options
@click.option(
    "--kernel", type=click.Choice(["linear", "strip"]), default="linear", show_default=True, help="Projector."
)
@click.option(
    "--backend",
    type=click.Choice(["slab", "astra"]),
    default="slab",
    show_default=True,
    help="Whose projectors: ours, or those of the ASTRA toolbox, to compare with.",
)
@click.option(
    "--thickness",
    type=THICKNESS,
    help="Extent along z, such as 80nm or 256px; auto: that of the specimen.  [default: as wide as a view]",
)
@click.option("--width", type=LENGTH_A, help="Extent along x.  [default: as wide as a view]")
@click.option(
    "--axis-offset", type=LENGTH_PX, default="0", help="Where the tilt axis lies from the centre, to +x."
)
@click.option(
    "--z-offset", type=LENGTH_PX, default="0", help="Height of the volume's centre above the tilt axis."
)
@click.option(
    "--x-tilt",
    type=float,
    default=0.0,
    metavar="DEGREES",
    help="Turn the volume about x, from y to z, so that a layer lies flat; with resire, sirt and fista.",
)
@click.option(
    "--euler",
    type=FILE,
    metavar="FILE",
    help="Orientations of the views, CSV of phi,theta,psi in degrees (theta is minus the tilt angle), for "
    "resire, sirt and fista.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="With --euler: make room for what the views of a film show beyond the volume.",
)
@click.option(
    "--mask", type=FILE, metavar="FILE", help="Volume that is not zero where sirt or resire may be."
)
@click.option("--initial", type=FILE, metavar="FILE", help="Volume from which sirt or resire go on.")
@click.option("--views", type=VIEWS, help="Views to use, counted from 1: 1,4-7,60.")
@click.option("--exclude", type=VIEWS, help="Views to leave out, counted from 1.")
@click.option(
    "--view-weights",
    type=FILE,
    metavar="FILE",
    help="How much each view of INPUT counts, a positive number a line.",
)
@click.option("--slices", type=VIEWS, help="First and last row of the views to reconstruct, as in 101-200.")
@click.option(
    "--contrast",
    type=click.Choice(["linear", "log"]),
    default="linear",
    show_default=True,
    help="log: bright field, the logarithm of the --background given over the value is reconstructed.",
)
@click.option(
    "--error-curve",
    type=FILE,
    metavar="FILE",
    help="Write the residual after every iteration, and that of views left out, as CSV.",
)
@click.option(
    "--half-sets",
    "with_halves",
    is_flag=True,
    help="Also reconstruct every second view, as STEM_odd and STEM_even, and tell to which resolution they "
    "agree.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Keep finished slabs in OUTPUT.resume until all is done, and go on from those of an earlier run.",
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Work on a Dask cluster that has the same files: its scheduler's address, or scheduler file.",
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
    wish: Wish,
    filter_name: str,
    kernel: str,
    backend: str,
    thickness: Length | str | None,
    width: Length | None,
    axis_offset: Length,
    z_offset: Length,
    x_tilt: float,
    euler: str | None,
    extend: bool,
    mask: str | None,
    initial: str | None,
    views: tuple[int, ...] | None,
    exclude: tuple[int, ...] | None,
    view_weights: str | None,
    slices: tuple[int, ...] | None,
    background: float | str,
    contrast: str,
    error_curve: str | None,
    with_halves: bool,
    resume: bool,
    dask: str | None,
    orient: str,
    tilts: str | None,
    as_json: bool,
    plot: str | None,
    mode: int,
) -> None:
    """Reconstruct the volume of an aligned tilt series.

    The tilt axis must be vertical and central, as tiltalign leaves it. The volume has the density that,
    summed along a ray in voxels, gives the view. It is computed slab by slab under --memory; fista, and views
    of any orientation, take the whole of it at once. A bare length is in Å, a bare offset in pixels.
    """
    from etcli.core.errors import UsageError
    from etcli.core.jit import kernels_cached
    from etcli.io.error_curve import write_error_curve
    from etcli.io.line_integrals import LineIntegrals
    from etcli.io.save import Step

    if plot:
        check_picture(plot)
        from etcli.plotting.reconstruction import Progress
    if contrast == "log" and not (isinstance(background, float) and background > 0):
        raise UsageError(
            "--contrast log needs the level of the empty image; give it with --background, above 0"
        )
    oriented = bool(euler) or x_tilt != 0
    _check_together(
        wish,
        oriented=oriented,
        two_angles=bool(euler and tilts),
        thickness=thickness,
        resume=resume,
        dask=dask,
        with_halves=with_halves,
        mask=mask,
        initial=initial,
    )
    stack = open_input(settings, input, tilts=tilts, without=exclude or ())
    weight = read_weights(settings, view_weights, wish, len(stack)) if view_weights else None
    orientations = None
    if euler:
        stack, orientations = open_orientations(settings, euler, stack)
    if views or exclude:
        used = used_views(views, exclude, len(stack))
        stack = stack.select(used)
        orientations = None if orientations is None else orientations[used]
        weight = None if weight is None else weight[used]
    rows = used_rows(slices, stack.shape[1])
    geometry = replace(
        slab_geometry(settings, stack, thickness, width, axis_offset, z_offset), view_weight=weight
    )
    level = background_level(settings, stack, background)
    integrals = LineIntegrals(stack, *rows, level, contrast == "log", weight)
    if thickness == "auto":
        geometry = as_thick_as_needed(settings, integrals, geometry)
    task = make_task(
        settings,
        wish.recipe,
        integrals,
        geometry,
        kernel=kernel,
        backend=backend,
        dask=dask is not None,
        rotation=orientation(stack.tilt_deg, orientations, x_tilt),
        extend=extend,
        volumes={"mask": mask, "initial": initial},
        scratch=Path(output).parent,
    )
    shape = geometry.thickness, rows[1], geometry.width
    if dask is None:
        task.check_room(settings, wish.recipe, banded=not resume)
    if with_halves:
        check_half_sets(settings, len(stack), prod(shape))
    if not kernels_cached():
        settings.console.report("compiling the projector for this machine, once")
    targets = [output, *(half_names(output) if with_halves else [])]
    outputs = settings.outputs()
    for target in targets:
        outputs.expect(target)  # found out now, not when all is done
    kept: AbstractContextManager[Any] = nullcontext([None] * len(targets))
    if resume:
        files = {"input": input, "mask": mask, "initial": initial}
        recipe = replace(wish.recipe, window=filter_name)  # functions look different in every process
        how = {"wish": replace(wish, recipe=recipe), "kernel": kernel, "rows": rows, "backend": backend}
        what = {"views": views, "exclude": exclude, "level": level, "contrast": contrast}
        kept = finished_slabs(settings, targets, resume_key(files, geometry, how | what))

    def step(recipe: "Recipe", n_views: int) -> Step:
        words = summary(recipe, filter_name), f"{n_views} views", *level_words(level, contrast)
        return Step("recon", ", ".join(words))

    with kept as stores, outputs:
        curve_file = outputs.path(error_curve) if error_curve else None
        write_picture = announce_picture(outputs, plot) if plot else None
        follow = bool(error_curve or plot) and not (mask or initial)
        found = tuned(settings, wish, task, follow=follow)
        picture = Progress(shape) if plot else None
        layout: dict[str, Any] = {"rows": rows, "orient": orient, "x_tilt_deg": x_tilt, "mode": mode}
        done = step(found.recipe, len(stack))
        with volume_output(outputs, output, stack, geometry, step=done, **layout) as write:
            errors = task.run(
                settings,
                found.recipe,
                picture.also(write) if picture else write,
                watch=picture.watch if picture else None,
                store=stores[0],
                dask=dask,
            )
        shells = None
        if with_halves:
            shells = half_sets(
                settings,
                outputs,
                output,
                stack,
                geometry,
                task,
                found.recipe,
                stores=stores[1:],
                dask=dask,
                upright=not oriented,
                step=step,
                **layout,
            )
        if curve_file:
            write_error_curve(curve_file, errors, found.iterations)
        if write_picture and picture:
            curves = found.iterations, found.weights, shells
            write_picture(picture.draw(errors, *curves, pixel_A=stack.pixel_A))
        if as_json:
            settings.console.data(
                {
                    "method": found.recipe.method,
                    "iterations": found.recipe.iterations or None,
                    **parameters(found.recipe),
                    "size": [geometry.width, rows[1], geometry.thickness],
                    "pixel_A": stack.pixel_A,
                    "n_views": len(stack),
                    "background": level,
                    "residuals": errors.residual,
                    **(resolutions(shells, stack.pixel_A or 1.0) | curve(shells) if shells else {}),
                }
            )


def _check_together(
    wish: Wish,
    *,
    oriented: bool,
    two_angles: bool,
    thickness: Length | str | None,
    resume: bool,
    dask: str | None,
    with_halves: bool,
    mask: str | None,
    initial: str | None,
) -> None:
    """Refuse options that make no sense together."""
    whole = wish.recipe.whole or oriented
    for wrong, why in (
        (resume and whole, "--resume is for work slab by slab, not on the whole volume; leave it out"),
        (dask and whole, "--dask is for work slab by slab, not on the whole volume; leave it out"),
        (two_angles, "--tilts and --euler cannot go together; the orientations hold the tilt angles"),
        (
            thickness == "auto" and oriented,
            "--thickness auto needs views tilted about one axis; give it as a length",
        ),
        (
            with_halves and initial,
            "--half-sets of one --initial volume would not be independent; leave one of them out",
        ),
        (
            wish.auto_iterations and (mask or initial),
            "--iterations auto looks at some rows without --mask and --initial; give it as a number",
        ),
    ):
        if wrong:
            raise click.UsageError(why)
