"""Carrying out a reconstruction: what sets itself, then slab by slab or the whole volume at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcli.cli.options import Settings
from etcli.cli.recipes import ITERATIVE, Wish

if TYPE_CHECKING:
    from etcli.core.geometry import SlabGeometry
    from etcli.core.plans import MakeProjector
    from etcli.core.recipes import Recipe
    from etcli.core.slabs import ErrorCurve, Watch, Write
    from etcli.core.solvers.left_out import LeftOut
    from etcli.io.line_integrals import LineIntegrals


@dataclass(frozen=True, eq=False)
class Tuned:
    """A recipe without anything left to be found.

    Parameters
    ----------
    recipe : Recipe
        What is done.
    weights, iterations : LeftOut or None
        How well views left out are predicted with weights that were tried, and after iterations.
    """

    recipe: "Recipe"
    weights: "LeftOut | None" = None
    iterations: "LeftOut | None" = None


def tuned(
    settings: Settings,
    wish: Wish,
    integrals: "LineIntegrals",
    geometry: "SlabGeometry",
    make_projector: "MakeProjector",
    *,
    follow: bool,
) -> Tuned:
    """Find what sets itself, from the brightest rows; ``follow`` the iterations where that can be."""
    from etcli.core.recipes import tune_iterations, tune_weight
    from etcli.core.solvers.left_out import (
        FEWEST_VIEWS,
        MOST_ITERATIONS,
        MOST_WEIGHTS,
        brightest_rows,
        leave_out,
    )

    recipe = wish.recipe
    follow = follow and recipe.method in ITERATIVE and geometry.n_views >= FEWEST_VIEWS
    if not (follow or wish.auto_weight or wish.auto_iterations):
        return Tuned(recipe)
    rows = brightest_rows(integrals.sample)
    some = integrals(rows.start, rows.stop)
    split = leave_out(some, geometry, make_projector=make_projector, threads=settings.threads)
    weights = iterations = None
    if wish.auto_weight:
        with settings.console.progress(MOST_WEIGHTS, "looking for the weight") as advance:
            recipe, weights = tune_weight(recipe, split, progress=advance)
        settings.console.report(f"weight {recipe.weight:.3g} predicts views left out best")
    if follow or wish.auto_iterations:
        most = MOST_ITERATIONS if wish.auto_iterations else recipe.iterations
        with settings.console.progress(most, "leaving views out") as advance:
            found, iterations = tune_iterations(recipe, split, most=most, progress=advance)
        if wish.auto_iterations:
            recipe = found
            settings.console.report(f"{recipe.iterations} iterations predict views left out best")
    return Tuned(recipe, weights, iterations)


def run(
    settings: Settings,
    recipe: "Recipe",
    integrals: "LineIntegrals",
    geometry: "SlabGeometry",
    write: "Write",
    *,
    make_projector: "MakeProjector",
    watch: "Watch | None" = None,
) -> "ErrorCurve":
    """Reconstruct, slab by slab where the method allows it."""
    from etcli.core.plans import plan_reconstruction
    from etcli.core.slabs import reconstruct
    from etcli.core.whole import reconstruct_whole

    n_rows, console = integrals.n_rows, settings.console
    if recipe.whole:
        with console.progress(recipe.iterations, "reconstructing") as advance:
            return reconstruct_whole(
                integrals,
                write,
                geometry,
                recipe,
                n_rows=n_rows,
                threads=settings.threads,
                make_projector=make_projector,
                progress=advance,
                watch=watch,
            )
    method = recipe.for_slabs(geometry)
    plan = plan_reconstruction(n_rows, geometry, method, threads=settings.threads, memory=settings.memory)
    console.note(
        f"{len(plan.slabs)} slabs of {plan.slabs[0][1]} slices on {plan.threads} threads, "
        f"{plan.working_bytes >> 20} MiB"
    )
    with console.progress(n_rows, "reconstructing") as advance:
        return reconstruct(
            integrals,
            write,
            geometry,
            method,
            plan=plan,
            make_projector=make_projector,
            progress=advance,
            watch=watch,
        )


def check_room(settings: Settings, recipe: "Recipe", geometry: "SlabGeometry", n_rows: int) -> None:
    """Refuse work that does not fit into the memory, before any is done, and announce the compiler's."""
    from math import ceil

    from etcli.core.errors import UsageError
    from etcli.core.jit import kernels_cached
    from etcli.core.plans import plan_reconstruction
    from etcli.core.solvers.regularised import working_bytes

    if recipe.whole:
        needed = working_bytes(geometry, n_rows, recipe.prior)
        if needed > settings.memory:
            raise UsageError(
                f"the whole volume takes {ceil(needed / (1 << 20))}M of memory, but only "
                f"{settings.memory >> 20}M are allowed; allow more, make it thinner, or use --slices"
            )
    else:
        method = recipe.for_slabs(geometry)
        plan_reconstruction(n_rows, geometry, method, threads=settings.threads, memory=settings.memory)
    if not kernels_cached():
        settings.console.report("compiling the projector for this machine, once")
