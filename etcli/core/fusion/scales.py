"""Scales of the elements: counts a voxel where an element is dense."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etcli.core.geometry import SliceGeometry
from etcli.core.parallel import ordered_map
from etcli.core.projectors.slab import SlabProjector, from_slab, to_slab
from etcli.core.solvers.mlem import mlem

Array = NDArray[np.float32]

STEPS = 15
BLUR_PX = 1.5
WIDTH = 64


def voxel_scales(
    counts: Sequence[Array], geometry: SliceGeometry, *, threads: int = 1
) -> NDArray[np.float64]:
    """Find the counts a voxel above which half of the counts of each element lie.

    With these units the densities of all elements are about 1 where they are dense, also those of elements of
    few counts, and one weight of a prior means about the same for all.

    Parameters
    ----------
    counts : sequence of ndarray of shape (n_views, ny, nx), float32
        Maps of the elements.
    geometry : SliceGeometry
        Their tilt angles and the slices of the volume.
    threads : int
        Number of threads.

    Returns
    -------
    ndarray of shape (n_elements,), float64

    Notes
    -----
    The volume is that of 15 steps of expectation maximisation, too few to fit the noise, blurred by 1.5
    voxels.
    """
    coarse = (_coarse_volume(maps, geometry, threads) for maps in counts)
    return np.array([half_above(gaussian_filter(volume, BLUR_PX)) for volume in coarse])


def _coarse_volume(maps: Array, geometry: SliceGeometry, threads: int) -> Array:
    """Reconstruct an element, an array (z, y, x)."""

    def reconstructed(first: int) -> Array:
        slab = to_slab(np.ascontiguousarray(maps[:, first : first + WIDTH]))
        projector = SlabProjector(geometry, n_slices=slab.shape[-1])
        return from_slab(mlem(projector, slab, iterations=STEPS), min(WIDTH, maps.shape[1] - first))

    slabs = ordered_map(reconstructed, range(0, maps.shape[1], WIDTH), threads=threads)
    return np.concatenate(list(slabs), axis=1)


def half_above(volume: Array) -> float:
    """Find the value that voxels, or pixels, with half of the sum of an array exceed; it is not negative."""
    falling = np.sort(volume, axis=None)[::-1]
    cumulative = np.cumsum(falling, dtype=np.float64)
    return float(falling[np.searchsorted(cumulative, cumulative[-1] / 2)])
