"""Grey levels of each label: of its core, of what lies around it, and of its surface half way between."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.distance import distance_inside, nearest_label
from etcli.core.segmentation.pieces import Labels

Array = NDArray[np.float32]

CORE_PX, CORE_SHARE = 3.0, 0.6
"""The core of a label is as deep as this, or as this share of its greatest depth."""
AROUND_PX = (4.0, 6.0)
"""Distance from labels at which the background is measured: beyond the blur of their surface."""
ENOUGH = 20  # voxels of background


@dataclass(frozen=True, eq=False)
class LocalLevels:
    """Grey levels of labels, by label; NaN where there is no such label, and at 0.

    Parameters
    ----------
    background : ndarray of shape (n + 1,), float64
        Median of what lies 4 to 6 voxels outside.
    plateau : ndarray of shape (n + 1,), float64
        Median of the core.
    threshold : ndarray of shape (n + 1,), float64
        Half way between the two.
    """

    background: NDArray[np.float64]
    plateau: NDArray[np.float64]

    @property
    def threshold(self) -> NDArray[np.float64]:
        """Level of the surface."""
        return (self.background + self.plateau) / 2


def local_levels(volume: Array, labels: Labels, *, threads: int = 1) -> LocalLevels:
    """Measure the grey levels of each label; they may be the labels of any program.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), integer
        0 is the background.
    threads : int

    Returns
    -------
    LocalLevels

    Notes
    -----
    The core are voxels at a depth of 3 voxels, or of 60 % of the greatest depth of the label if that is
    less. Where fewer than 20 voxels of background are nearest to a label, all background at that distance
    from labels is used.
    """
    n = int(labels.max(initial=0))
    background = _background(volume, *nearest_label(labels, threads=threads), n)
    (plateau,) = core_levels([volume], labels, threads=threads)
    background[np.isnan(plateau)] = np.nan
    return LocalLevels(background, plateau)


def core_levels(volumes: Iterable[Array], labels: Labels, *, threads: int = 1) -> list[NDArray[np.float64]]:
    """Measure the grey level in the core of each label, in several volumes of the same labels.

    Parameters
    ----------
    volumes : iterable of ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), integer
    threads : int

    Returns
    -------
    list of ndarray of shape (n + 1,), float64
        Medians by label of each volume, as the ``plateau`` of `local_levels`.
    """
    n = int(labels.max(initial=0))
    depth = distance_inside(labels, outside=True, threads=threads)
    deepest = np.zeros(n + 1, np.float32)
    for section, depths in zip(labels, depth, strict=True):
        np.maximum.at(deepest, section.ravel(), depths.ravel())
    limit = np.minimum(CORE_PX, CORE_SHARE * deepest.astype(np.float64)).astype(np.float32)
    core = labels > 0
    for inside, section, depths in zip(core, labels, depth, strict=True):
        inside &= depths >= limit[section]
    del depth
    owner = labels[core]
    return [_medians(volume[core], owner, n)[0] for volume in volumes]


def _background(volume: Array, nearest: Labels, distance: Array, n: int) -> NDArray[np.float64]:
    """Median around each label."""
    ring = (distance > AROUND_PX[0]) & (distance <= AROUND_PX[1])
    levels = volume[ring]
    background, counts = _medians(levels, nearest[ring], n)
    if len(levels):
        everywhere = np.median(levels)
    else:  # labels fill the volume: what is left of it, or nothing
        outside = volume[distance > 0]
        everywhere = np.median(outside) if len(outside) else np.float32(0)
    background[counts < ENOUGH] = everywhere
    background[0] = np.nan
    return background


def _medians(values: Array, labels: Labels, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Median of the values of each label, and their number."""
    order = np.lexsort((values, labels))
    values, counts = values[order], np.bincount(labels, minlength=n + 1)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    present = counts > 0
    lower = first + (np.maximum(counts, 1) - 1) // 2
    upper = first + counts // 2
    medians = np.full(n + 1, np.nan)
    medians[present] = (values[lower[present]].astype(np.float64) + values[upper[present]]) / 2
    medians[0] = np.nan
    return medians, counts
