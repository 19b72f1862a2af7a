"""What work slab by slab asks of a method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SlabSolver:
    """A solver of slabs with its parameters set, and the memory it takes.

    Parameters
    ----------
    solve : callable
        ``solve(projector, sinogram)`` returns the slab of the volume, as ``partial(sirt, iterations=30)``
        does. It runs on several threads at once.
    iterative : bool
        Whether `solve` takes ``callback=``, to be called with the number of iterations done, the norm of the
        residual and the slab of the volume.
    sinograms, volumes : int
        How many float32 arrays of the size of the slab's sinogram and volume `solve` has at once, its
        argument and its result included; at least 2 each, because rows become slabs and slabs rows.
    sums : callable, optional
        ``sums(projector)`` returns what `solve` takes as ``sums=`` and all slabs of a geometry share.
    n_subsets : int
        For how many subsets of the views those are kept.
    """

    solve: Callable[..., NDArray[np.float32]]
    iterative: bool = False
    sinograms: int = 2
    volumes: int = 2
    sums: Callable[[Any], Any] | None = None
    n_subsets: int = 1
