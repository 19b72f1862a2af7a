"""How thick a volume has to be: the extent of the specimen along z, from a coarse reconstruction."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from etcli.core.binning import bin_axis
from etcli.core.errors import DataError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.projectors.slab import SlabProjector, to_slab
from etcli.core.solvers.accelerated_sirt import accelerated_sirt

Array = NDArray[np.float32]

COARSE_PX = 128
"""Width of the coarse reconstruction, about."""
SWEEPS = 40
FAINT = 0.2
"""Densities below this part of a typical one are background and streaks."""
KEPT = 0.995
"""Share of the intensity that the volume must hold."""
MARGIN = 0.05
"""Room beyond that on either side, as a part of the width, for what the missing wedge blurs."""


def find_thickness(views: Array, geometry: SliceGeometry) -> int:
    """Find the thickness of the volume that holds the specimen.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels, of rows spread over the views, at most 64.
    geometry : SliceGeometry
        Views and slice; the specimen is looked for within its thickness.

    Returns
    -------
    int
        Voxels about the centre, at most the thickness of `geometry`.

    Raises
    ------
    DataError
        When nothing is brighter than the background.

    Notes
    -----
    Binned views are reconstructed with densities above zero. Those above a fifth of the density that voxels
    with half of the intensity exceed are summed along x and y, and the volume reaches from its centre as
    far as the section behind which 0.25 % of them lie, on the side where that is farther. A missing wedge
    makes it too thick rather than too thin.
    """
    factor = max(1.0, geometry.n_detector / COARSE_PX)
    binned = np.asarray(bin_axis(views, factor, axis=2) / factor, np.float32)
    n = binned.shape[2]
    nz, nx = (max(1, ceil(size / factor)) for size in (geometry.thickness, geometry.width))
    offsets = geometry.axis_offset_px / factor, geometry.z_offset_px / factor
    coarse = SliceGeometry(geometry.tilt_deg, n, nz, nx, *offsets)
    slab = to_slab(binned)
    volume = accelerated_sirt(
        SlabProjector(coarse, n_slices=slab.shape[-1]), slab, iterations=SWEEPS, lower=0.0
    )
    rising = np.sort(volume, axis=None)
    share = np.cumsum(rising, dtype=np.float64)
    typical = rising[np.searchsorted(share, share[-1] / 2)]
    profile = np.where(volume < FAINT * typical, 0, volume).sum(axis=(1, 2), dtype=np.float64)
    if not profile.sum() > 0:
        raise DataError("nothing is brighter than the background; give --thickness a length")
    below = np.cumsum(profile) / profile.sum()
    first, last = np.searchsorted(below, [(1 - KEPT) / 2, (1 + KEPT) / 2])
    reach = max(centre(nz) - first, last - centre(nz)) + 0.5 + MARGIN * n
    return min(geometry.thickness, 2 * ceil(float(reach) * factor))
