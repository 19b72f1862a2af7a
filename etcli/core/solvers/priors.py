"""What a volume may be expected to be like: priors of `etcli.core.solvers.regularised`."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.solvers.total_variation import TotalVariation

Array = NDArray[np.float32]

VOLUMES = {"tv": 11, "l1": 5, "none": 5}
"""Arrays of the size of the volume that a reconstruction with each prior has at once."""


class Prior(Protocol):
    """What a volume should be like."""

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Replace u₀ by the u that minimises ``½ ‖u - u₀‖² + weight prior(u)``."""


class Bounds:
    """Nothing but bounds: densities between two numbers."""

    def __init__(self, lower: float = -np.inf, upper: float = np.inf) -> None:
        self._bounds = lower, upper

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Clip to the bounds."""
        np.clip(volume, *self._bounds, out=volume)


class Sparsity(Bounds):
    """Σ |x|, within bounds: most voxels are empty."""

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Bring every density nearer to zero."""
        for section in volume:  # one at a time: what is clipped is a small array
            section -= np.clip(section, -weight, weight)
        super().minimise(volume, weight, iterations=iterations)


def make_prior(
    name: str,
    shape: tuple[int, int, int],
    *,
    lower: float = -np.inf,
    upper: float = np.inf,
    threads: int = 1,
) -> Prior:
    """Return a prior by name.

    Parameters
    ----------
    name : {"tv", "l1", "none"}
        Total variation, sparsity, or nothing but the bounds.
    shape : (int, int, int)
        Of the volume.
    lower, upper : float
        Bounds of the density.
    threads : int
        Threads to work with.

    Returns
    -------
    Prior

    Raises
    ------
    UsageError
        If there is no such prior.
    """
    if name == "tv":
        return TotalVariation(shape, lower=lower, upper=upper, threads=threads)
    if name not in VOLUMES:
        raise UsageError(f"no prior named {name!r}; use one of {', '.join(VOLUMES)}")
    return (Sparsity if name == "l1" else Bounds)(lower, upper)
