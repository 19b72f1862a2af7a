"""Reconstruction of several elements together, by a primal-dual method."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from etcli.core.arguments import check_choice, checked_positive
from etcli.core.errors import UsageError
from etcli.core.fusion._gradient import DIRECTIONS
from etcli.core.fusion.iteration import FusionIteration, FusionState, aligned_zeros, zero_state
from etcli.core.fusion.problem import FusionProblem
from etcli.core.fusion.step_sizes import step_sizes
from etcli.core.solvers.checks import check_iterations

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Report = Callable[[int, float], None]

PRIORS = ("tv", "jtv", "tnv")
"""Total variation of each channel, joint total variation, total nuclear variation."""


@dataclass(frozen=True, eq=False)
class FusionResult:
    """Volumes of all channels, and where the reconstruction ended.

    Parameters
    ----------
    volume : ndarray of shape (channel, z, y, x), float32
        Densities, in units that the scales of the elements define.
    state : FusionState
        Start of another reconstruction.
    iterations : int
    change : float
        Norm of the last change of all volumes, relative to theirs.
    """

    volume: Array
    state: FusionState
    iterations: int
    change: float


def solve(
    problem: FusionProblem,
    scales: Sequence[float] | Float,
    weights: Sequence[float] | Float,
    *,
    prior: str = "tv",
    alone: Collection[int] = (),
    haadf_weights: Sequence[float] | Float | None = None,
    haadf_noise: float = 1.0,
    haadf_constant: float | Float = 0.0,
    tie: float = 0.0,
    iterations: int = 250,
    start: FusionState | None = None,
    report: Report | None = None,
) -> FusionResult:
    """Reconstruct the volumes of all elements.

    Parameters
    ----------
    problem : FusionProblem
        Counts and HAADF images.
    scales : sequence of float
        Counts for a path of one voxel through a density of 1, of each element. Steps are best where the
        largest densities are about 1.
    weights : sequence of float
        Weight λ of each channel in the prior. Channels beyond the elements are seen by HAADF only.
    prior : {"tv", "jtv", "tnv"}
        Total variation Σ λ |∇x| of each channel, or a joint one of the Jacobian J with the rows λ ∇x: the sum
        of its Frobenius norms, or of its nuclear norms.
    alone : collection of int
        Channels with a total variation of their own beside a joint prior.
    haadf_weights : sequence of float, optional
        Brightness w of a density of 1 in HAADF, of each channel. Needed for the tie.
    haadf_noise : float
        Standard deviation σ of the noise of HAADF.
    haadf_constant : float or ndarray of shape (view,)
        Brightness b of HAADF without specimen.
    tie : float
        Weight m of HAADF, 1 for its likelihood; 0 leaves it out.
    iterations : int
        Within 1 % of the limit after 120 without HAADF, 250 with it.
    start : FusionState, optional
        State to go on from, of the same elements and views; changed in place. By default from zero.
    report : callable, optional
        Called as ``report(iteration, change)`` after each iteration.

    Returns
    -------
    FusionResult

    Raises
    ------
    UsageError
        When a parameter is impossible, their numbers differ, or the start is of another problem.

    Notes
    -----
    Minimises, over densities x >= 0,
    Σ [z − y log z] + m/(2σ²) ‖h − b − A_h Σ w_c x_c‖² + R(x), with z as in `FusionProblem`.
    With joint priors, the differences of all channels lie where those of the others lie.

    References
    ----------
    A. Chambolle, T. Pock, J. Math. Imaging Vis. 40 (2011) 120, doi:10.1007/s10851-010-0251-1, algorithm 1.
    L. Condat, J. Optim. Theory Appl. 158 (2013) 460, doi:10.1007/s10957-012-0245-9: over-relaxation.
    J. Duran et al., SIAM J. Imaging Sci. 9 (2016) 116, doi:10.1137/15M102873X: norms of the Jacobian.
    Z. Zhong et al., Ultramicroscopy 190 (2018) 11, doi:10.1016/j.ultramic.2018.01.001: elements and HAADF.
    """
    check_iterations("the reconstruction", iterations)
    check_choice("prior", prior, PRIORS)
    weights = _checked("weights", weights)
    n_channels = len(weights)
    if n_channels < problem.n_elements:
        raise UsageError(f"{problem.n_elements} elements need as many weights, not {n_channels}")
    scales = _checked("scales", scales, problem.n_elements)
    if not (scales > 0).all():
        raise UsageError("scales must be positive; leave out elements without counts")
    shared: list[int] = []
    if prior != "tv":
        shared = [c for c in range(n_channels) if c not in set(alone) and weights[c] > 0]
    joint = np.array(shared, np.intp)
    tied = None
    if checked_positive("tie", tie, or_zero=True) > 0:
        tied = _haadf_weights(problem, haadf_weights, n_channels)
    iteration = FusionIteration(
        problem,
        step_sizes(problem, scales, weights, joint, tied),
        _started(problem, n_channels, start, tied=tied is not None),
        scales,
        joint,
        nuclear=prior == "tnv",
        haadf_weights=np.zeros(n_channels) if tied is None else tied,
        haadf_constant=haadf_constant,
        curvature=tie / checked_positive("HAADF noise", haadf_noise) ** 2,
    )
    change = 0.0
    for k in range(1, iterations + 1):
        change = iteration.run()
        if report:
            report(k, change)
    state = iteration.state
    del iteration  # and its scratch memory
    volume = np.empty((n_channels, *problem.shape), np.float32)
    for c in range(n_channels):
        problem.views.outer_volume(state.volume[c], out=volume[c])
    np.maximum(volume, 0, out=volume)  # over-relaxation steps below zero on the way
    return FusionResult(volume, state, iterations, change)


def bytes_needed(problem: FusionProblem, n_channels: int, *, tied: bool = True) -> int:
    """Return the memory that `solve` takes beside the problem itself.

    Parameters
    ----------
    problem : FusionProblem
    n_channels : int
        Volumes: the elements, and what only HAADF sees.
    tied : bool
        Whether HAADF is used.

    Returns
    -------
    int
        About 24 bytes a voxel and channel, of which the state and the volumes of the result remain.
    """
    views, haadf_views = problem.views, problem.haadf_views if tied else None
    voxels = prod(views.volume_shape)
    numbers = n_channels * voxels * (3 + DIRECTIONS) + problem.n_elements * prod(views.views_shape)
    largest = views.geometry
    if haadf_views is not None:
        numbers += voxels + prod(haadf_views.views_shape)
        largest = max(largest, haadf_views.geometry, key=lambda geometry: geometry.n_views)
    slab = largest.thickness * largest.width + largest.n_views * largest.n_detector
    return 4 * (numbers + problem.threads * 2 * slab * views.width)


def _checked(name: str, values: Sequence[float] | Float, n: int | None = None) -> Float:
    """Return finite numbers that are not negative; raise UsageError for others."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or (n is not None and len(array) != n):
        raise UsageError(f"{name}: {np.shape(values)} numbers, but {n or 'one for each channel'} are needed")
    if not np.isfinite(array).all() or (array < 0).any():
        raise UsageError(f"{name} must be 0 or more and finite")
    return array


def _haadf_weights(
    problem: FusionProblem, weights: Sequence[float] | Float | None, n_channels: int
) -> Float | None:
    """Return the brightness of the channels in HAADF; None where no channel is seen."""
    if problem.haadf is None or weights is None:
        raise UsageError("a tie needs HAADF images and haadf_weights; give them, or use tie=0")
    checked = _checked("haadf_weights", weights, n_channels)
    return checked if checked.any() else None


def _started(
    problem: FusionProblem, n_channels: int, start: FusionState | None, *, tied: bool
) -> FusionState:
    """Return the state to start from: zero, or a given one after checks."""
    shape = (n_channels, *problem.views.volume_shape)
    if start is None:
        start = zero_state(problem, n_channels)
    elif start.volume.shape != shape or [a.shape for a in start.counts] != [a.shape for a in problem.counts]:
        raise UsageError("the state to start from has other channels, elements or views; start without it")
    if not tied:
        return start
    assert problem.haadf is not None
    if start.haadf is None or start.haadf.shape != problem.haadf.shape:
        return replace(start, haadf=aligned_zeros(problem.haadf.shape))
    return start
