"""The largest eigenvalue of AᵀA, which limits the step of gradient methods."""

import numpy as np

from etcli.core.errors import DataError
from etcli.core.projectors import Projector
from etcli.core.solvers.steps import norm

STEPS = 5
"""Enough for 0.3 %: the largest eigenvalue, whose eigenvector is nearly uniform, is well separated."""
MARGIN = 1.02
"""Safety factor of the eigenvalue, which the power method approaches from below."""


def squared_norm(projector: Projector, *, steps: int = STEPS) -> float:
    """Estimate the squared norm of a projection, the largest eigenvalue of AᵀA.

    Parameters
    ----------
    projector : Projector
        A.
    steps : int
        Iterations of the power method, from a uniform volume, each with a forward and a back-projection.

    Returns
    -------
    float
        2 % above the result of the power method.

    Raises
    ------
    DataError
        When no ray meets the volume.
    """
    vector = projector.device.put(np.ones(projector.domain_shape, np.float32))
    eigenvalue = 1.0
    for _ in range(steps):
        vector /= eigenvalue
        projector.adjoint(projector.forward(vector), out=vector)
        eigenvalue = norm(vector)
        if eigenvalue == 0:
            raise DataError("no ray meets the volume; is it too thin, or the axis offset too large?")
    return MARGIN * eigenvalue
