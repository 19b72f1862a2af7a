"""Options of ``etcli recon``: method of reconstruction and its parameters, from the registry of methods."""

import math
from functools import wraps
from itertools import groupby
from typing import Any

import click

from etcli.cli.options import Decorated, add_options, check_options, is_given, option_name
from etcli.cli.phase_contrast_options import MULTISLICE_OPTIONS, OPTICS_OPTIONS
from etcli.cli.types import ITERATIONS, LENGTH_A, LENGTH_PX, THICKNESS, VIEWS, WEIGHT
from etcli.core.arguments import listed
from etcli.core.solvers.methods import (
    COUNTING,
    FILTERS,
    GAUSSIAN,
    LIKELIHOODS,
    METHODS,
    OWNERS,
    POISSON,
    PRIORS,
    is_filter,
    methods_for_any_orientation,
)
from etcli.core.solvers.methods import methods_with as owners

AUTO = "auto"
DEFAULT_METHOD = next(iter(METHODS))


def _default_iterations() -> str:
    """Return the default numbers of iterations of the methods, for the help."""
    iterative = sorted((m for m in METHODS.values() if m.is_iterative), key=lambda m: m.iterations)
    groups = groupby(iterative, key=lambda m: m.iterations)
    return ", ".join(f"{listed(tuple(m.name for m in group))} {n}" for n, group in groups)


def _users(option: str, *, phase_contrast: bool) -> str:
    """Return the methods that use an option, those of phase contrast or the others, for the help."""
    return listed([name for name in owners(option) if METHODS[name].phase_contrast is phase_contrast])


