"""Validation of arguments that all solvers share."""

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
    """Validate the arguments of a reconstruction.

    Parameters
    ----------
    name : str
        Name of the method, for the message.
    projector : Projector
        The geometry of the views.
    shape : tuple of int
        Shape of the sinogram.
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
        or the shape of the sinogram differs from that of the projector.
    """
    check_iterations(name, iterations)
    if not 0 < relaxation < 2:
        raise UsageError(f"{name} diverges with a relaxation of {relaxation:g}; use one between 0 and 2")
    if not lower <= upper:
        raise UsageError(f"no density lies between {lower:g} and {upper:g}; the lower bound comes first")
    if shape != projector.range_shape:
        raise UsageError(f"the sinogram has the shape {shape}; {projector.range_shape} is needed")


def check_iterations(name: str, iterations: int) -> None:
    """Check that there is at least one iteration.

    Parameters
    ----------
    name : str
        Name of the method, for the message.
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
    """Check that an array has the expected shape, or that of one slice for all slices.

    Parameters
    ----------
    name : str
        Name of the array, for the message.
    shape, expected : tuple of int
        Shape of the array, and the expected one.

    Raises
    ------
    UsageError
        When the array has neither shape.
    """
    if shape not in (expected, (*expected[:-1], 1)):
        raise UsageError(f"the {name} has the shape {shape}; {expected} is needed, or 1 for the last number")
