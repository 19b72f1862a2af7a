"""Nesterov's momentum for the volume of a descent method, and rules that restart it."""

from itertools import pairwise
from math import inf, sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.parallel import ordered_map
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]


class RestartRule(Protocol):
    """Rule that decides after each step whether to restart the momentum."""

    state: float
    """What the rule remembers from one step to the next; 0 if nothing."""

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Decide whether to restart.

        Parameters
        ----------
        volume, new, ahead : ndarray of one shape, float32
            x, x⁺ and v: the end of the last step, the end of this step, and its starting point.
        cost : float
            Square root of the misfit computed during the step.
        """


class GradientRestart:
    """Restart rule for steps that point against the momentum: (v - x⁺)·(x⁺ - x) > 0.

    Parameters
    ----------
    n_sections : int
        Number of sections of the volume, along its first axis.
    threads : int
        Number of parts of the volume processed at the same time.

    References
    ----------
    B. O'Donoghue, E. Candès, Found. Comput. Math. 15, 715 (2015), doi:10.1007/s10208-013-9150-3.
    """

    def __init__(self, n_sections: int, *, threads: int = 1) -> None:
        self._parts = _split_sections(n_sections, threads)
        self.state = 0.0

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Decide whether the step points against the momentum."""

        def part_product(part: slice) -> float:
            product: float = _turn(*(array[part].reshape(-1) for array in (volume, ahead, new)))
            return product

        return sum(ordered_map(part_product, self._parts, threads=len(self._parts))) > 0


class FunctionRestart:
    """Restart rule for steps with a higher cost than the step before, which are kept; steps use all views."""

    def __init__(self) -> None:
        self.state = inf

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Decide whether the cost has increased."""
        rising, self.state = cost > self.state, cost
        return rising


class Momentum:
    """Nesterov's extrapolation of the volume of a descent method.

    Parameters
    ----------
    n_sections : int
        Number of sections of the volume, along its first axis.
    restart : RestartRule, optional
        Rule that restarts the momentum; by default `GradientRestart`.
    threads : int
        Number of parts of the volume processed at the same time.

    Notes
    -----
    A step from v ends at x⁺, the previous one at x. The next step starts at x⁺ + β (x⁺ - x) with
    β = (t - 1)/t' and t' = (1 + √(1 + 4 t²))/2, where t is 1 at first and after a restart.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    """

    def __init__(self, n_sections: int, *, restart: RestartRule | None = None, threads: int = 1) -> None:
        self._parts = _split_sections(n_sections, threads)
        self._rule = restart or GradientRestart(n_sections, threads=threads)
        self._pace = 1.0

    @property
    def state(self) -> tuple[float, float]:
        """Pace of the momentum, and state of the rule that restarts it."""
        return self._pace, self._rule.state

    @state.setter
    def state(self, state: tuple[float, float]) -> None:
        self._pace, self._rule.state = state

    def restart(self) -> None:
        """Restart the momentum: forget all earlier steps."""
        self._pace = 1.0

    def look_ahead(self, volume: Array, new: Array, ahead: Array, *, cost: float = 0.0) -> None:
        """Replace v by the starting point of the next step.

        Parameters
        ----------
        volume, new : ndarray of one shape, float32
            x and x⁺, C-contiguous.
        ahead : ndarray of the same shape, float32
            v, overwritten.
        cost : float
            Square root of the misfit computed during the step, for rules that use it.
        """
        if self._rule(volume, new, ahead, cost):
            self.restart()
        next_pace = (1 + sqrt(1 + 4 * self._pace**2)) / 2
        momentum = np.float32((self._pace - 1) / next_pace)
        self._pace = next_pace

        def extrapolate_part(part: slice) -> None:
            _extrapolate(*(array[part].reshape(-1) for array in (volume, new, ahead)), momentum)

        for _ in ordered_map(extrapolate_part, self._parts, threads=len(self._parts)):
            pass


def _split_sections(n_sections: int, threads: int) -> list[slice]:
    """Divide the sections of a volume into one part per thread."""
    edges = np.linspace(0, n_sections, min(threads, n_sections) + 1).astype(int)
    return [slice(low, high) for low, high in pairwise(edges.tolist())]


@summing_step("turn", by_slice=False)
def _turn(volume: Any, ahead: Any, new: Any) -> Any:
    """Return (v - x⁺)·(x⁺ - x), summed in eight lanes for speed."""
    lanes = np.zeros(8)
    whole = new.size // 8 * 8
    for i in range(0, whole, 8):
        for j in range(8):
            lanes[j] += (ahead[i + j] - new[i + j]) * (new[i + j] - volume[i + j])
    for i in range(whole, new.size):
        lanes[0] += (ahead[i] - new[i]) * (new[i] - volume[i])
    return lanes.sum()


@step("extrapolate")
def _extrapolate(volume: Any, new: Any, ahead: Any, momentum: Any) -> None:
    """Set ``ahead`` to ``new + momentum (new - volume)``."""
    for i in range(new.size):
        ahead[i] = new[i] + momentum * (new[i] - volume[i])
