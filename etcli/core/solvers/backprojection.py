"""Normalised back-projection, and the sums of the projection matrix that it shares with SIRT."""

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
"""Rays through less of a mask than this part of their view's median say little and would leave rings."""

Array = NDArray[np.float32]


@dataclass(frozen=True)
class InverseSums:
    """Inverse row and column sums of a projection matrix, zero where a sum is zero.

    Parameters
    ----------
    rows : ndarray, float32
        1 / path length of every ray; the shape of a sinogram, or 1 slice of it for all.
    columns : ndarray, float32
        1 / sum of the weights of every voxel; the shape of a volume, or 1 slice of it for all.
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
        Its geometry decides; any slab width gives the sums for all widths.
    mask : ndarray of bool, optional
        Voxels that may differ from zero, of the shape of the volume or of 1 slice for all, as in
        ``(thickness, width, 1)``. The columns outside are taken out of the matrix, and so are the rays
        whose sum is below 30 % of the median of their view.
    one_slice : bool
        Keep one slice of the last axis, which all slices of a slab share.

    Returns
    -------
    InverseSums
        Of the last axis 1 where `one_slice`.

    Raises
    ------
    UsageError
        When the mask has neither shape.
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
    lanes = slice(1 if one_slice else None)
    rows, columns = (device.put(_inverse(on_host(each[..., lanes]))) for each in (sums, columns))
    return InverseSums(rows, columns)


def backprojection(projector: Projector, sinogram: Array, *, sums: InverseSums | None = None) -> Array:
    """Back-project views so that every voxel is a mean of the densities along its rays.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    sums : InverseSums, optional
        From `inverse_sums`, where one geometry serves many slabs.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Notes
    -----
    x = C Aᵀ R y with the inverse sums R of the rows and C of the columns of the projection A; the first step
    of SIRT.
    """
    sums = sums or inverse_sums(projector)
    volume = projector.adjoint(np.multiply(sinogram, sums.rows, out=projector.device.empty(sinogram.shape)))
    volume *= sums.columns
    return volume


def _drop_grazing_rays(sums: Array) -> None:
    """Set the sums of rays that meet little of a mask to zero."""
    for view in sums:
        for rays in view.reshape(view.shape[0], -1).T:  # slice by slice, or slices would know each other
            met = rays[rays > SMALLEST_SUM]
            if met.size:
                rays[rays < GRAZING * np.median(met)] = 0


def _inverse(sums: Array) -> Array:
    """Return the reciprocal, contiguous, with zero for zero."""
    inverse = np.zeros(sums.shape, np.float32)
    return np.divide(1, sums, out=inverse, where=sums > SMALLEST_SUM)


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Build the solver of slabs."""
    return SlabSolver(backprojection, sums=partial(inverse_sums, one_slice=True))