def _check_filter(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """Check the name of a filter of fbp; raise UsageError for an unknown one."""
    if is_filter(name):
        return name
    raise click.UsageError(
        f"--filter '{name}' is not one of {', '.join(FILTERS)}, sirt-like:30 or hamming-like:0.3"
    )


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """Parse numbers separated by commas."""
    if value is None:
        return None
    try:
        numbers = tuple(float(word) for word in value.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise click.UsageError(f"{param.opts[0]} '{value}' is not numbers separated by commas")
    return numbers


METHOD_OPTIONS = (
    click.option(
        "--method",
        type=click.Choice(tuple(METHODS)),
        default=DEFAULT_METHOD,
        show_default=True,
        help=". ".join(f"{method.name}: {method.help}" for method in METHODS.values()) + ".",
    ),
    click.option(
        "--iterations",
        type=ITERATIONS,
        help="Passes over all views; auto: the number that predicts left-out views best.  "
        f"[default: {_default_iterations()}]",
    ),
    click.option(
        "--relaxation",
        type=click.FloatRange(0, 2, min_open=True, max_open=True),
        default=1.0,
        help=f"Step size of {listed(owners('relaxation'))}; 0.3 suits sart of noisy views.",
    ),
    click.option(
        "--subset-size",
        type=click.IntRange(1),
        help=f"Number of views that {_users('subset_size', phase_contrast=False)} uses per correction "
        f"(ordered subsets), and of tilts that {_users('subset_size', phase_contrast=True)} uses.  [default: "
        f"{', '.join(f'{name} {METHODS[name].subset_size}' for name in owners('subset_size'))}]",
    ),
    click.option(
        "--prior",
        type=click.Choice(PRIORS),
        default=PRIORS[0],
        show_default=True,
        help=f"Prior of {listed(owners('prior'))}. tv: total variation in 3-D, for specimens of even "
        "density. l1: most voxels are empty. none: nothing but --nonnegative, which multislice always keeps.",
    ),
    click.option(
        "--weight",
        type=WEIGHT,
        default=AUTO,
        show_default=True,
        help=f"Weight of the prior of {listed(owners('weight'))}. auto: the one that predicts left-out views "
        f"best; for {_users('weight', phase_contrast=True)} the one that follows from the noise.",
    ),
    click.option(
        "--likelihood",
        type=click.Choice(LIKELIHOODS),
        default=GAUSSIAN,
        show_default=True,
        help=f"Noise of the views, for {listed(owners('likelihood'))}. poisson: they are counts as recorded, "
        "such as X-ray maps; --weight auto predicts held-out counts, --background is expected and not "
        "subtracted, densities stay above zero. With --prior tv alone, on the CPU; implies --method fista.",
    ),
    click.option(
        "--nonnegative",
        is_flag=True,
        help=f"Let {listed(owners('nonnegative'), 'or')} keep densities from going below zero.",
    ),
    click.option(
        "--levels",
        metavar="N|LIST",
        callback=_numbers,
        help=f"{listed(owners('levels'))}: densities of the specimen, that of the vacuum included, as in "
        "0,0.8,2.1; or how many there are, which are then found.",
    ),
    click.option(
        "--thresholds",
        metavar="LIST",
        callback=_numbers,
        help=f"{listed(owners('thresholds'))}: densities that separate the --levels.  [default: halfway]",
    ),
    click.option(
        "--upper",
        type=float,
        metavar="DENSITY",
        help=f"Let {listed(owners('upper'), 'or')} not exceed this density.",
    ),
    click.option(
        "--filter",
        "window",
        metavar="NAME",
        callback=_check_filter,
        default=FILTERS[0],
        show_default=True,
        help=f"Filter of {listed(owners('window'))}: {', '.join(FILTERS)}, or IMOD's sirt-like:N (resembles "
        "N iterations) or hamming-like:F (falls off from F cycles per pixel).",
    ),
)
VOLUME_OPTIONS = (
    click.option(
        "--kernel",
        type=click.Choice(["linear", "strip"]),
        default="linear",
        show_default=True,
        help="Projector.",
    ),
    click.option(
        "--backend",
        type=click.Choice(["slab", "astra"]),
        default="slab",
        show_default=True,
        help="Projectors of etcli (slab), or those of the ASTRA toolbox, for comparison.",
    ),
    click.option(
        "--thickness",
        type=THICKNESS,
        help="Extent along z, such as 80nm or 256px; auto: that of the specimen.  [default: as wide as a "
        "view]",
    ),
    click.option("--width", type=LENGTH_A, help="Extent along x.  [default: as wide as a view]"),
    click.option(
        "--axis-offset",
        type=LENGTH_PX,
        help="Distance of the tilt axis from the centre, to +x.  [default: as the header of cropped views "
        "says, else 0]",
    ),
    click.option(
        "--z-offset", type=LENGTH_PX, default="0", help="Height of the volume's centre above the tilt axis."
    ),
    click.option(
        "--x-tilt",
        "x_tilt_deg",
        type=float,
        default=0.0,
        metavar="DEGREES",
        help="Rotate the volume about x, from y to z, so that a layer lies flat; with "
        f"{listed(methods_for_any_orientation())}.",
    ),
    click.option(
        "--extend",
        is_flag=True,
        help="With --euler: extend the volume by the parts of a film outside it that the views show.",
    ),
    click.option(
        "--slices", type=VIEWS, help="First and last row of the views to reconstruct, as in 101-200."
    ),
    click.option(
        "--contrast",
        type=click.Choice(["linear", "log"]),
        default="linear",
        show_default=True,
        help="log: for bright field, reconstruct the logarithm of --background divided by the value.",
    ),
    click.option(
        "--half-sets",
        is_flag=True,
        help="Also reconstruct every second view, as STEM_odd and STEM_even, and report the resolution to "
        "which they agree.",
    ),
    click.option(
        "--orient",
        type=click.Choice(["zyx", "imod"]),
        default="zyx",
        show_default=True,
        help="Sections along z, or along y with z downwards as IMOD's tilt writes them.",
    ),
)


def reconstruction_options(function: Decorated) -> Decorated:
    """Add the options of a reconstruction; they are passed to the function as a `ReconstructionRequest`."""
    options = (*METHOD_OPTIONS, *VOLUME_OPTIONS, *OPTICS_OPTIONS, *MULTISLICE_OPTIONS)

    @wraps(function)
    def command(*args: Any, **given: Any) -> Any:
        from etcli.pipeline.reconstruction_request import request_of

        if given["likelihood"] == POISSON and not is_given("method"):
            given["method"] = COUNTING.name
        check_options(given["method"], OWNERS)
        own = {name: given.pop(name) for name in map(option_name, options)}
        own["background"] = given.pop("background")
        return function(*args, request=request_of(**own), **given)

    return add_options(command, options)  # type: ignore[return-value]
