"""Interface between the reconstruction methods and slab-by-slab processing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SlabSolver:
    """Solver of slabs with its parameters set, and the memory that it needs.

    Parameters
    ----------
    solve : callable
        ``solve(projector, sinogram)`` returns the slab of the volume, as ``partial(sirt, iterations=30)``
        does. It is called on several threads at once.
    iterative : bool
        Whether `solve` takes ``callback=``, which it calls with the number of iterations done, the norm of
        the residual and the slab of the volume.
    sinograms, volumes : int
        How many float32 arrays of the size of the slab's sinogram and volume `solve` holds at once, its
        argument and its result included; at least 2 each, because rows are copied into slabs and back.
    sums : callable, optional
        ``sums(projector)`` returns the argument ``sums=`` of `solve`, which all slabs of a geometry share.
    n_subsets : int
        Number of subsets of the views for which these sums are kept.
    """

    solve: Callable[..., NDArray[np.float32]]
    iterative: bool = False
    sinograms: int = 2
    volumes: int = 2
    sums: Callable[[Any], Any] | None = None
    n_subsets: int = 1
