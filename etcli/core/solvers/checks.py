"""What all solvers refuse, in the same words."""

import numpy as np

from etcli.core.errors import UsageError
from etcli.core.projectors import Projector


def check_request(
    name: str,
    projector: Projector,
    shape: tuple[int, ...],
    *,
    iterations: int,
    relaxation: float = 1.0,
    lower: float = -np.inf,
    upper: float = np.inf,
) -> None:
    """Refuse a reconstruction that cannot be meant.

    Parameters
    ----------
    name : str
        What the method is called.
    projector : Projector
        The geometry of the views.
    shape : tuple of int
        Of the sinogram.
    iterations : int
        Sweeps over all views.
    relaxation : float
        Factor of a correction.
    lower, upper : float
        Bounds of the density.

    Raises
    ------
    UsageError
        When there are no iterations, the relaxation is not between 0 and 2, the bounds exclude all densities
        or the sinogram has another shape than the projector gives.
    """
    check_iterations(name, iterations)
    if not 0 < relaxation < 2:
        raise UsageError(f"{name} diverges with a relaxation of {relaxation:g}; use one between 0 and 2")
    if not lower <= upper:
        raise UsageError(f"no density lies between {lower:g} and {upper:g}; the lower bound comes first")
    if shape != projector.range_shape:
        raise UsageError(f"the sinogram has the shape {shape}; {projector.range_shape} is needed")


def check_iterations(name: str, iterations: int) -> None:
    """Refuse a method without iterations.

    Parameters
    ----------
    name : str
        What the method is called.
    iterations : int
        Sweeps over all views.

    Raises
    ------
    UsageError
        When there are none.
    """
    if iterations < 1:
        raise UsageError(f"{name} needs at least one iteration, not {iterations}")


def check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Refuse an array that has neither the expected shape nor that of one slice for all.

    Parameters
    ----------
    name : str
        What the array is, for the message.
    shape, expected : tuple of int
        Its shape, and the one it should have.

    Raises
    ------
    UsageError
        When it has not.
    """
    if shape not in (expected, (*expected[:-1], 1)):
        raise UsageError(f"the {name} has the shape {shape}; {expected} is needed, or 1 for the last number")
