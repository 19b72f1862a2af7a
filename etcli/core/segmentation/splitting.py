"""Splitting of touching bodies at their necks: watershed of the distance to the surface."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.segmentation.distance import distance_inside
from etcli.core.segmentation.pieces import Labels, Mask, neighbour_offsets

SLAB = 4
"""Sections whose neighbouring voxels are listed at once: in all of a volume they need more than it does."""


@dataclass(frozen=True, eq=False)
class Cuts:
    """The necks at which labels were parted.

    Parameters
    ----------
    labels : ndarray of shape (n, 2), int32
        The two labels at each cut, the smaller number first.
    saddle_px : ndarray of shape (n,), float32
        Largest distance to the surface on the cut: about the radius of the neck.
    ratio : ndarray of shape (n,), float64
        This distance over the largest one in the smaller of the two bodies; near 1 a cut is doubtful.
    """

    labels: NDArray[np.int32]
    saddle_px: NDArray[np.float32]
    ratio: NDArray[np.float64]


def split(
    mask: Mask, dynamics_px: float, *, faces: bool = False, threads: int = 1
) -> tuple[Labels, NDArray[np.float32]]:
    """Part bodies that touch, by a watershed of the distance to the surface.

    Parameters
    ----------
    mask : ndarray of shape (nz, ny, nx), bool
    dynamics_px : float
        Least height of a maximum of the distance over the neck to a higher one, in voxels, for which it is
        a body of its own. Digitisation and noise make maxima of about half a voxel.
    faces : bool
        Whether only voxels that share a face are neighbours.
    threads : int

    Returns
    -------
    labels : ndarray of shape (nz, ny, nx), int32
        Every piece of the mask has one label at least.
    distance : ndarray of shape (nz, ny, nx), float32
        The distance to the surface.

    Notes
    -----
    Voxels are visited by falling distance. Each joins the neighbour to which the distance rises most
    steeply; where two basins meet, they are joined if the lower of their maxima is at most `dynamics_px`
    above the distance there. This is the watershed from the maxima of dynamics above `dynamics_px`, without
    a morphological reconstruction.

    References
    ----------
    Grimaud, Proc. SPIE 1769, 292 (1992): dynamics of extrema.
    Najman & Schmitt, IEEE Trans. Pattern Anal. Mach. Intell. 18, 1163 (1996): watersheds by dynamics.
    """
    from etcli.core.segmentation._components import renumber
    from etcli.core.segmentation._watershed import by_falling_distance, final_numbers, flood

    distance = distance_inside(mask, threads=threads)
    if np.isinf(distance.flat[0]):  # all of the volume is solid: nothing to part
        return mask.astype(np.int32), distance
    basins = np.zeros(mask.shape, np.int32)
    order = by_falling_distance(distance)
    parent = flood(distance, order, neighbour_offsets(faces=faces), np.float32(dynamics_px), basins)
    renumber(basins, final_numbers(parent))
    return basins, distance


def cuts(labels: Labels, distance: NDArray[Any]) -> Cuts:
    """Describe the necks between labels that touch.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int32
    distance : ndarray of shape (nz, ny, nx), float32
        Distance to the surface of the solid, as from `split`.

    Returns
    -------
    Cuts
        By falling ratio.
    """
    from etcli.core.segmentation._watershed import contacts

    offsets = neighbour_offsets(faces=False)
    after = np.ascontiguousarray(offsets[len(offsets) // 2 :])
    n = int(labels.max(initial=0)) + 1
    unique, saddle = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for start in range(0, len(labels), SLAB):
        slab = slice(start, start + SLAB + 1)  # with the next section, which `after` reaches
        pairs, depths = contacts(labels[slab], distance[slab], after)
        keys, depths = np.concatenate([unique, pairs @ [n, 1]]), np.concatenate([saddle, depths])
        del pairs
        unique, index = np.unique(keys, return_inverse=True)
        saddle = np.zeros(len(unique), np.float32)
        np.maximum.at(saddle, index, depths)
    both = np.stack(np.divmod(unique, n), axis=1).astype(np.int32)
    peaks = np.zeros(n, np.float32)
    for section, depths in zip(labels, distance, strict=True):
        np.maximum.at(peaks, section.ravel(), depths.ravel())
    ratio = saddle / peaks[both].min(axis=1).astype(np.float64)
    order = np.argsort(-ratio, kind="stable")
    return Cuts(both[order], saddle[order], ratio[order])
