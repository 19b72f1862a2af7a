"""Labels that each end half way between their own grey level and that of their surroundings."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.distance import grown_labels
from etcli.core.segmentation.local_levels import LocalLevels, local_levels
from etcli.core.segmentation.pieces import Labels, Mask, components

GROWTH_PX = 3
"""How far a label may grow beyond where it was found."""


def local_half(
    volume: NDArray[np.float32],
    labels: Labels,
    *,
    always: Mask | None = None,
    faces: bool = False,
    threads: int = 1,
) -> tuple[Labels, LocalLevels]:
    """Move the surface of each label to half of its own contrast.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), int32
        Labels as they were found with one threshold.
    always : ndarray of shape (nz, ny, nx), bool, optional
        Voxels that stay in their label whatever their level, such as filled holes.
    faces : bool
        Whether only voxels that share a face are neighbours.
    threads : int

    Returns
    -------
    ndarray of shape (nz, ny, nx), int32
        The same labels with other voxels: those above the label's threshold, in the label or nearer to it
        than to any other and within 3 voxels; of several pieces the one that holds most of the old label.
        Labels that are no brighter than their background are left out.
    LocalLevels
        Levels of the labels.
    """
    levels = local_levels(volume, labels, threads=threads)
    grown = grown_labels(labels, GROWTH_PX)
    is_brighter = levels.plateau > levels.background
    threshold = np.where(is_brighter, levels.threshold, np.inf).astype(np.float32)
    for z, section in enumerate(grown):
        above = volume[z] > threshold[section]
        if always is not None:
            above |= always[z] & is_brighter[labels[z]]
        section[~above] = 0
    return _main_pieces(grown, labels, faces=faces), levels


def _main_pieces(grown: Labels, labels: Labels, *, faces: bool) -> Labels:
    """Keep of each label the piece that holds most voxels of the old label, in place."""
    numbers, count = components(grown, faces=faces)
    owner = np.zeros(count + 1, np.int32)
    shared = np.zeros(count + 1, np.int64)  # voxels of a piece that were in its label before
    for piece, new, old in zip(numbers, grown, labels, strict=True):
        owner[piece] = new
        shared += np.bincount(piece[new == old], minlength=count + 1)
    owner[0] = shared[0] = 0
    order = np.lexsort((np.arange(count + 1), -shared, owner))  # the best piece of each label comes first
    best = np.zeros(int(owner.max(initial=0)) + 1, np.int32)
    found, first = np.unique(owner[order], return_index=True)
    best[found] = order[first]
    for piece, new in zip(numbers, grown, strict=True):
        new[best[new] != piece] = 0
    return grown
