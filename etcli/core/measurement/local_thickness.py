"""Local thickness: the diameter of the largest ball inside a body that covers a point."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.measurement._local_thickness import (
    drop_contained,
    mark_ridge,
    paint_balls,
    spread,
    walk_uphill,
)
from etcli.core.measurement._nearest_crossing import nearest_across_rows, nearest_in_rows
from etcli.core.measurement.chunks import in_chunks

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

RIDGE_SLOPE = 0.85
"""A voxel is no centre where a neighbour's ball is larger by this share of their distance; 1 would drop only
balls that are contained exactly. Uphill, the best of 26 neighbours gains at least 0.89 of its distance."""
STEPS = np.repeat([1 / 2, 1 / 4, 1 / 8, 1 / 16], 2)
"""Steps in voxels by which a centre is moved off the grid."""
MARGIN = 0.5
"""A ball covers voxels whose centre is within its radius and this margin, in voxels: those that it cuts."""
SLACK = 0.05
"""A ball that stands out of a larger one by less than this, in voxels, is dropped."""


def local_thickness(
    volume: Floats, labels: NDArray[np.integer], levels: ArrayLike, mask: Mask, *, threads: int = 1
) -> Floats:
    """Measure the local thickness of the solid, or of what is outside it, with a precision below a voxel.

    Distances are measured to the points where the grey values cross the threshold on the edges of the voxel
    grid, not to voxels. The centres of the largest balls are looked for among the voxels, and moved off the
    grid to where the distance is largest.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Grey values.
    labels : ndarray of shape (nz, ny, nx), integer
        Labels of the solid; 0 outside.
    levels : array_like of shape (n_labels + 1,)
        Threshold of each label; the first value is not used.
    mask : ndarray of shape (nz, ny, nx), bool
        What is measured: voxels of the solid, or voxels outside it. Centres of balls are in it.
    threads : int, optional
        Number of threads.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        Thickness in voxels; 0 outside the mask, infinite where there is no surface at all.

    References
    ----------
    T. Hildebrand and P. Rüegsegger, Journal of Microscopy 185, 67 (1997), the definition.
    """
    volume, levels = np.ascontiguousarray(volume, np.float32), np.asarray(levels, np.float32)
    labels = np.ascontiguousarray(labels, np.uint16 if len(levels) <= 1 << 16 else np.int32)
    thickness = np.zeros(volume.shape, np.float32)
    if not mask.any():
        return thickness
    squared, codes = _nearest(labels, volume, levels, threads)
    if codes.flat[0] < 0:
        thickness[mask] = np.inf
        return thickness
    voxels = _ridge(squared, mask, threads)
    del squared
    centres, radii = np.empty((len(voxels), 3)), np.empty(len(voxels))

    def walk(a: int, b: int) -> None:
        walk_uphill(voxels[a:b], codes, labels, volume, levels, mask, STEPS, centres[a:b], radii[a:b])

    in_chunks(walk, len(voxels), threads)
    centres, radii = _largest(centres, radii, codes)
    in_chunks(partial(paint_balls, centres, radii, MARGIN, mask, thickness), len(volume), threads)
    _fill(thickness, mask)
    return thickness


def _nearest(
    labels: NDArray[np.integer], volume: Floats, levels: Floats, threads: int
) -> tuple[Floats, NDArray[np.integer]]:
    """Find the squared distance and the code of the crossing nearest to each voxel.

    Crossings on the edges along z, y and x are three sets. A set is searched along its own axis first.
    """
    shape = volume.shape
    codes = np.int32 if 3 * volume.size < 2**31 else np.int64
    steps = (shape[1] * shape[2], shape[2], 1)
    best = np.full(shape, np.inf, np.float32), np.full(shape, -1, codes)
    own = np.empty(shape, np.float32), np.empty(shape, codes)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]

        def rows(array: NDArray[Any], along: int) -> NDArray[Any]:
            return np.moveaxis(array, along, 2)

        turned = tuple(steps[other] for other in (*others, axis))
        given = rows(labels, axis), rows(volume, axis), levels, turned, axis
        search = partial(nearest_in_rows, *given, rows(own[0], axis), rows(own[1], axis))
        in_chunks(search, shape[others[0]], threads)
        for along, into in zip(others, (own, best), strict=True):
            arrays = [rows(array, along) for array in (*own, *into)]
            in_chunks(partial(nearest_across_rows, *arrays), len(arrays[0]), threads)
    return best


def _ridge(squared: Floats, mask: Mask, threads: int) -> NDArray[np.int64]:
    """Find the voxels from which the centres of the largest balls are looked for, as flat indices."""
    ridge = np.empty(squared.shape, np.bool_)
    in_chunks(partial(mark_ridge, squared, mask, RIDGE_SLOPE, ridge), len(squared), threads)
    return np.flatnonzero(ridge)


def _largest(centres: Doubles, radii: Doubles, workspace: NDArray[np.integer]) -> tuple[Doubles, Doubles]:
    """Sort balls by falling radius, without those that a larger one contains."""
    order = np.argsort(-radii, kind="stable")
    centres, radii = centres[order], radii[order]
    kept = np.empty(len(radii), np.bool_)
    workspace.fill(-1)
    drop_contained(centres, radii, SLACK, workspace, kept)
    return centres[kept], radii[kept]


def _fill(thickness: Floats, mask: Mask) -> None:
    """Give voxels that no ball covers the value of their nearest neighbours."""
    missing = np.flatnonzero(mask & (thickness == 0))
    while len(missing):
        values = np.empty(len(missing), np.float32)
        if not spread(thickness, missing, values):
            break
        thickness.flat[missing] = values
        missing = missing[values == 0]
