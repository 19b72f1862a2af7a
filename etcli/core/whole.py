"""Reconstruction of a whole volume at once, for methods whose prior couples all slices."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SlabGeometry
from etcli.core.plans import MakeProjector
from etcli.core.projectors.slab import WIDTHS, SlabProjector
from etcli.core.recipes import Recipe
from etcli.core.slabs import ErrorCurve, Read, Watch, Write
from etcli.core.solvers.regularised import as_series

Array = NDArray[np.float32]


def reconstruct_whole(
    read_rows: Read,
    write_rows: Write,
    geometry: SlabGeometry,
    recipe: Recipe,
    *,
    n_rows: int,
    threads: int = 1,
    make_projector: MakeProjector = SlabProjector,
    progress: Callable[[int], None] | None = None,
    watch: Watch | None = None,
) -> ErrorCurve:
    """Reconstruct a volume that fits into the memory.

    Parameters
    ----------
    read_rows, write_rows : callable
        As for `etcli.core.slabs.reconstruct`.
    geometry : SlabGeometry
        Views and slice.
    recipe : Recipe
        A method that works on the whole volume.
    n_rows : int
        Slices.
    threads : int
        Threads to work on.
    make_projector : callable
        ``make_projector(geometry, n_slices=...)`` returns the projector of a slab.
    progress : callable, optional
        Called with 1 after every iteration.
    watch : callable, optional
        As for `etcli.core.slabs.reconstruct`, with the volume as the only slab.

    Returns
    -------
    ErrorCurve
    """
    series = as_series(
        np.asarray(read_rows(0, n_rows), np.float32), geometry, make_projector=make_projector, threads=threads
    )
    norms: list[tuple[int, float]] = []

    def note(k: int, residual: float, volume: Array) -> None:
        norms.append((k, residual))
        if progress:
            progress(1)
        if watch:
            watch((0, n_rows), k, volume)

    volume = recipe.solve(series, note)
    for y0 in range(0, n_rows, WIDTHS[-1]):
        write_rows(y0, volume[..., y0 : y0 + WIDTHS[-1]].swapaxes(1, 2))
    numbers, residuals = zip(*norms, strict=True)
    return ErrorCurve(np.array(numbers), np.array(residuals))
