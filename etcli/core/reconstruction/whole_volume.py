"""Reconstruction of a whole volume at once, for priors or orientations that couple all of its slices."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from etcli.core.reconstruction.slab_by_slab import ErrorCurve
from etcli.core.reconstruction.solve import solve
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import Misfit
from etcli.core.solvers.steps import on_host
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]


def reconstruct_whole(
    misfit: Misfit,
    parameters: MethodParameters,
    *,
    zeros: Zeros = in_memory,
    progress: Callable[[int], None] | None = None,
    watch: Callable[[int, Array], None] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> tuple[Array, ErrorCurve]:
    """Reconstruct a volume.

    Parameters
    ----------
    misfit : SlabMisfit or OrientedMisfit
        Misfit to the views.
    parameters : MethodParameters
        Method and its parameters.
    zeros : callable
        As for `etcli.core.reconstruction.solve.solve`.
    progress : callable, optional
        Called with the number of iterations since the last call.
    watch : callable, optional
        ``watch(k, volume)`` after k iterations, with the volume, not to be modified.
    mask : ndarray of shape ``misfit.shape``, bool, optional
        As for `etcli.core.reconstruction.solve.solve`.

    Returns
    -------
    (ndarray of shape ``misfit.shape``, ErrorCurve)
    """
    iterations: list[int] = []
    norms: list[float] = []

    def record_iteration(k: int, norm: float, volume: Array) -> None:
        if progress:  # not every method calls this after each iteration
            progress(k - iterations[-1] if iterations else 1)
        iterations.append(k)
        norms.append(norm)
        if watch:
            watch(k, on_host(volume))

    volume = solve(parameters, misfit, record_iteration, zeros=zeros, mask=mask)
    return on_host(volume), ErrorCurve(np.array(iterations), np.array(norms) / (misfit.size or 1))
