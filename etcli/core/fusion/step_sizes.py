"""Step sizes of the primal-dual method: each channel's own, none of them dependent on a weight."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion.problem import FusionProblem

Float = NDArray[np.float64]

GRADIENT_NORM = sqrt(12.0)
"""Bound of the norm of the gradient by forward differences along three axes."""
RATIO, TIED_RATIO = 1.0, 0.35
"""Size of primal steps for one count a voxel, without and with HAADF; as measured, they converge fastest."""


@dataclass(frozen=True, eq=False)
class StepSizes:
    """Step sizes of one problem, and how the blocks of its operator are scaled to the norm 1.

    Parameters
    ----------
    volume : ndarray of shape (channel,)
        Steps of the volumes.
    counts : ndarray of shape (element,)
        Steps of the dual variables of the counts.
    scale : ndarray of shape (channel,)
        Factor of the channel's gradient in the operator.
    gradient : ndarray of shape (channel,)
        Steps of the dual variables of the gradient.
    radius : ndarray of shape (channel,)
        Largest dual variable of the gradient; the same for all channels of a joint prior.
    haadf : float
        Step of the dual variable of HAADF, 0 without.
    haadf_norm : float
        Norm of the projection of the weighted sum of all channels.
    """

    volume: Float
    counts: Float
    scale: Float
    gradient: Float
    radius: Float
    haadf: float
    haadf_norm: float


def step_sizes(
    problem: FusionProblem,
    scales: Float,
    weights: Float,
    joint: NDArray[np.intp],
    haadf_weights: Float | None,
    *,
    typical: float = 1.0,
) -> StepSizes:
    """Choose the step sizes.

    Parameters
    ----------
    problem : FusionProblem
    scales : ndarray of shape (element,)
        Counts for a path of one voxel through a density of 1.
    weights : ndarray of shape (channel,)
        Weight of each channel in the prior.
    joint : ndarray of int
        The channels that share a prior.
    haadf_weights : ndarray of shape (channel,) or None
        Brightness of each channel in HAADF; None without HAADF.
    typical : float
        Density where the specimen is dense.

    Returns
    -------
    StepSizes

    Notes
    -----
    The n blocks of the operator K, each divided by its norm, have steps with σ τ = 1/n, hence ‖K‖² σ τ <= 1
    and the method converges (Pock and Chambolle, 2011). The best ratio of primal to dual steps is that of the
    sizes of their variables: densities are about 1 or `typical`, and the dual variables of counts grow with
    the square root of the counts a voxel. So each channel has its own steps; with one step for all, a channel
    with a tenth of the counts needs several times as many iterations.

    References
    ----------
    A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120, doi:10.1007/s10851-010-0251-1.
    T. Pock, A. Chambolle, IEEE Int. Conf. Computer Vision (2011) 1762, doi:10.1109/ICCV.2011.6126441.
    """
    n_blocks = 2 if haadf_weights is None else 3
    ratio = RATIO if haadf_weights is None else TIED_RATIO
    brightness = scales * typical * problem.gains[problem.gains > 0].mean()
    own = ratio * typical**2 / (np.sqrt(brightness) * problem.views.norm)
    inverse = np.full(len(weights), own.min())
    inverse[: len(own)] = own
    volume = inverse / sqrt(n_blocks)
    counts = 1 / (inverse[: len(own)] * sqrt(n_blocks))
    scale = np.ones(len(weights))
    gradient = 1 / (n_blocks * volume)
    radius = weights * GRADIENT_NORM
    if joint.size:
        top = weights[joint].max()
        scale[joint] = weights[joint] / top
        radius[joint] = top * GRADIENT_NORM
        gradient[joint] = 1 / (n_blocks * (volume * scale**2)[joint].max())
    haadf, haadf_norm = 0.0, 0.0
    if haadf_weights is not None and problem.haadf_views is not None:
        spread = float((haadf_weights**2).sum())
        haadf_norm = sqrt(spread) * problem.haadf_views.norm
        haadf = spread / (n_blocks * float((volume * haadf_weights**2).sum()))
    return StepSizes(volume, counts, scale / GRADIENT_NORM, gradient, radius, haadf, haadf_norm)
