"""SIRT with Nesterov's momentum, which needs about the square root of the number of iterations of SIRT."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.projectors import Projector
from etcli.core.solvers.backprojection import InverseSums, inverse_sums
from etcli.core.solvers.checks import check_request, check_shape
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]


def accelerated_sirt(
    projector: Projector,
    sinogram: Array,
    *,
    iterations: int,
    lower: float = -np.inf,
    upper: float = np.inf,
    sums: InverseSums | None = None,
) -> Array:
    """Reconstruct by accelerated proximal gradient steps in the metric of SIRT.

    Parameters
    ----------
    projector : Projector
        The geometry of the views.
    sinogram : ndarray of shape ``projector.range_shape``, float32
        Line integrals, in voxels; NaN where there is none, so that the density there follows from other
        pixels.
    iterations : int
        Sweeps over all views.
    lower, upper : float
        Bounds of the density.
    sums : InverseSums, optional
        ``inverse_sums(projector)``, computed once for many slabs of one geometry.

    Returns
    -------
    ndarray of shape ``projector.domain_shape``, float32
        Density per voxel.

    Raises
    ------
    UsageError
        When there are no iterations, the bounds exclude all densities or an array has the wrong shape.

    Notes
    -----
    x ← P(v + C Aᵀ R (y - A v)) and v ← x + β Δx with β = (t - 1) / t', t' = (1 + √(1 + 4 t²)) / 2, where R
    and C are the inverse row and column sums of the projection A and P clips to the bounds. t is reset to 1
    in a slice whose step points against the momentum. No slice depends on its neighbours in the slab.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    B. O'Donoghue, E. Candès, Found. Comput. Math. 15, 715 (2015), doi:10.1007/s10208-013-9150-3: the restart.
    """
    check_request(
        "accelerated SIRT", projector, sinogram.shape, iterations=iterations, lower=lower, upper=upper
    )
    sums = sums or inverse_sums(projector)
    check_shape("array of row sums", sums.rows.shape, projector.range_shape)
    check_shape("array of column sums", sums.columns.shape, projector.domain_shape)
    n_slices = projector.domain_shape[-1]
    rows, gain = (each[..., :1].ravel() for each in (sums.rows, sums.columns))  # one geometry for all slices
    residual = projector.device.empty(projector.range_shape)
    volume, ahead, new = (projector.device.empty(projector.domain_shape) for _ in range(3))
    volume[...] = np.clip(0, lower, upper)
    ahead[...] = volume
    measured, flat = sinogram.reshape(-1, n_slices), residual.reshape(-1, n_slices)
    volumes = [each.reshape(-1, n_slices) for each in (volume, ahead, new)]
    pace = np.ones(n_slices)
    for _ in range(iterations):
        projector.forward(ahead, out=residual)
        _weigh(measured, flat, rows)
        projector.adjoint(residual, out=new)
        against = _step(*volumes, gain, np.float32(lower), np.float32(upper))
        pace[against > 0] = 1
        next_pace = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        _extrapolate(*volumes, ((pace - 1) / next_pace).astype(np.float32))
        pace = next_pace
    return volume


@step("weigh")
def _weigh(measured, projected, weight):  # type: ignore[no-untyped-def]
    """Replace A v by R (y - A v), or by zero where y is not known."""
    n, width = projected.shape
    for i in range(n):
        for j in range(width):
            difference = measured[i, j] - projected[i, j]
            projected[i, j] = weight[i] * difference if difference == difference else np.float32(0)


@summing_step("step_by_slice", by_slice=True)
def _step(volume, ahead, step, gain, lower, upper):  # type: ignore[no-untyped-def]
    """Replace the correction by the next volume; return per slice how far it opposes the momentum."""
    n, width = volume.shape
    against = np.zeros(width)
    for i in range(n):
        for j in range(width):
            new = min(max(ahead[i, j] + gain[i] * step[i, j], lower), upper)
            against[j] += (ahead[i, j] - new) * (new - volume[i, j])
            step[i, j] = new
    return against


@step("extrapolate_by_slice")
def _extrapolate(volume, ahead, new, momentum):  # type: ignore[no-untyped-def]
    """Accept the next volume and extrapolate from it."""
    n, width = volume.shape
    for i in range(n):
        for j in range(width):
            ahead[i, j] = new[i, j] + momentum[j] * (new[i, j] - volume[i, j])
            volume[i, j] = new[i, j]
