"""Entry point of the solvers: select the solver of a method and run it with its parameters."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.methods import MethodParameters, methods_for_any_orientation
from etcli.core.solvers.misfit import Misfit, OrientedMisfit, SlabMisfit
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.total_variation import Zeros, in_memory

Array = NDArray[np.float32]


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver of a method.

    Parameters
    ----------
    parameters : MethodParameters
        Parameters of a method that works slab by slab.
    geometry : SliceGeometry
        Views and slice.
    masked : bool
        Whether each slab will have its own mask.

    Returns
    -------
    SlabSolver

    Raises
    ------
    UsageError
        When the method works on the whole volume.
    """
    if parameters.traits.whole_volume:
        raise UsageError(f"{parameters.method} works on the whole volume, not slab by slab")
    solver: SlabSolver = parameters.traits.load("slab_solver")(parameters, geometry, masked=masked)
    return solver


def solve(
    parameters: MethodParameters,
    misfit: Misfit,
    callback: Callback | None = None,
    *,
    zeros: Zeros = in_memory,
    mask: NDArray[np.bool_] | None = None,
) -> Array:
    """Reconstruct a series in memory, without streaming.

    Parameters
    ----------
    parameters : MethodParameters
        Method and its parameters.
    misfit : SlabMisfit or OrientedMisfit
        Misfit to a few rows, unless the method works on the whole volume; or to views of any orientation.
    callback : callable, optional
        As for the solvers.
    zeros : callable
        ``zeros(shape)`` creates arrays of the size of the volume, for methods that work on the whole volume.
    mask : ndarray of shape ``misfit.shape``, bool, optional
        Where densities may differ from zero, for `fista`.

    Returns
    -------
    ndarray of shape ``misfit.shape``, float32
        The last axis may be longer.

    Raises
    ------
    UsageError
        When the method does not support such views.
    """
    method = parameters.traits
    if isinstance(misfit, SlabMisfit) and not method.whole_volume:
        projector, slab = only_slab(misfit)
        solver = slab_solver(parameters, misfit.geometry)
        shared = {"sums": solver.sums(projector)} if solver.sums else {}
        return solver.solve(projector, slab, **shared, **({"callback": callback} if callback else {}))
    if isinstance(misfit, OrientedMisfit) and not method.any_orientation:
        raise UsageError(
            f"{method.name} needs views tilted about one axis; use one of "
            f"{', '.join(methods_for_any_orientation())}"
        )
    arrays: dict[str, object] = {"zeros": zeros} if method.whole_volume else {}
    if mask is not None:
        arrays["mask"] = mask
    volume: Array = method.load("solve_volume")(parameters, misfit, callback, **arrays)
    return volume


def only_slab(misfit: Misfit) -> tuple[Projector, Array]:
    """Return the projector and the sinogram of a misfit with a single slab."""
    assert isinstance(misfit, SlabMisfit)
    (slab,) = misfit.slabs
    return misfit.make_projector(misfit.geometry, n_slices=slab.shape[-1]), slab
