"""Parameters of a reconstruction that set themselves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcli.cli.options import Settings
from etcli.cli.recipes import ITERATIVE, Wish
from etcli.cli.tasks import Task

if TYPE_CHECKING:
    from etcli.core.recipes import Recipe
    from etcli.core.solvers.left_out import LeftOut


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


def tuned(settings: Settings, wish: Wish, task: Task, *, follow: bool) -> Tuned:
    """Find what sets itself; ``follow`` the prediction of left-out views in any case where that can be."""
    from etcli.core.recipes import tune_iterations, tune_levels, tune_weight
    from etcli.core.solvers.left_out import FEWEST_VIEWS, MOST_ITERATIONS, MOST_WEIGHTS, leave_out

    recipe = wish.recipe
    if wish.n_levels:
        recipe = tune_levels(recipe, task.sample(settings), wish.n_levels)
        listed = ", ".join(f"{level:.4g}" for level in recipe.levels)
        settings.console.report(f"densities {listed} fit best")
    needed = wish.auto_weight or wish.auto_iterations
    # the first entry of the curve of SIRT is after its second iteration
    follow = follow and recipe.method in ITERATIVE and recipe.method != "dart" and recipe.iterations > 1
    if not (follow or needed):
        return Tuned(recipe)
    series = task.sample(settings)
    if not needed and (len(series.tilt_deg) < FEWEST_VIEWS or not series.size):
        return Tuned(recipe)
    split = leave_out(series)
    zeros = task.zeros(settings, recipe)
    weights = iterations = None
    if wish.auto_weight:
        with settings.console.progress(MOST_WEIGHTS, "looking for the weight") as advance:
            recipe, weights = tune_weight(recipe, split, zeros=zeros, progress=advance)
        settings.console.report(f"weight {recipe.weight:.3g} predicts views left out best")
    if follow or wish.auto_iterations:
        most = MOST_ITERATIONS if wish.auto_iterations else recipe.iterations
        with settings.console.progress(most, "leaving views out") as advance:
            found, iterations = tune_iterations(recipe, split, most=most, zeros=zeros, progress=advance)
        if wish.auto_iterations:
            recipe = found
            settings.console.report(
                f"{recipe.iterations} iterations predict views left out as well as any, within 2 %"
            )
    return Tuned(recipe, weights, iterations)
