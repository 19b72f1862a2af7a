"""Reconstruction of a whole volume at once: where a prior or the orientations couple all of its slices."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.recipes import Recipe
from etcli.core.slabs import ErrorCurve
from etcli.core.solvers.regularised import Misfit

Array = NDArray[np.float32]


def reconstruct_whole(
    series: Misfit,
    recipe: Recipe,
    *,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[int, Array], None] | None = None,
) -> tuple[Array, ErrorCurve]:
    """Reconstruct a volume that fits into the memory.

    Parameters
    ----------
    series : Series or WholeSeries
        The views.
    recipe : Recipe
        What to do.
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
            watch(k, volume)

    volume = recipe.solve(series, note)
    return volume, ErrorCurve(np.array(iterations), np.array(norms) / (series.size or 1))
