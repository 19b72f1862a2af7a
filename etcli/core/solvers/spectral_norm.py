"""The largest eigenvalue of AᵀA, which limits the step of gradient methods."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.projectors import Projector

STEPS = 5
"""Enough for 0.3 %: the largest eigenvalue, of an almost uniform volume, is far from the others."""
MARGIN = 1.02
"""On the eigenvalue, which the power method approaches from below."""


def squared_norm(projector: Projector, *, mask: NDArray[np.bool_] | None = None, steps: int = STEPS) -> float:
    """Return the squared norm of a projection, the largest eigenvalue of AᵀA.

    Parameters
    ----------
    projector : Projector
        A.
    mask : ndarray of bool, optional
        Voxels that may differ from zero, of the shape of the volume or of 1 slice for all.
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
    inside = np.ones(1, np.bool_) if mask is None else mask
    vector = np.multiply(inside, np.ones(projector.domain_shape, np.float32))
    eigenvalue = 1.0
    for _ in range(steps):
        vector /= eigenvalue
        projector.adjoint(projector.forward(vector), out=vector)
        vector *= inside
        eigenvalue = float(np.linalg.norm(vector))
        if eigenvalue == 0:
            raise DataError("no ray meets the volume; is it too thin, or the axis offset too large?")
    return MARGIN * eigenvalue
