"""One iteration of the joint reconstruction, divided among threads."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from etcli.core.fusion import _gradient, _likelihood
from etcli.core.fusion.problem import FusionProblem
from etcli.core.fusion.slab_views import SlabViews
from etcli.core.fusion.step_sizes import StepSizes
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import aligned_empty

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Zeros = Callable[[tuple[int, ...]], Array]

RELAX = np.float32(1.9)
"""Over-relaxation: how far variables move towards their new values. It nearly halves the iterations; below 2
the method converges."""
BLOCKS = 4
"""Parts of the volume for each thread: several, so that threads that are done first take over."""


@dataclass(frozen=True, eq=False)
class FusionState:
    """Variables of a reconstruction, from which another one can go on; `solve` changes them in place.

    Parameters
    ----------
    volume, ahead : ndarray of shape (channel, z, x, y), float32
        Volumes, and the same extrapolated; y is rounded up to whole slabs.
    gradient : ndarray of shape (channel, 3, z, x, y), float32
        Dual variable of the prior.
    counts : tuple of ndarray of shape (slab, view, x, slice), float32
        Dual variable of each element's counts.
    haadf : ndarray of shape (slab, view, x, slice), float32, or None
        Dual variable of HAADF.
    """

    volume: Array
    ahead: Array
    gradient: Array
    counts: tuple[Array, ...]
    haadf: Array | None = None

    def copy(self) -> "FusionState":
        """Return a copy, for a second reconstruction from the same start."""
        haadf = None if self.haadf is None else self.haadf.copy()
        arrays = (self.volume.copy(), self.ahead.copy(), self.gradient.copy())
        return FusionState(*arrays, tuple(each.copy() for each in self.counts), haadf)


def aligned_zeros(shape: tuple[int, ...]) -> Array:
    """Return zeros that start on a cache line."""
    array = aligned_empty(shape)
    array[...] = 0
    return array


def zero_state(problem: FusionProblem, n_channels: int, zeros: Zeros = aligned_zeros) -> FusionState:
    """Return the state to start from without any knowledge, HAADF left out.

    Parameters
    ----------
    problem : FusionProblem
    n_channels : int
        Number of volumes.
    zeros : callable
        ``zeros(shape)`` creates the arrays of the size of the volume.
    """
    nz, nx, ny = problem.views.volume_shape
    volume, ahead = (zeros((n_channels, nz, nx, ny)) for _ in range(2))
    gradient = zeros((n_channels, _gradient.DIRECTIONS, nz, nx, ny))
    return FusionState(volume, ahead, gradient, tuple(aligned_zeros(y.shape) for y in problem.counts))


class FusionIteration:
    """One iteration of the primal-dual method, divided among threads."""

    def __init__(
        self,
        problem: FusionProblem,
        steps: StepSizes,
        state: FusionState,
        scales: Float,
        joint: NDArray[np.intp],
        *,
        nuclear: bool,
        haadf_weights: Float,
        haadf_constant: float | Float,
        curvature: float,
        zeros: Zeros = aligned_zeros,
    ) -> None:
        self.state = state
        self._problem, self._steps, self._joint, self._nuclear = problem, steps, joint, nuclear
        self._haadf_weights = haadf_weights
        n_channels, nz = state.volume.shape[:2]
        self._back = zeros(state.volume.shape)
        self._seen = zeros(state.volume.shape) if problem.views.blur else None
        tied = steps.haadf > 0
        self._shared = aligned_zeros(state.volume.shape[1:]) if tied else self._back[0]
        self._share = haadf_weights / steps.haadf_norm if tied else np.zeros(n_channels)
        views = problem.views
        self._rate = (views.norm * np.outer(scales, problem.gains)).astype(np.float32)
        self._offset = problem.background.astype(np.float32)
        edges = np.linspace(0, nz, min(nz, BLOCKS * problem.threads) + 1).astype(int)
        self._parts = [(int(low), int(high)) for low, high in pairwise(edges)]
        self._alone = [c for c in range(n_channels) if c not in joint]
        if tied and problem.haadf_views is not None:
            n = problem.haadf_views.geometry.n_views
            self._constant = np.broadcast_to(np.asarray(haadf_constant, np.float32), (n,)).copy()
            self._shrink = 1 / (1 + steps.haadf / (curvature * steps.haadf_norm**2))

    def run(self) -> float:
        """Update the state; return the norm of the change, relative to that of the volumes."""
        threads, channels = self._problem.threads, range(len(self.state.volume))
        self._blur(self.state.ahead)
        _run(self._ascents(), threads)
        self._blur(self._back)
        sums = _run([partial(self._descend, c, *part) for c in channels for part in self._parts], threads)
        change, size = np.array(sums).sum(axis=0)
        return sqrt(change / size) if size else 0.0

    def _blur(self, volumes: Array) -> None:
        """Blur volumes of the elements where their views do."""
        if self._seen is not None:
            views, pairs = self._problem.views, zip(volumes, self._seen, strict=True)
            _run([partial(views.seen, one, out) for one, out in pairs], self._problem.threads)

    def _ascents(self) -> list[Callable[[], object]]:
        """Return the steps of all dual variables, which are independent; the longest first."""
        problem, tasks = self._problem, list[Callable[[], object]]()
        slabs = range(problem.views.n_slabs)
        if self._steps.haadf > 0 and problem.haadf_views is not None:
            tasks += [partial(self._fit_haadf, problem.haadf_views, k) for k in slabs]
        tasks += [partial(self._fit_counts, c, k) for c in range(problem.n_elements) for k in slabs]
        if self._joint.size:
            tasks += [partial(self._ascend_jointly, *part) for part in self._parts]
        return tasks + [partial(self._ascend_alone, c, *part) for c in self._alone for part in self._parts]

    def _fit_counts(self, c: int, k: int) -> None:
        """Step up the dual variable of an element's counts in a slab, and back-project it, not normalised."""
        views, dual = self._problem.views, self.state.counts[c][k]
        volume = self.state.ahead[c] if self._seen is None else self._seen[c]
        projected = views.projector.forward(views.slab_of(volume, k))
        _likelihood.ascend_counts(
            _flat(dual), _flat(projected), _flat(self._problem.counts[c][k]),
            self._rate[c], self._offset[c], np.float32(self._steps.counts[c]), np.float32(1 / views.norm),
            RELAX,
        )  # fmt: skip
        self._back_project(views, k, dual, self._back[c])

    def _fit_haadf(self, views: SlabViews, k: int) -> None:
        """Step up the dual variable of HAADF in a slab, and back-project it."""
        assert self.state.haadf is not None and self._problem.haadf is not None
        dual, norm = self.state.haadf[k], self._steps.haadf_norm
        total = aligned_empty(views.projector.domain_shape)
        _likelihood.weighted_sum(
            self.state.ahead, self._haadf_weights.astype(np.float32), k * views.width, total
        )
        projected = views.projector.forward(total)
        _likelihood.ascend_images(
            _flat(dual), _flat(projected), _flat(self._problem.haadf[k]), self._constant,
            np.float32(self._steps.haadf / norm), np.float32(self._shrink), RELAX,
        )  # fmt: skip
        self._back_project(views, k, dual, self._shared)

    def _back_project(self, views: SlabViews, k: int, dual: Array, out: Array) -> None:
        """Back-project a slab into its rows of a volume."""
        if views.n_slabs == 1:
            views.projector.adjoint(dual, out=out)
        else:
            out[..., k * views.width : (k + 1) * views.width] = views.projector.adjoint(dual)

    def _ascend_jointly(self, z0: int, z1: int) -> None:
        """Step up the dual variable of the joint prior in some sections."""
        steps = self._steps
        _gradient.ascend_jointly(
            self.state.ahead, self.state.gradient, self._joint,
            (steps.gradient * steps.scale)[self._joint].astype(np.float32),
            np.float32(steps.radius[self._joint[0]]), RELAX, self._nuclear,
            z0, z1, self._problem.views.n_rows - 1,
        )  # fmt: skip

    def _ascend_alone(self, c: int, z0: int, z1: int) -> None:
        """Step up the dual variable of one channel's total variation in some sections."""
        steps = self._steps
        _gradient.ascend_alone(
            self.state.ahead[c : c + 1], self.state.gradient[c : c + 1],
            np.float32(steps.gradient[c] * steps.scale[c]), np.float32(steps.radius[c]), RELAX,
            z0, z1, self._problem.views.n_rows - 1,
        )  # fmt: skip

    def _descend(self, c: int, z0: int, z1: int) -> tuple[float, float]:
        """Step a channel down in some sections."""
        state, steps = self.state, self._steps
        counted = 1 / self._problem.views.norm if c < self._problem.n_elements else 0.0
        back = self._back if self._seen is None else self._seen
        sums: tuple[float, float] = _gradient.descend(
            state.volume[c], state.ahead[c], back[c], np.float32(counted),
            self._shared, np.float32(self._share[c]), state.gradient[c], np.float32(steps.scale[c]),
            np.float32(steps.volume[c]), RELAX, z0, z1, self._problem.views.n_rows - 1,
        )  # fmt: skip
        return sums


def _flat(views: Array) -> Array:
    """Return views as one row each."""
    return views.reshape(len(views), -1)


def _run(tasks: Sequence[Callable[[], object]], threads: int) -> list[object]:
    """Run independent tasks; a thread that is done takes the next one. Return results in order of tasks."""
    results: list[object] = [None] * len(tasks)
    waiting = deque(enumerate(tasks))

    def work(_: int) -> None:
        while True:
            try:
                k, task = waiting.popleft()
            except IndexError:
                return
            results[k] = task()

    for _ in ordered_map(work, range(threads), threads=threads):
        pass
    return results
