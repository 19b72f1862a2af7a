"""SIRT: simultaneous iterative reconstruction technique."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.backprojection import InverseSums, inverse_sums
from etcli.core.solvers.checks import check_request, check_shape
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]
Callback = Callable[[int, float, Array], None]


def sirt(
    projector: Projector,
    sinogram: Array,
    *,
    iterations: int,
    relaxation: float = 1.0,
    lower: float = -np.inf,
    upper: float = np.inf,
    mask: NDArray[np.bool_] | None = None,
    initial: Array | None = None,
    sums: InverseSums | None = None,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct by SIRT: every iteration corrects all voxels by the mean residual of their rays.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    iterations : int
        Sweeps over all views.
    relaxation : float
        Factor ω of the correction, between 0 and 2.
    lower, upper : float
        Bounds of the density.
    mask : ndarray of bool, optional
        Voxels that may differ from zero; either the shape of the volume, or ``(thickness, width, 1)`` for
        the same mask in all slices.
    initial : ndarray of shape ``projector.domain_shape``, float32, optional
        Initial volume, zero by default. It is not modified.
    sums : InverseSums, optional
        ``inverse_sums(projector, mask=mask)``, computed once for many slabs of one geometry.
    callback : callable, optional
        Called as ``callback(k, norm, x)`` with the norm of y - A x and the volume, not to be modified, after
        k iterations, for k from 0 to ``iterations - 1``: it costs nothing, because the next iteration needs
        that residual.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When a parameter is out of its range or an array has the wrong shape.

    Notes
    -----
    x ← P(x + ω C Aᵀ R (y - A x)) with the inverse sums R of the rows and C of the columns of the projection
    A, and P the clipping to the bounds and the mask. Without bounds it converges to the minimum of
    ‖y - A x‖ weighted with R. The result of one slice depends neither on its neighbours in the slab nor on
    the width of the slab.

    References
    ----------
    P. Gilbert, J. Theor. Biol. 36 (1972) 105, doi:10.1016/0022-5193(72)90180-4.
    J. Gregor, T. Benson, IEEE Trans. Med. Imaging 27 (2008) 918, doi:10.1109/TMI.2008.923696.
    """
    _check(projector, sinogram, iterations, relaxation, lower, upper, mask, initial)
    sums = sums or inverse_sums(projector, mask=mask)
    check_shape("array of row sums", sums.rows.shape, projector.range_shape)
    check_shape("array of column sums", sums.columns.shape, projector.domain_shape)
    device = projector.device
    shape = np.broadcast_shapes(sums.columns.shape, (1,) if mask is None else mask.shape)
    inside, gain = device.empty(shape, np.bool_), device.empty(shape)
    inside[...] = True if mask is None else mask
    gain[...] = np.float32(relaxation) * sums.columns
    residual = device.empty(projector.range_shape)
    improve = improver(projector, np.float32(lower), np.float32(upper))
    volume = device.empty(projector.domain_shape)
    volume[...] = 0 if initial is None else initial * inside
    for k in range(iterations):
        if k == 0 and initial is None:
            residual[...] = 0
        else:
            projector.forward(volume, out=residual)
        squared = weigh_residual(by_row(sinogram, sums.rows), by_row(residual, sums.rows), sums.rows.ravel())
        if callback:
            callback(k, float(np.sqrt(squared)), volume)
        improve(projector, residual, volume, gain, inside)
    return volume


def improver(projector: Projector, lower: np.float32, upper: np.float32) -> Callable[..., None]:
    """Create the function that corrects a volume by the residual of its views.

    Parameters
    ----------
    projector : Projector
        Projector of all views or some of them; only its device and the shape of its volumes matter.
    lower, upper : float32
        Bounds of the density.

    Returns
    -------
    callable
        ``improve(projector, residual, volume, gain, inside)`` replaces x by x + gain Aᵀ r within the bounds,
        inside the mask. Projectors with a method ``correct`` need no array for Aᵀ r.
    """
    shape = projector.domain_shape
    correction: list[Array] = []

    def improve(part: Projector, residual: Array, volume: Array, gain: Array, inside: Array) -> None:
        correct_at_once = getattr(part, "correct", None)
        if correct_at_once and gain.shape == (*shape[:-1], 1):
            correct_at_once(residual, volume, gain, inside, lower, upper)
            return
        if not correction:
            correction.append(part.device.empty(shape))
        part.adjoint(residual, out=correction[0])
        flat = by_row(volume, gain), by_row(correction[0], gain)
        correct(*flat, gain.ravel(), inside.ravel(), lower, upper)

    return improve


def by_row(array: Array, shared: Array) -> Array:
    """Reshape an array to one row per element of `shared`, the array of values that all slices share."""
    return array.reshape(shared.size, -1)


@summing_step("weigh_residual", by_slice=False)
def weigh_residual(sinogram, projected, weight):  # type: ignore[no-untyped-def]
    """Replace A x by R (y - A x) and return the squared norm of y - A x."""
    n, width = projected.shape
    squared = np.zeros(width)
    for i in range(n):
        for j in range(width):
            difference = sinogram[i, j] - projected[i, j]
            projected[i, j] = weight[i] * difference
            squared[j] += difference * difference
    return squared.sum()


@step("correct")
def correct(volume, correction, gain, inside, lower, upper):  # type: ignore[no-untyped-def]
    """Add the correction and clip, inside the mask."""
    n, width = volume.shape
    for i in range(n):
        if inside[i]:
            for j in range(width):
                volume[i, j] = min(max(volume[i, j] + gain[i] * correction[i, j], lower), upper)


def _check(
    projector: Projector,
    sinogram: Array,
    iterations: int,
    relaxation: float,
    lower: float,
    upper: float,
    mask: NDArray[np.bool_] | None,
    initial: Array | None,
) -> None:
    """Validate the arguments of `sirt`; raise UsageError for invalid ones."""
    check_request(
        "SIRT",
        projector,
        sinogram.shape,
        iterations=iterations,
        relaxation=relaxation,
        lower=lower,
        upper=upper,
    )
    if mask is not None:
        check_shape("mask", mask.shape, projector.domain_shape)
    if initial is not None and initial.shape != projector.domain_shape:
        raise UsageError(f"the volume has the shape {initial.shape}; {projector.domain_shape} is needed")


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver; with a different mask for every slab there are no sums to share."""
    solve = partial(sirt, **steps_and_bounds(parameters))
    if masked:
        return SlabSolver(solve, iterative=True, sinograms=4, volumes=5)
    return SlabSolver(solve, iterative=True, sums=partial(inverse_sums, one_slice=True))


def solve_volume(
    parameters: MethodParameters, misfit: OrientedMisfit, callback: Callback | None = None
) -> Array:
    """Reconstruct the whole volume from views of any orientation."""
    return sirt(misfit.projector, misfit.views, **steps_and_bounds(parameters), callback=callback)


def steps_and_bounds(parameters: MethodParameters) -> dict[str, Any]:
    """Return the arguments that SIRT, SART and RESIRE have in common."""
    names = ("iterations", "relaxation", "lower", "upper")
    return {name: getattr(parameters, name) for name in names}
