"""Connected pieces: labels by falling volume, small ones, holes, pieces at the border."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]


def neighbour_offsets(*, faces: bool) -> NDArray[np.int64]:
    """Offsets (z, y, x) of the 6 neighbours that share a face with a voxel, or of all 26."""
    cube = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    steps = np.abs(cube).sum(axis=1)
    return np.ascontiguousarray(cube[steps == 1] if faces else cube[steps > 0])


def components(labels: NDArray[Any], *, faces: bool = False) -> tuple[Labels, int]:
    """Number the connected pieces of a mask, or of each label.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), bool or integer
        0 is the background.
    faces : bool
        Whether voxels are neighbours through faces only (6), as is usual for the background, and not
        through edges and corners as well (26), as for solids.

    Returns
    -------
    ndarray of shape (nz, ny, nx), int32
        From 1 on, in the order of the first voxel of each piece.
    int
        Number of pieces.
    """
    from etcli.core.segmentation._components import flattened, provisional, renumber

    offsets = neighbour_offsets(faces=faces)
    before = np.ascontiguousarray(offsets[: len(offsets) // 2])  # visited earlier, row by row
    numbers = np.empty(labels.shape, np.int32)
    final, count = flattened(provisional(np.ascontiguousarray(labels), before, numbers))
    renumber(numbers, final)
    return numbers, int(count)


def voxel_counts(labels: Labels) -> NDArray[np.int64]:
    """Count the voxels of each label; entry 0 is the background."""
    sections = (np.bincount(section.ravel()) for section in labels)
    total = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    for counts in sections:
        total[: len(counts)] += counts
    return total


def by_volume(labels: Labels, *, least: int = 1) -> tuple[Labels, int]:
    """Renumber labels by falling volume, and drop small ones.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int32
        Changed in place. Numbers that no voxel has are left out.
    least : int
        Smallest number of voxels that is kept.

    Returns
    -------
    ndarray of shape (nz, ny, nx), int32
        `labels`, numbered from 1; of equal volumes the smaller number comes first.
    int
        Number of labels dropped.
    """
    from etcli.core.segmentation._components import renumber

    counts = voxel_counts(labels)
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")
    kept = order[counts[order] >= max(least, 1)]
    final = np.zeros(len(counts), np.int32)
    final[kept] = np.arange(1, len(kept) + 1)
    renumber(labels, final)
    return labels, int(np.count_nonzero(counts) - len(kept))


def holes_of(mask: Mask) -> Mask:
    """Find the background that no path through faces joins to the border of the volume.

    Parameters
    ----------
    mask : ndarray of shape (nz, ny, nx), bool
        The solid.

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool
    """
    voids, count = components(~mask, faces=True)
    enclosed = np.ones(count + 1, bool)
    enclosed[0] = False
    enclosed[border_labels(voids)] = False
    return np.asarray(enclosed[voids])


def border_labels(labels: Labels) -> NDArray[np.int32]:
    """List the labels that a face of the volume cuts, the background excluded."""
    faces = [np.unique(labels.take(end, axis)) for axis in range(3) for end in (0, -1)]
    found = np.unique(np.concatenate(faces))
    return found[found > 0].astype(np.int32)
