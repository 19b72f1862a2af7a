"""Number of vertices of surfaces before they are found, to tell the memory that they need."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def count_vertices(sections: Iterable[NDArray[np.integer] | NDArray[np.bool_]]) -> int:
    """Count the vertices of the closed surfaces of labels, or of a mask: one between two unlike voxels.

    Parameters
    ----------
    sections : iterable of ndarray of shape (ny, nx)
        Labels, 0 the background; what is outside has none. Where two labels touch, each has its vertex.

    Returns
    -------
    int
    """
    n = 0
    before: NDArray[np.integer] | NDArray[np.bool_] | None = None
    for section in sections:
        around = np.pad(section, 1)
        n += _vertices(around[1:], around[:-1]) + _vertices(around[:, 1:], around[:, :-1])
        n += _vertices(section, np.zeros_like(section) if before is None else before)
        before = section
    return n + (0 if before is None else int(np.count_nonzero(before)))


def _vertices(one: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    """Count the labelled voxels in unlike pairs."""
    unlike = one != other
    return int(np.count_nonzero(one[unlike])) + int(np.count_nonzero(other[unlike]))
