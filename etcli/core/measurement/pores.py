"""Pores of a solid: closed ones, and open ones within an envelope."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.distance import distance_inside, nearest_label
from etcli.core.segmentation.local_half import local_half
from etcli.core.segmentation.pieces import Labels, by_volume, components, holes_of

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

LEAST_VOXELS = 20
"""Smaller pores cannot be told from noise."""
NEAR_PX = 1.8
"""Distance within which a voxel may join a label when the threshold falls: that of neighbours by a corner."""


@dataclass(frozen=True, eq=False)
class Pores:
    """Pores of a solid.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int32
        Pores by falling volume, from 1; 0 elsewhere.
    is_open : ndarray of shape (n,), bool
        Whether a path through voxel faces joins the pore to the outside.
    around, core : ndarray of shape (n,), float64
        Grey levels of the solid around each and in its core; its surface is half way between.
    envelope : ndarray of shape (nz, ny, nx), bool, or None
        The solid with all its pores; None when no envelope was asked for, so that open pores are unknown.
    n_small : int
        Number of pieces with fewer voxels than a pore.
    """

    labels: Labels
    is_open: Mask
    around: Doubles
    core: Doubles
    envelope: Mask | None
    n_small: int

    @property
    def threshold(self) -> Doubles:
        """Grey level of the surface of each."""
        return (self.around + self.core) / 2

    def __len__(self) -> int:
        return len(self.is_open)


def find_pores(
    volume: Array,
    solid: Mask,
    level: float,
    plateau: float,
    *,
    envelope_px: float | None = None,
    least: int = LEAST_VOXELS,
    threads: int = 1,
) -> Pores:
    """Find the pores of a solid.

    Closed pores are those that no path through voxel faces joins to the border of the volume; each one ends
    half way between its own grey level and that of the solid around it. Open pores are what is neither solid
    nor closed within the envelope.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Grey levels.
    solid : ndarray of shape (nz, ny, nx), bool
    level, plateau : float
        Grey levels at the surface and in the core of the solid.
    envelope_px : float, optional
        Radius in voxels of the ball that closes the envelope; without it only closed pores are found.
    least : int, optional
        Smallest number of voxels of a pore.
    threads : int, optional

    Returns
    -------
    Pores
    """
    holes = holes_of(solid)
    filled = solid | holes
    closed, n_small = by_volume(components(holes, faces=True)[0], least=least)
    # an outside of solid: bodies end where they were found to end, and their surroundings are no pore
    inverted = np.where(filled, -volume, np.float32(-plateau))
    closed, levels = local_half(inverted, closed, faces=True, threads=threads)
    n_closed = int(closed.max(initial=0))
    around, core = (-each[1 : n_closed + 1] for each in (levels.background, levels.plateau))
    if envelope_px is None:
        labels, envelope, n_open = closed, None, 0
    else:
        envelope = closed_envelope(filled, envelope_px, threads=threads)
        opened, n_more = by_volume(components(envelope & ~filled, faces=True)[0], least=least)
        n_open, n_small = int(opened.max(initial=0)), n_small + n_more
        labels = np.where(opened > 0, opened + n_closed, closed).astype(np.int32)
    return _by_volume(
        Pores(
            labels,
            np.arange(n_closed + n_open) >= n_closed,
            np.concatenate([around, np.full(n_open, plateau)]),
            np.concatenate([core, np.full(n_open, 2 * level - plateau)]),
            envelope,
            n_small,
        )
    )


def closed_envelope(filled: Mask, radius_px: float, *, threads: int = 1) -> Mask:
    """Close a solid with a ball: what no ball of that radius outside the solid reaches.

    Parameters
    ----------
    filled : ndarray of shape (nz, ny, nx), bool
        Solid without holes. Beyond the ends of the volume its outermost voxels go on.
    radius_px : float
        Radius of the ball; at least twice that of the mouths of pores is needed to close them.
    threads : int, optional

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool
        Contains the solid.
    """
    margin = ceil(radius_px) + 1
    wide = np.pad(filled, margin, mode="edge")
    near = distance_inside(~wide, threads=threads) <= radius_px
    reached = distance_inside(near, threads=threads) > radius_px
    inner = tuple(slice(margin, margin + n) for n in filled.shape)
    return np.asarray(reached[inner] | filled)


def solid_at(
    volume: Array, labels: Labels, threshold: Doubles, contrast: Doubles, share: float, *, threads: int = 1
) -> Mask:
    """Find the solid that another threshold would have given.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    labels : ndarray of shape (nz, ny, nx), int32
    threshold, contrast : ndarray of shape (n,), float64
        Grey level at the surface of each label, and core less background.
    share : float
        Change of the threshold, in units of the contrast.

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool
        Labels lose what is between both thresholds, or gain it in the voxels next to them.
    """
    owner, distance = nearest_label(labels, threads=threads)
    owner[distance > (NEAR_PX if share < 0 else 0)] = 0
    old, new = (
        np.concatenate([[np.inf], threshold + part * contrast]).astype(np.float32) for part in (0.0, share)
    )
    if share < 0:
        return np.asarray((labels > 0) | (volume > new[owner]))
    return np.asarray((labels > 0) & ((volume > new[owner]) | (volume <= old[owner])))


def changed_kind(pores: Pores, solid: Mask, *, threads: int = 1) -> Mask:
    """Tell which pores would be of the other kind, open or closed, in another solid.

    Parameters
    ----------
    pores : Pores
    solid : ndarray of shape (nz, ny, nx), bool
        The solid at another threshold, as `solid_at` finds it.
    threads : int, optional

    Returns
    -------
    ndarray of shape (n,), bool
        Judged at the deepest voxel of each pore; False where that is solid.
    """
    depth = distance_inside(pores.labels, threads=threads)
    inside = np.flatnonzero(pores.labels)
    owner = pores.labels.ravel()[inside]
    order = np.lexsort((depth.ravel()[inside], owner))
    deepest = inside[order[np.cumsum(np.bincount(owner)[1:]) - 1]]
    is_closed = holes_of(solid).ravel()[deepest]
    return np.asarray((is_closed == pores.is_open) & ~solid.ravel()[deepest])


def _by_volume(pores: Pores) -> Pores:
    """Number pores by falling volume, both kinds together, without those that have no voxel left."""
    counts = np.bincount(pores.labels.ravel(), minlength=len(pores) + 1)[1:]
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    final = np.zeros(len(pores) + 1, np.int32)
    final[order + 1] = np.arange(1, len(order) + 1)
    return replace(
        pores,
        labels=final[pores.labels],
        is_open=pores.is_open[order],
        around=pores.around[order],
        core=pores.core[order],
    )
