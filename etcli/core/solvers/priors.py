"""What a volume may be expected to be like: priors of `etcli.core.solvers.fista`."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.total_variation import TotalVariation, Zeros, in_memory

Array = NDArray[np.float32]

HELD = {"tv": 9, "l1": 3, "none": 3}
"""Arrays of the size of the volume that a reconstruction with each prior holds."""


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
    zeros: Zeros = in_memory,
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
    zeros : callable
        ``zeros(shape)`` makes arrays of the size of the volume.

    Returns
    -------
    Prior

    Raises
    ------
    UsageError
        If there is no such prior, or no density within the bounds.
    """
    if not lower <= upper:
        raise UsageError(f"no density lies between {lower:g} and {upper:g}; the lower bound comes first")
    if name == "tv":
        return TotalVariation(shape, lower=lower, upper=upper, threads=threads, zeros=zeros)
    if name not in HELD:
        raise UsageError(f"no prior named {name!r}; use one of {', '.join(HELD)}")
    return (Sparsity if name == "l1" else Bounds)(lower, upper)


def prior_of(
    parameters: MethodParameters,
    shape: tuple[int, int, int],
    *,
    threads: int = 1,
    zeros: Zeros = in_memory,
) -> Prior:
    """Prior of a method's parameters, bounds included, for volumes of a shape; see `make_prior`."""
    bounds = {"lower": parameters.lower, "upper": parameters.upper}
    return make_prior(parameters.prior, shape, **bounds, threads=threads, zeros=zeros)
