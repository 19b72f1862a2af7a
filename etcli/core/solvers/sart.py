"""SART and ordered subsets: the correction of SIRT with one view, or a few views, at a time."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.backprojection import InverseSums, inverse_sums
from etcli.core.solvers.checks import check_request
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.sirt import Callback, by_row, improver, steps_and_bounds, weigh_residual
from etcli.core.solvers.slab_solver import SlabSolver

Array = NDArray[np.float32]

GOLDEN = (np.sqrt(5) - 1) / 2


def sart(
    projector: SlabProjector,
    sinogram: Array,
    *,
    iterations: int,
    subset_size: int = 1,
    relaxation: float = 1.0,
    lower: float = -np.inf,
    upper: float = np.inf,
    sums: Sequence[InverseSums] | None = None,
    callback: Callback | None = None,
) -> Array:
    """Reconstruct by SART: each view, or subset of views, in turn corrects all voxels by its residual.

    Parameters
    ----------
    projector : SlabProjector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    iterations : int
        Sweeps over all views.
    subset_size : int
        Views per subset: 1 is SART, all of them SIRT.
    relaxation : float
        Factor ω of the correction, between 0 and 2; noisier views need a smaller one.
    lower, upper : float
        Bounds of the density.
    sums : sequence of InverseSums, optional
        ``subset_sums(projector, subset_size)``, computed once for many slabs of one geometry.
    callback : callable, optional
        ``callback(k, norm, x)`` after k sweeps, k from 1, with the norm of the residuals of all subsets, each
        just before its correction in the last sweep, and the volume, not to be modified.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When a parameter is out of its range or the sinogram has the wrong shape.

    Notes
    -----
    x ← P(x + ω Cₖ Aₖᵀ Rₖ (yₖ - Aₖ x)) for the subsets k in turn, with the inverse row and column sums R and
    C of the part of A that belongs to a subset, and P the clipping to the bounds. Consecutive views, and the
    views of a subset, are far apart in angle: the k-th view is the one at place rank(frac(k φ)) in the order
    of tilt, with φ the fractional part of the golden ratio.

    References
    ----------
    A. H. Andersen, A. C. Kak, Ultrasonic Imaging 6, 81 (1984), doi:10.1177/016173468400600107.
    T. Köhler, IEEE Nucl. Sci. Symp. Conf. Rec. 3961 (2004): access by the golden ratio.
    """
    check_request(
        "SART",
        projector,
        sinogram.shape,
        iterations=iterations,
        relaxation=relaxation,
        lower=lower,
        upper=upper,
    )
    chosen = subsets(projector.geometry.tilt_deg, subset_size)
    parts = [(projector.of_views(views), sinogram[views]) for views in chosen]
    sums = sums or subset_sums(projector, subset_size)
    device = projector.device
    improve = improver(projector, np.float32(lower), np.float32(upper))
    volume = device.empty(projector.domain_shape)
    volume[...] = np.clip(0, lower, upper)
    inside = device.put(np.ones(sums[0].columns.shape, np.bool_))
    for k in range(1, iterations + 1):
        square = 0.0
        for (part, measured), inverse in zip(parts, sums, strict=True):
            residual = part.forward(volume)
            square += weigh_residual(
                by_row(measured, inverse.rows), by_row(residual, inverse.rows), inverse.rows.ravel()
            )
            improve(part, residual, volume, np.float32(relaxation) * inverse.columns, inside)
        if callback:
            callback(k, float(np.sqrt(square)), volume)
    return volume


def subset_sums(projector: SlabProjector, subset_size: int = 1) -> list[InverseSums]:
    """Compute the inverse sums of each subset, as one slice for all slices.

    Parameters
    ----------
    projector : SlabProjector
        Only its geometry matters.
    subset_size : int
        Views per subset.

    Returns
    -------
    list of InverseSums
    """
    chosen = subsets(projector.geometry.tilt_deg, subset_size)
    return [inverse_sums(projector.of_views(views), one_slice=True) for views in chosen]


def subsets(tilt_deg: NDArray[np.float64], size: int) -> list[NDArray[np.intp]]:
    """Divide views into subsets of nearly equal size, in the order in which they are used.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.
    size : int
        Largest number of views in a subset.

    Returns
    -------
    list of ndarray of int

    Raises
    ------
    UsageError
        When the size is less than one view.
    """
    if size < 1:
        raise UsageError(f"subsets of {size} views are impossible; use 1 for SART")
    return np.array_split(access_order(tilt_deg), -(-len(tilt_deg) // size))


def access_order(tilt_deg: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order the views so that each is far in angle from the ones before it.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.

    Returns
    -------
    ndarray of shape (n_views,), int
        Indices of the views, each once.
    """
    place = np.argsort(np.argsort(np.arange(len(tilt_deg)) * GOLDEN % 1))
    return np.argsort(tilt_deg, kind="stable")[place]


def slab_solver(parameters: MethodParameters, geometry: SliceGeometry, *, masked: bool = False) -> SlabSolver:
    """Create the slab solver, with sums for every subset of the views."""
    size = parameters.subset_size
    return SlabSolver(
        partial(sart, subset_size=size, **steps_and_bounds(parameters)),
        iterative=True,
        sinograms=3,
        sums=partial(subset_sums, subset_size=size),
        n_subsets=-(-geometry.n_views // size),
    )
