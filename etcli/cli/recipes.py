"""The options that choose a method of reconstruction and its parameters."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from etcli.cli.options import Decorated, check_options
from etcli.cli.types import ITERATIONS, WEIGHT

if TYPE_CHECKING:
    from etcli.core.recipes import Recipe
    from etcli.core.solvers.filtered_backprojection import Window

AUTO = "auto"
METHODS = ("sirt", "sart", "cgls", "fista", "resire", "dart", "fbp", "bp")
FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
LEAST_SQUARES = ("cgls", "fista", "resire", "dart")
ITERATIVE = ("sirt", "sart", "cgls", "fista", "resire", "dart")
# the methods that look at an option
BELONGS_TO = {
    "iterations": ITERATIVE,
    "relaxation": ("sirt", "sart", "resire"),
    "subset_size": ("sart",),
    "prior": ("fista",),
    "weight": ("fista",),
    "nonnegative": ("sirt", "sart", "fista"),
    "upper": ("sirt", "sart", "fista", "resire"),
    "mask": ("sirt", "resire"),
    "initial": ("sirt", "resire"),
    "window": ("fbp",),
    "levels": ("dart",),
    "thresholds": ("dart",),
    "error_curve": ITERATIVE,
    "kernel": (*ITERATIVE, "bp"),
    "backend": (*ITERATIVE, "bp"),
}


@dataclass(frozen=True)
class Wish:
    """A recipe, and what of it is to be found.

    Parameters
    ----------
    recipe : Recipe
        Where nothing is said, with the usual values.
    auto_iterations, auto_weight : bool
        Whether views that are left out shall decide.
    n_levels : int
        How many densities are to be found, or 0.
    """

    recipe: "Recipe"
    auto_iterations: bool
    auto_weight: bool
    n_levels: int


def _checked_filter(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """Refuse a filter that fbp does not know."""
    if name in FILTERS or re.fullmatch(r"sirt-like:\d{1,6}|hamming-like:0?\.\d+", name):
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


_OPTIONS = (
    click.option(
        "--method",
        type=click.Choice(METHODS),
        default=METHODS[0],
        show_default=True,
        help="sirt, sart: iterative, all views at once or one by one. cgls: conjugate gradients. fista: "
        "under a prior on the volume. resire: gradient descent, densities above zero. dart: of "
        "a few known densities. fbp, bp: filtered and plain back-projection.",
    ),
    click.option(
        "--iterations",
        type=ITERATIONS,
        help="Sweeps over all views; auto: as many as predict best some views left out.  "
        "[default: sirt 30, sart and cgls 10, fista and dart 40, resire 100]",
    ),
    click.option(
        "--relaxation",
        type=click.FloatRange(0, 2, min_open=True, max_open=True),
        default=1.0,
        help="Step of sirt, sart and resire; 0.3 suits sart of noisy views.",
    ),
    click.option(
        "--subset-size",
        type=click.IntRange(1),
        default=1,
        help="Views that sart corrects by at a time (ordered subsets).",
    ),
    click.option(
        "--prior",
        type=click.Choice(["tv", "l1", "none"]),
        default="tv",
        show_default=True,
        help="fista: of the volume. tv: total variation in 3-D, for specimens of even density. l1: most "
        "voxels are empty. none: nothing but --nonnegative.",
    ),
    click.option(
        "--weight",
        type=WEIGHT,
        default=AUTO,
        show_default=True,
        help="fista: of the prior. auto: the one that predicts best some views left out.",
    ),
    click.option(
        "--nonnegative", is_flag=True, help="Let sirt, sart or fista keep densities from going below zero."
    ),
    click.option(
        "--levels",
        metavar="N|LIST",
        callback=_numbers,
        help="dart: densities of the specimen, that of the vacuum included, as in 0,0.8,2.1; or how many "
        "there are, which are then found.",
    ),
    click.option(
        "--thresholds",
        metavar="LIST",
        callback=_numbers,
        help="dart: what separates the --levels.  [default: halfway]",
    ),
    click.option(
        "--upper",
        type=float,
        metavar="DENSITY",
        help="Let sirt, sart, fista or resire not exceed this density.",
    ),
    click.option(
        "--filter",
        "window",
        metavar="NAME",
        callback=_checked_filter,
        default=FILTERS[0],
        show_default=True,
        help=f"Filter of fbp: {', '.join(FILTERS)}, or IMOD's sirt-like:N (resembles N iterations) or "
        "hamming-like:F (falls off from F cycles per pixel).",
    ),
)


def recipe_options(function: Decorated) -> Decorated:
    """Add the options of a reconstruction, which the function is given as a `Wish`."""

    @wraps(function)
    def command(
        *args: Any,
        method: str,
        iterations: int | str | None,
        weight: float | str,
        nonnegative: bool,
        upper: float | None,
        window: str,
        relaxation: float,
        subset_size: int,
        prior: str,
        levels: tuple[float, ...] | None,
        thresholds: tuple[float, ...] | None,
        **others: Any,
    ) -> Any:
        from etcli.core.recipes import Recipe

        check_options(method, BELONGS_TO)
        if method == "dart" and levels is None:
            raise click.UsageError("dart needs to know the densities; give them, or how many, with --levels")
        if method == "dart" and iterations == AUTO:
            raise click.UsageError("--iterations auto is not for dart, whose steps depend on their number")
        n_levels = int(levels[0]) if levels is not None and len(levels) == 1 else 0
        if levels is not None and n_levels and n_levels != levels[0]:
            raise click.UsageError(f"--levels {levels[0]:g} is neither a number of levels nor a list of them")
        recipe = Recipe(
            method,
            iterations=iterations if isinstance(iterations, int) else 0,
            relaxation=relaxation,
            subset_size=subset_size,
            prior=prior,
            weight=weight if isinstance(weight, float) else 0.0,
            window=_window(window),
            levels=() if levels is None or n_levels else levels,
            thresholds=thresholds,
            lower=0.0 if nonnegative else -math.inf,
            upper=math.inf if upper is None else upper,
        )
        wish = Wish(
            recipe, iterations == AUTO, method == "fista" and prior != "none" and weight == AUTO, n_levels
        )
        return function(*args, wish=wish, filter_name=window, **others)

    decorated: Callable[..., Any] = command
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[return-value]


def summary(recipe: "Recipe", filter_name: str) -> str:
    """Say in a few words what is done, for the history of the volume."""
    words = [recipe.method.upper()]
    words += [str(recipe.iterations)] if recipe.method in ITERATIVE else []
    words += [filter_name] if recipe.method == "fbp" else []
    words += [f"subsets of {recipe.subset_size}"] if recipe.subset_size > 1 else []
    if recipe.method == "fista":
        words += [recipe.prior] if recipe.prior == "none" else [f"{recipe.prior} {recipe.weight:.3g}"]
    if recipe.method == "dart":
        words += ["of", *(f"{level:.4g}" for level in recipe.levels)]
    bounded = recipe.lower == 0 and recipe.method != "resire"
    text = " ".join(words) + (", nonnegative" if bounded else "")
    return text if math.isinf(recipe.upper) else f"{text}, up to {recipe.upper:g}"


def parameters(recipe: "Recipe") -> dict[str, Any]:
    """Return what the volume was expected to be like, for scripts."""
    if recipe.method == "fista":
        return {"prior": recipe.prior, "weight": recipe.weight}
    return {"levels": recipe.levels} if recipe.method == "dart" else {}


def _window(name: str) -> "str | Window":
    """Return a filter of fbp; those with a number behind a colon are made for it."""
    from etcli.core.solvers.filtered_backprojection import hamming_like, sirt_like

    kind, _, number = name.partition(":")
    if kind == "sirt-like":
        return sirt_like(int(number))
    return hamming_like(float(number)) if kind == "hamming-like" else name
