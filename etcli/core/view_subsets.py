"""Subsets of views: the views left out for cross-validation, and the two halves of a series."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EVERY = 6
FEWEST_VIEWS = 8
"""Smallest number of views of which every sixth can be left out."""
FEWEST_IN_TURN = 4
"""Smallest number of views of which one can be left out."""

ViewIndices = NDArray[np.intp]


def every_sixth(tilt_deg: NDArray[np.float64]) -> ViewIndices:
    """Return the indices of every sixth view in the order of tilt, ascending, counted from 0."""
    return np.sort(np.argsort(tilt_deg, kind="stable")[EVERY // 2 :: EVERY])


def left_out_in_turn(tilt_deg: NDArray[np.float64]) -> list[ViewIndices]:
    """Return the sets of views that are left out one after the other for cross-validation.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles; at least `FEWEST_IN_TURN`.

    Returns
    -------
    list of ndarray of intp
        Every sixth view in one set, if there are enough of them for that. Otherwise each view between the
        first and the last tilt angle on its own: one view alone would decide by chance, and the outermost
        views cannot be predicted by interpolation.
    """
    if len(tilt_deg) >= FEWEST_VIEWS:
        return [every_sixth(tilt_deg)]
    return [np.array([view]) for view in np.argsort(tilt_deg, kind="stable")[1:-1]]


def halves(
    tilt_deg: NDArray[np.float64], groups: Sequence[Sequence[int]] | None = None
) -> tuple[ViewIndices, ViewIndices]:
    """Return the indices of the odd and of the even views in the order of tilt, ascending, counted from 0.

    Parameters
    ----------
    tilt_deg : ndarray of shape (n_views,), float64
        Tilt angles.
    groups : sequence of sequence of int, optional
        Views that stay together; by default each view is on its own.

    Returns
    -------
    (ndarray of intp, ndarray of intp)
    """
    members = [np.asarray(group, np.intp) for group in groups or np.arange(len(tilt_deg))[:, np.newaxis]]
    order = np.argsort([tilt_deg[group[0]] for group in members], kind="stable")
    odd, even = (np.sort(np.concatenate([members[k] for k in order[first::2]])) for first in (0, 1))
    return odd, even
