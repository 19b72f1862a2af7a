"""Exact Euclidean distances in masks and labels, in voxels from centre to centre."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.parallel import ordered_map

SLABS_PER_THREAD = 4


def distance_inside(labels: NDArray[Any], *, outside: bool = False, threads: int = 1) -> NDArray[np.float32]:
    """Distance from each voxel of a label to the nearest voxel that does not belong to that label.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), bool or integer
        A mask, or labels; 0 is the background.
    outside : bool
        Whether what lies outside the array belongs to no label; otherwise nothing is known of it, and the
        borders of the array are no surfaces.
    threads : int

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        In voxels: 1 where a face neighbour is something else; 0 in the background; infinite where a label
        fills the whole array.

    References
    ----------
    Felzenszwalb & Huttenlocher, Theory Comput. 8, 415 (2012): lower envelopes of parabolas.
    """
    from etcli.core.segmentation._distance import squared_along_columns, squared_along_rows

    values = np.ascontiguousarray(labels).view(np.uint8) if labels.dtype == bool else labels
    squared = np.empty(labels.shape, np.float32)
    _by_slabs(lambda one, two: squared_along_rows(one, two, outside), values, squared, threads)
    _by_slabs(lambda one, two: squared_along_columns(one, two, outside), values, squared, threads)
    turned = values.swapaxes(0, 1), squared.swapaxes(0, 1)
    _by_slabs(lambda one, two: squared_along_columns(one, two, outside), *turned, threads)
    return np.sqrt(squared, out=squared)


def nearest_label(labels: NDArray[Any], *, threads: int = 1) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Label of the nearest voxel that has one, and how far away that voxel is.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), integer
        0 is the background.
    threads : int

    Returns
    -------
    nearest : ndarray of shape (nz, ny, nx), type of `labels`
        0 only where there is no label at all.
    distance : ndarray of shape (nz, ny, nx), float32
        In voxels; 0 in labels, infinite where there is no label at all.
    """
    from etcli.core.segmentation._distance import nearest_along_columns

    owner = np.array(labels, order="C")
    squared = np.where(owner != 0, np.float32(0), np.float32(np.inf))
    for axes in ((0, 2, 1), (0, 1, 2), (1, 0, 2)):
        _by_slabs(nearest_along_columns, owner.transpose(axes), squared.transpose(axes), threads)
    return owner, np.sqrt(squared, out=squared)


def grown_labels(labels: NDArray[Any], reach: int) -> NDArray[Any]:
    """Give the background within reach of a label to the nearest label.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), integer
        0 is the background.
    reach : int
        Largest distance of the centres of voxels, at most 15.

    Returns
    -------
    ndarray of shape (nz, ny, nx), type of `labels`
        0 out of reach. As `nearest_label`, but faster, and with less memory.
    """
    from etcli.core.segmentation._distance import grow

    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    squares = (steps**2).sum(1)
    near = (squares <= reach**2) & (squares > 0)
    owner = labels.copy()
    nearest = np.where(owner == 0, np.uint8(255), np.uint8(0))
    grow(labels, steps[near].astype(np.int64), squares[near].astype(np.int64), owner, nearest)
    return owner


def _by_slabs(kernel: Callable[..., None], one: NDArray[Any], two: NDArray[Any], threads: int) -> None:
    """Run a kernel on slabs along the first axis of two arrays."""
    n = len(one)
    edges = np.linspace(0, n, min(n, SLABS_PER_THREAD * threads) + 1).astype(int)
    slabs = [slice(start, stop) for start, stop in pairwise(edges)]
    for _ in ordered_map(lambda slab: kernel(one[slab], two[slab]), slabs, threads=threads):
        pass
