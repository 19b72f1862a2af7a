"""RESIRE: gradient descent for views of any orientation, as used in atomic electron tomography."""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.backprojection import InverseSums
from etcli.core.solvers.checks import check_request, check_shape
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.sirt import Callback, sirt, steps_and_bounds
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.spectral_norm import squared_norm

Array = NDArray[np.float32]
Three = tuple[int, int, int]

STEEPEST = 0.05
"""Smallest cosine between beam and z, about that of 87°: no finite volume holds what views at 90° show."""


def resire(
    projector: Projector,
    views: Array,
    *,
    iterations: int,
    relaxation: float = 1.0,
    lower: float = 0.0,
    upper: float = np.inf,
    mask: NDArray[np.bool_] | None = None,
    initial: Array | None = None,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct by RESIRE: every iteration is a step of gradient descent on the squared residual.

    Parameters
    ----------
    projector : Projector
        The geometry of the views, on whole volumes. Where the specimen is larger than the views, the volume
        should be larger as well: see `extended_shape`.
    views : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    iterations : int
        Sweeps over all views. Finding the step length takes the time of 5 more.
    relaxation : float
        Factor t of the step, between 0 and 2.
    lower, upper : float
        Bounds of the density.
    mask : ndarray of bool, optional
        Voxels that may differ from zero; the shape of the volume, or with 1 as the last number.
    initial : ndarray of shape ``projector.domain_shape``, float32, optional
        Initial volume, zero by default. It is not modified.
    callback : callable, optional
        As for `etcli.core.solvers.sirt.sirt`.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When a parameter is out of its range or an array has the wrong shape.
    DataError
        When no ray meets the volume.

    Notes
    -----
    x ← P(x - (t/L) Aᵀ(A x - b)) where P clips to the bounds and the mask. L is the largest eigenvalue of AᵀA,
    so the residual decreases with every iteration for 0 < t < 2. The papers use n_views n instead of L, with
    n voxels along the beam: for cubes seen from all directions and for films tilted to 60° that equals L
    within 7 %, but if such a cube is a third as thick, L is 1.7 times as large, and t = 1.2 would diverge.
    This is SIRT with the same weight for all rays and all voxels.

    In addition to its arguments it holds 2 arrays of the size of the volume, 3 if the mask has that size, and
    2 of the size of the views, one of them in the projector.

    References
    ----------
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0, methods.
    M. Pham et al., Sci. Rep. 13, 5624 (2023), doi:10.1038/s41598-023-31124-7.
    """
    check_request(
        "RESIRE", projector, views.shape, iterations=iterations, relaxation=relaxation, lower=lower,
        upper=upper,
    )  # fmt: skip
    if mask is not None:
        check_shape("mask", mask.shape, projector.domain_shape)
    return sirt(
        projector, views, iterations=iterations, relaxation=relaxation, lower=lower, upper=upper, mask=mask,
        initial=initial, sums=uniform_sums(projector), callback=callback,
    )  # fmt: skip


def uniform_sums(projector: Projector) -> InverseSums:
    """Compute the sums with which SIRT becomes gradient descent on the squared residual.

    Parameters
    ----------
    projector : Projector
        Only its geometry matters; a mask would only make the eigenvalue smaller.

    Returns
    -------
    InverseSums
        1 for all rays and 1/L for all voxels, as 1 slice for all slices.

    Raises
    ------
    DataError
        When no ray meets the volume.
    """
    step, put = 1 / squared_norm(projector), projector.device.put
    return InverseSums(
        rows=put(np.ones((*projector.range_shape[:-1], 1), np.float32)),
        columns=put(np.full((*projector.domain_shape[:-1], 1), step, np.float32)),
    )


def extended_shape(
    rotation: ArrayLike, shape: tuple[int, ...], detector_shape: tuple[int, ...] | None = None
) -> Three:
    """Compute the shape of a volume that contains everything that the views show of a layer.

    A film extends beyond the field of view, and tilted views show parts of it from there. Without voxels for
    these parts, their intensity would be reconstructed at wrong positions.

    Parameters
    ----------
    rotation : array_like of shape (n_views, 3, 3)
        As for `etcli.core.projectors.oriented.OrientedProjector`.
    shape : (int, int, int)
        Requested voxels, (nz, ny, nx); nz is the thickness of the layer.
    detector_shape : (int, int), optional
        Pixels of a view, (n_v, n_u); by default (ny, nx).

    Returns
    -------
    (int, int, int)
        nz, and ny and nx enlarged by even numbers, so that the requested voxels are in the middle; see
        `middle`.

    Raises
    ------
    UsageError
        When a view looks along the layer, edge-on.
    """
    matrices = np.asarray(rotation, np.float64)
    beam = matrices[:, 2]
    edge_on = abs(beam[:, 2]) < STEEPEST
    if edge_on.any():
        raise UsageError(
            f"view {np.argmax(edge_on) + 1} looks along the layer, so no volume can contain all that it shows"
        )
    n_v, n_u = detector_shape or shape[1:]
    slope = beam[:, :2] / beam[:, 2:]
    # position at which the ray of a pixel crosses z = 0, and its distance from there to the surfaces
    per_u, per_v = (matrices[:, axis, :2] - matrices[:, axis, 2:] * slope for axis in range(2))
    reach = (abs(per_u) * (n_u - 1) + abs(per_v) * (n_v - 1) + abs(slope) * (shape[0] - 1)).max(axis=0) / 2
    nx, ny = (
        n + 2 * max(0, int(np.ceil(far - (n - 1) / 2 - 1e-6)))
        for n, far in zip(shape[:0:-1], reach, strict=True)
    )
    return shape[0], ny, nx


def middle(volume: Array, shape: tuple[int, ...]) -> Array:
    """Return the voxels in the middle of a larger volume, without a copy.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Larger by an even number along every axis; otherwise the middle would be off by half a voxel.
    shape : (int, int, int)
        Requested voxels.

    Returns
    -------
    ndarray of shape `shape`

    Raises
    ------
    UsageError
        When the volume is smaller, or larger by an odd number.
    """
    excess = np.subtract(volume.shape, shape)
    if (excess < 0).any() or (excess % 2).any():
        raise UsageError(f"a volume of shape {volume.shape} has nothing of shape {shape} in its middle")
    return volume[tuple(slice(extra // 2, extra // 2 + n) for extra, n in zip(excess, shape, strict=True))]


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver: SIRT with the same weight for all rays and all voxels."""
    return SlabSolver(partial(sirt, **steps_and_bounds(parameters)), iterative=True, sums=uniform_sums)


def solve_volume(
    parameters: MethodParameters, misfit: OrientedMisfit, callback: Callback | None = None
) -> Array:
    """Reconstruct the whole volume from views of any orientation."""
    return resire(misfit.projector, misfit.views, **steps_and_bounds(parameters), callback=callback)
