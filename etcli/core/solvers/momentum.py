"""Nesterov's momentum of a descent on a volume, and the rules that start it again."""

from itertools import pairwise
from math import inf, sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.parallel import ordered_map
from etcli.core.solvers.steps import step, summing_step

Array = NDArray[np.float32]


class RestartRule(Protocol):
    """Decides after a step whether momentum carries it on."""

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Tell whether to start again.

        Parameters
        ----------
        volume, new, ahead : ndarray of one shape, float32
            x, x⁺ and v: where the last step ended, where this one did, and the point it was made from.
        cost : float
            Square root of the misfit that was met on the way.
        """


class GradientRestart:
    """Restart rule of steps that turn against the momentum: (v - x⁺)·(x⁺ - x) > 0.

    Parameters
    ----------
    n_sections : int
        Of the volume, along its first axis.
    threads : int
        Parts of the volume worked on at the same time.

    References
    ----------
    B. O'Donoghue, E. Candès, Found. Comput. Math. 15, 715 (2015), doi:10.1007/s10208-013-9150-3.
    """

    def __init__(self, n_sections: int, *, threads: int = 1) -> None:
        self._parts = _divided(n_sections, threads)

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Tell whether the step turns."""

        def work(part: slice) -> float:
            turn: float = _turn(*(array[part].reshape(-1) for array in (volume, ahead, new)))
            return turn

        return sum(ordered_map(work, self._parts, threads=len(self._parts))) > 0


class FunctionRestart:
    """Restart rule of sweeps whose cost is higher than that of the sweep before; the sweep itself is kept."""

    def __init__(self) -> None:
        self._last = inf

    def __call__(self, volume: Array, new: Array, ahead: Array, cost: float) -> bool:
        """Tell whether the cost has risen."""
        rising, self._last = cost > self._last, cost
        return rising


class Momentum:
    """Nesterov's extrapolation of a descent on a volume.

    Parameters
    ----------
    n_sections : int
        Of the volume, along its first axis.
    restart : RestartRule, optional
        What starts it again; by default a step that turns against it.
    threads : int
        Parts of the volume worked on at the same time.

    Notes
    -----
    A step from v leads to x⁺, the one before it to x. The next one starts at x⁺ + β (x⁺ - x) with
    β = (t - 1)/t' and t' = (1 + √(1 + 4 t²))/2, t being 1 at first and after a restart.

    References
    ----------
    A. Beck, M. Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), doi:10.1137/080716542.
    """

    def __init__(self, n_sections: int, *, restart: RestartRule | None = None, threads: int = 1) -> None:
        self._parts = _divided(n_sections, threads)
        self._rule = restart or GradientRestart(n_sections, threads=threads)
        self._pace = 1.0

    def restart(self) -> None:
        """Forget all steps."""
        self._pace = 1.0

    def look_ahead(self, volume: Array, new: Array, ahead: Array, *, cost: float = 0.0) -> None:
        """Replace v by where the next step starts.

        Parameters
        ----------
        volume, new : ndarray of one shape, float32
            x and x⁺, C-contiguous.
        ahead : ndarray of the same shape, float32
            v, overwritten.
        cost : float
            Square root of the misfit that was met on the way, for rules that look at it.
        """
        if self._rule(volume, new, ahead, cost):
            self.restart()
        longer = (1 + sqrt(1 + 4 * self._pace**2)) / 2
        momentum = np.float32((self._pace - 1) / longer)
        self._pace = longer

        def move(part: slice) -> None:
            _extrapolate(*(array[part].reshape(-1) for array in (volume, new, ahead)), momentum)

        for _ in ordered_map(move, self._parts, threads=len(self._parts)):
            pass


def _divided(n_sections: int, threads: int) -> list[slice]:
    """Divide the sections of a volume among threads."""
    edges = np.linspace(0, n_sections, min(threads, n_sections) + 1).astype(int)
    return [slice(low, high) for low, high in pairwise(edges.tolist())]


@summing_step("turn", by_slice=False)
def _turn(volume: Any, ahead: Any, new: Any) -> Any:
    """Return (v - x⁺)·(x⁺ - x), summed in eight lanes so that it is fast."""
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
