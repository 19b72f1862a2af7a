"""MLEM: the most likely densities for counted electrons, by expectation maximisation."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.backprojection import InverseSums, inverse_sums
from etcli.core.solvers.checks import check_request, check_shape
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.sirt import by_row
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]
Callback = Callable[[int, float, Array], None]

LARGEST = 1e30
"""Largest ratio of a view to its projection: sums of so many and their products with densities are finite."""


def mlem(
    projector: Projector,
    sinogram: Array,
    *,
    iterations: int,
    upper: float = np.inf,
    sums: InverseSums | None = None,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct by MLEM: every iteration multiplies all voxels by the mean ratio of views to projections.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels, in proportion to counts; negative ones are treated as zero.
    iterations : int
        Sweeps over all views.
    upper : float
        Upper bound of the density; the lower bound is zero.
    sums : InverseSums, optional
        ``inverse_sums(projector)``, where one geometry serves many slabs.
    callback : callable, optional
        Called as ``callback(k, norm, x)`` with the norm of y - A x and the volume, not to be changed, after
        k iterations, for k from 0 to ``iterations - 1``.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel, not negative.

    Raises
    ------
    UsageError
        When there are no iterations, the bound excludes all densities or an array has the wrong shape.

    Notes
    -----
    x ← x C Aᵀ(y / A x) with the inverse column sums C of the projection A, from x = 1. Without an upper
    bound, every iteration increases the Poisson likelihood Σ (y log A x − A x) and keeps Σ A x = Σ y. Noise
    grows with the iterations, so few are best.

    References
    ----------
    L. Shepp, Y. Vardi, IEEE Trans. Med. Imaging 1 (1982) 113, doi:10.1109/TMI.1982.4307558.
    """
    check_request("MLEM", projector, sinogram.shape, iterations=iterations, lower=0.0, upper=upper)
    sums = sums or inverse_sums(projector)
    check_shape("array of column sums", sums.columns.shape, projector.domain_shape)
    ratio = projector.device.empty(projector.range_shape)
    factor, volume = (projector.device.empty(projector.domain_shape) for _ in range(2))
    volume[...] = 1
    for k in range(iterations):
        projector.forward(volume, out=ratio)
        squared = _divide(by_row(sinogram, sums.rows), by_row(ratio, sums.rows))
        if callback:
            callback(k, float(np.sqrt(squared)), volume)
        projector.adjoint(ratio, out=factor)
        flat = by_row(volume, sums.columns), by_row(factor, sums.columns)
        _multiply(*flat, sums.columns.ravel(), np.float32(upper))
    return volume


@summing_step("divide", by_slice=False)
def _divide(sinogram, projected):  # type: ignore[no-untyped-def]
    """Replace A x by y / A x, zero where either is not positive, and return the squared norm of y - A x."""
    n, width = projected.shape
    squared = np.zeros(width)
    for i in range(n):
        for j in range(width):
            measured, expected = sinogram[i, j], projected[i, j]
            squared[j] += (measured - expected) * (measured - expected)
            if expected > 0 and measured > 0:
                projected[i, j] = min(measured / expected, np.float32(LARGEST))
            else:
                projected[i, j] = 0
    return squared.sum()


@step("multiply")
def _multiply(volume, factor, gain, upper):  # type: ignore[no-untyped-def]
    """Multiply the volume by the factor and the gain of each row, up to a bound."""
    n, width = volume.shape
    for i in range(n):
        for j in range(width):
            volume[i, j] = min(volume[i, j] * gain[i] * factor[i, j], upper)


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the solver of slabs."""
    solve = partial(mlem, iterations=parameters.iterations, upper=parameters.upper)
    return SlabSolver(solve, iterative=True, sums=partial(inverse_sums, one_slice=True))


def solve_volume(
    parameters: MethodParameters, misfit: OrientedMisfit, callback: Callback | None = None
) -> Array:
    """Reconstruct the whole volume from views of any orientation."""
    return mlem(
        misfit.projector,
        misfit.views,
        iterations=parameters.iterations,
        upper=parameters.upper,
        callback=callback,
    )
