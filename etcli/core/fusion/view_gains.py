"""Gains of the views: the beam current and the shadow of the holder, which change from tilt to tilt."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]


def view_gains(counts: Sequence[Array], scales: Numbers, weights: Numbers, expected: Numbers) -> Numbers:
    """Find the gain of each view from what it should show in all.

    Parameters
    ----------
    counts : sequence of ndarray of shape (n_views, ny, nx)
        Maps of the elements.
    scales : ndarray of shape (n_elements,), float64
        Counts a voxel of density 1.
    weights : ndarray of shape (n_elements,), float64
        Signal of a voxel of density 1 of each element in `expected`.
    expected : ndarray of shape (n_views,), float64
        Sum over each view of that signal: of HAADF at the same tilt, or of projections.

    Returns
    -------
    ndarray of shape (n_views,), float64
        g_t ∝ Σ w_c y_ct / k_c over the expected signal, of mean 1; 1 for views of which nothing is expected.
    """
    sums = np.array([maps.sum(axis=(1, 2), dtype=np.float64) for maps in counts])
    seen = (weights / scales) @ sums
    usable = expected > 0
    gains: Numbers = np.divide(seen, expected, out=np.ones_like(seen), where=usable)
    gains[usable] /= gains[usable].mean()
    return gains
