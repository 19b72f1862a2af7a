"""SART: SIRT's correction view by view."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from etcli.core.projectors.slab import SlabProjector, aligned_empty
from etcli.core.solvers.backprojection import InverseSums, inverse_sums
from etcli.core.solvers.checks import check_request
from etcli.core.solvers.sirt import by_row, correct, weigh_residual

Array = NDArray[np.float32]

GOLDEN = (np.sqrt(5) - 1) / 2


def sart(
    projector: SlabProjector,
    sinogram: Array,
    *,
    iterations: int,
    relaxation: float = 1.0,
    lower: float = -np.inf,
    upper: float = np.inf,
    sums: Sequence[InverseSums] | None = None,
    callback: Callable[[int, float], None] | None = None,
) -> Array:
    """Reconstruct by SART: every view in turn corrects all voxels by the residual of their rays.

    Parameters
    ----------
    projector : SlabProjector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels.
    iterations : int
        Sweeps over all views.
    relaxation : float
        Factor ω of the correction, between 0 and 2; the noisier the views, the smaller.
    lower, upper : float
        Bounds of the density.
    sums : sequence of InverseSums, optional
        ``view_sums(projector)``, where one geometry serves many slabs.
    callback : callable, optional
        ``callback(k, norm)`` during every sweep, k from 0, with the norm of the residuals that the views had
        when their turn came.

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
    x ← P(x + ω Cₖ Aₖᵀ Rₖ (yₖ - Aₖ x)) for the views k in turn, with the inverse row and column sums R and C
    of the part of A that belongs to a view, and P the clipping to the bounds. Views far from each other in
    angle follow each other: that at place rank(frac(k φ)) is the k-th, φ the golden ratio's fractional part.

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
    views = [projector.of_views([k]) for k in range(len(sinogram))]
    sums = sums or view_sums(projector)
    volume, correction = aligned_empty(projector.domain_shape), aligned_empty(projector.domain_shape)
    volume[:] = np.clip(0, lower, upper)
    residual = aligned_empty((1, *sinogram.shape[1:]))
    inside = np.ones(sums[0].columns.shape, np.bool_)
    order = access_order(projector.geometry.tilt_deg)
    for sweep in range(iterations):
        square = 0.0
        for k in order:
            views[k].forward(volume, out=residual)
            rows = sums[k].rows
            square += weigh_residual(by_row(sinogram[k], rows), by_row(residual, rows), rows.ravel())
            views[k].adjoint(residual, out=correction)
            gain = np.float32(relaxation) * sums[k].columns
            correct(
                by_row(volume, gain), by_row(correction, gain), gain.ravel(), inside.ravel(),
                np.float32(lower), np.float32(upper),
            )  # fmt: skip
        if callback:
            callback(sweep, float(np.sqrt(square)))
    return volume


def view_sums(projector: SlabProjector) -> list[InverseSums]:
    """Return the inverse sums of every view on its own, of one slice for all.

    Parameters
    ----------
    projector : SlabProjector
        Its geometry decides.

    Returns
    -------
    list of InverseSums
    """
    return [inverse_sums(projector.of_views([k]), one_slice=True) for k in range(projector.range_shape[0])]


def access_order(tilt_deg: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the views in an order in which each is far from the ones before it.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,)
        Tilt angles in degrees.

    Returns
    -------
    ndarray of shape (n_views,), int
        Every view once.
    """
    place = np.argsort(np.argsort(np.arange(len(tilt_deg)) * GOLDEN % 1))
    return np.argsort(tilt_deg, kind="stable")[place]
