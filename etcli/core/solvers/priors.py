"""Priors on the volume for `etcli.core.solvers.fista`: total variation, sparsity, bounds."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.total_variation import TotalVariation, Zeros, in_memory

Array = NDArray[np.float32]

HELD = {"tv": 9, "l1": 3, "none": 3}
"""Number of arrays of the size of the volume that a reconstruction with each prior holds."""


class Prior(Protocol):
    """Prior on the volume, given by its proximal map."""

    state: Array | None
    """What a minimisation starts from, other than the volume; None if nothing."""

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Replace u₀ by the u that minimises ``½ ‖u - u₀‖² + weight prior(u)``."""


class Bounds:
    """Prior that only limits the densities to an interval."""

    def __init__(self, lower: float = -np.inf, upper: float = np.inf) -> None:
        self._bounds = lower, upper
        self.state: Array | None = None

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Clip to the bounds."""
        np.clip(volume, *self._bounds, out=volume)


class Sparsity(Bounds):
    """Sparsity prior Σ |x| within bounds, for volumes in which most voxels are empty."""

    def minimise(self, volume: Array, weight: float, *, iterations: int) -> None:
        """Move every density towards zero by the weight (soft thresholding), then clip to the bounds."""
        for section in volume:  # one at a time, to keep the temporary array small
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
    """Create a prior by name.

    Parameters
    ----------
    name : {"tv", "l1", "none"}
        Total variation, sparsity, or bounds only.
    shape : (int, int, int)
        Shape of the volume.
    lower, upper : float
        Bounds of the density.
    threads : int
        Number of threads.
    zeros : callable
        ``zeros(shape)`` creates arrays of the size of the volume.

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
    """Create the prior that the parameters of a method describe, bounds included; see `make_prior`."""
    bounds = {"lower": parameters.lower, "upper": parameters.upper}
    return make_prior(parameters.prior, shape, **bounds, threads=threads, zeros=zeros)
