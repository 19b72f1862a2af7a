"""Normalised back-projection, and the inverse row and column sums of the projection that SIRT also uses."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Projector
from etcli.core.solvers.checks import check_shape
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.core.solvers.steps import on_host

SMALLEST_SUM = 1e-6
"""Path length in voxels below which a sum is rounding error."""
GRAZING = 0.3
"""Rays whose path in the mask is below this fraction of their view's median would cause rings: ignored."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class InverseSums:
    """Inverse row and column sums of a projection matrix, zero where a sum is zero.

    Parameters
    ----------
    rows : ndarray, float32
        1 / path length of every ray; the shape of a sinogram, or of 1 slice of it for all slices.
    columns : ndarray, float32
        1 / sum of the weights of every voxel; the shape of a volume, or of 1 slice of it for all slices.
    """

    rows: Array
    columns: Array


def inverse_sums(
    projector: Projector, *, mask: NDArray[np.bool_] | None = None, one_slice: bool = False
) -> InverseSums:
    """Compute the inverse row and column sums of a projector.

    Parameters
    ----------
    projector : Projector
        Only its geometry matters; any slab width gives the sums for all widths.
    mask : ndarray of bool, optional
        Voxels that may differ from zero; either the shape of the volume, or ``(thickness, width, 1)`` for
        the same mask in all slices. The columns outside are excluded from the matrix, and so are the rays
        whose sum is below 30 % of the median of their view.
    one_slice : bool
        Keep one slice of the last axis, which all slices of a slab share.

    Returns
    -------
    InverseSums
        The last axis has length 1 if `one_slice`.

    Raises
    ------
    UsageError
        When the mask has another shape.
    """
    device = projector.device
    ones = device.put(np.ones(projector.domain_shape, np.float32))
    if mask is not None:
        check_shape("mask", mask.shape, projector.domain_shape)
        ones *= mask
    sums = projector.forward(ones)
    del ones
    if mask is not None:
        host = on_host(sums)
        _drop_grazing_rays(host)
        sums = device.put(host)
    columns = projector.adjoint((sums > SMALLEST_SUM).astype(np.float32))
    if mask is not None:
        columns *= mask
    slices = slice(1 if one_slice else None)
    rows, columns = (device.put(_inverse(on_host(each[..., slices]))) for each in (sums, columns))
    return InverseSums(rows, columns)


def backprojection(projector: Projector, sinogram: Array, *, sums: InverseSums | None = None) -> Array:
    """Back-project views, normalised so that every voxel is a mean of the densities along its rays.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    sums : InverseSums, optional
        From `inverse_sums`, computed once for many slabs of one geometry.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Notes
    -----
    x = C Aᵀ R y with the inverse sums R of the rows and C of the columns of the projection A: the first step
    of SIRT.
    """
    sums = sums or inverse_sums(projector)
    volume = projector.adjoint(np.multiply(sinogram, sums.rows, out=projector.device.empty(sinogram.shape)))
    volume *= sums.columns
    return volume


def _drop_grazing_rays(sums: Array) -> None:
    """Set the sums of rays with a short path in the mask to zero."""
    for view in sums:
        for rays in view.reshape(view.shape[0], -1).T:  # slice by slice, so that slices stay independent
            met = rays[rays > SMALLEST_SUM]
            if met.size:
                rays[rays < GRAZING * np.median(met)] = 0


def _inverse(sums: Array) -> Array:
    """Return the reciprocal as a contiguous array, zero where the sum is zero."""
    inverse = np.zeros(sums.shape, np.float32)
    return np.divide(1, sums, out=inverse, where=sums > SMALLEST_SUM)


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver."""
    return SlabSolver(backprojection, sums=partial(inverse_sums, one_slice=True))
