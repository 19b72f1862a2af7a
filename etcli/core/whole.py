"""Reconstruction of a whole volume at once: where a prior or the orientations couple all of its slices."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.recipes import Recipe
from etcli.core.slabs import ErrorCurve
from etcli.core.solvers.regularised import Misfit
from etcli.core.solvers.steps import on_host
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]


def reconstruct_whole(
    series: Misfit,
    recipe: Recipe,
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[int, Array], None] | None = None,
) -> tuple[Array, ErrorCurve]:
    """Reconstruct a volume.

    Parameters
    ----------
    series : Series or WholeSeries
        The views.
    recipe : Recipe
        What to do.
    zeros : callable
        As for `etcli.core.recipes.Recipe.solve`.
    progress : callable, optional
        Called with 1 after every iteration.
    watch : callable, optional
        ``watch(k, volume)`` after k iterations, with the volume, not to be changed.

    Returns
    -------
    (ndarray of shape ``series.shape``, ErrorCurve)
    """
    iterations: list[int] = []
    norms: list[float] = []

    def note(k: int, norm: float, volume: Array) -> None:
        iterations.append(k)
        norms.append(norm)
        if progress:
            progress(1)
        if watch:
            watch(k, on_host(volume))

    volume = recipe.solve(series, note, zeros=zeros)
    return on_host(volume), ErrorCurve(np.array(iterations), np.array(norms) / (series.size or 1))
