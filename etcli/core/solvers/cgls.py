"""CGLS: conjugate gradients on the normal equations of least squares."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.checks import check_request
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.sirt import Callback
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]


def cgls(
    projector: Projector,
    sinogram: Array,
    *,
    iterations: int,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct by conjugate gradients; fewer iterations give a smoother volume.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    iterations : int
        Sweeps over all views. Too many of them fit the noise.
    callback : callable, optional
        ``callback(k, norm, x)`` after k sweeps, k from 0, with the norm of the residual y - A x and the
        volume, not to be modified.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel, of any sign.

    Raises
    ------
    UsageError
        When there are no iterations or the sinogram has the wrong shape.

    Notes
    -----
    After k sweeps x has the smallest ‖A x - y‖ of all volumes in the span of (AᵀA)ʲ Aᵀ y with j < k.
    Every slice has its own step lengths, so none depends on its neighbours.

    References
    ----------
    Å. Björck, Numerical Methods for Least Squares Problems, SIAM (1996), algorithm 7.4.1.
    """
    check_request("CGLS", projector, sinogram.shape, iterations=iterations)
    device = projector.device
    volume = device.empty(projector.domain_shape)
    volume[...] = 0
    residual, projected = (device.empty(projector.range_shape) for _ in range(2))
    residual[...] = sinogram
    gradient = projector.adjoint(residual)
    direction = device.empty(projector.domain_shape)
    direction[...] = gradient
    slope = _squares(_flat(gradient))
    if callback:
        callback(0, float(np.sqrt(_squares(_flat(residual)).sum())), volume)
    for k in range(1, iterations + 1):
        projector.forward(direction, out=projected)
        length = _ratio(slope, _squares(_flat(projected)))
        _add(_flat(volume), length, _flat(direction))
        _add(_flat(residual), -length, _flat(projected))
        projector.adjoint(residual, out=gradient)
        before, slope = slope, _squares(_flat(gradient))
        _turn(_flat(direction), _ratio(slope, before), _flat(gradient))
        if callback:
            callback(k, float(np.sqrt(_squares(_flat(residual)).sum())), volume)
    return volume


def _flat(array: Array) -> Array:
    """Reshape a slab to two axes: pixel or voxel, and slice."""
    return array.reshape(-1, array.shape[-1])


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> Array:
    """Return the ratio per slice, zero for slices whose denominator is zero (already solved)."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0).astype(
        np.float32
    )


@summing_step("squares", by_slice=True)
def _squares(values: Any) -> Any:
    """Return the sum of squares of each slice."""
    total = np.zeros(values.shape[1])
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            total[j] += values[i, j] * values[i, j]
    return total


@step("add_by_slice")
def _add(values: Any, factor: Any, others: Any) -> None:
    """Add `others` times a factor per slice."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[i, j] += factor[j] * others[i, j]


@step("turn_by_slice")
def _turn(values: Any, factor: Any, others: Any) -> None:
    """Multiply by a factor per slice and add `others`."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            values[i, j] = others[i, j] + factor[j] * values[i, j]


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver."""
    solve = partial(cgls, iterations=parameters.iterations)
    return SlabSolver(solve, iterative=True, sinograms=3, volumes=3)
