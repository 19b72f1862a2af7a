"""The largest eigenvalue of AᵀA, which limits the step of gradient methods."""

import numpy as np

from etcli.core.errors import DataError
from etcli.core.projectors import Projector
from etcli.core.solvers.steps import norm

STEPS = 5
"""Enough for 0.3 %: the largest eigenvalue, of an almost uniform volume, is far from the others."""
MARGIN = 1.02
"""On the eigenvalue, which the power method approaches from below."""


def squared_norm(projector: Projector, *, steps: int = STEPS) -> float:
    """Return the squared norm of a projection, the largest eigenvalue of AᵀA.

    Parameters
    ----------
    projector : Projector
        A.
    steps : int
        Of the power method, from a uniform volume: as many forward and back-projections.

    Returns
    -------
    float
        2 % above what the steps lead to.

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
