"""Thickness of the volume: the extent of the specimen along z, found in a coarse reconstruction."""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etcli.core.binning import bin_axis
from etcli.core.errors import DataError
from etcli.core.geometry import SliceGeometry, centre
from etcli.core.projectors.slab import SlabProjector, to_slab
from etcli.core.solvers.accelerated_sirt import accelerated_sirt
from etcli.core.solvers.mlem import mlem

Array = NDArray[np.float32]

COARSE_PX = 128
"""Approximate width of the coarse reconstruction."""
SWEEPS = 40
STEPS, BLUR_PX = 20, 1.0
"""Iterations for counts, and the width of the Gaussian that these are blurred by, in coarse pixels."""
MOST_ROWS = 64
FAINT = 0.2
"""Densities below this fraction of a typical one are background and streaks."""
KEPT = 0.995
"""Fraction of the intensity that the volume must contain."""
MARGIN = 0.05
"""Extra space on either side, as a fraction of the width, for the blur caused by the missing wedge."""


def find_thickness(views: Array, geometry: SliceGeometry, *, counts: bool = False) -> int:
    """Find the thickness that a volume needs to contain the specimen.

    Parameters
    ----------
    views : ndarray of shape (n_views, n_rows, n_detector), float32
        Line integrals, in voxels, of rows distributed over the views, at most 64; of counts all rows.
    geometry : SliceGeometry
        Views and slice; the specimen is searched within its thickness.
    counts : bool
        Whether the views are counts, of which a pixel has few.

    Returns
    -------
    int
        Thickness in voxels, symmetric about the centre, at most that of `geometry`.

    Raises
    ------
    DataError
        When nothing is brighter than the background.

    Notes
    -----
    Binned views are reconstructed with densities above zero. The typical density is that exceeded by voxels
    with half of the total intensity. Densities above a fifth of it are summed along x and y. The volume
    extends from its centre to the section beyond which 0.25 % of this sum lies, on the side where that
    section is farther away. A missing wedge makes the volume too thick rather than too thin.

    Counts are blurred, also across rows, and reconstructed by expectation maximisation: it leaves nothing
    where rays without counts pass, which least squares fill with the noise of the others.
    """
    factor = max(1.0, geometry.n_detector / COARSE_PX)
    binned = np.asarray(bin_axis(views, factor, axis=2) / factor, np.float32)
    n = binned.shape[2]
    nz, nx = (max(1, ceil(size / factor)) for size in (geometry.thickness, geometry.width))
    offsets = geometry.axis_offset_px / factor, geometry.z_offset_px / factor
    coarse = SliceGeometry(geometry.tilt_deg, n, nz, nx, *offsets)
    if counts:
        rows = np.unique(np.linspace(0, binned.shape[1] - 1, MOST_ROWS).round().astype(int))
        binned = gaussian_filter(binned, (0, BLUR_PX * factor, BLUR_PX), mode="nearest")[:, rows]
    slab = to_slab(binned)
    projector = SlabProjector(coarse, n_slices=slab.shape[-1])
    if counts:
        volume = mlem(projector, slab, iterations=STEPS)
    else:
        volume = accelerated_sirt(projector, slab, iterations=SWEEPS, lower=0.0)
    ascending = np.sort(volume, axis=None)
    cumulative = np.cumsum(ascending, dtype=np.float64)
    typical = ascending[np.searchsorted(cumulative, cumulative[-1] / 2)]
    profile = np.where(volume < FAINT * typical, 0, volume).sum(axis=(1, 2), dtype=np.float64)
    if not profile.sum() > 0:
        raise DataError("nothing is brighter than the background; give --thickness a length")
    cumulative_profile = np.cumsum(profile) / profile.sum()
    first, last = np.searchsorted(cumulative_profile, [(1 - KEPT) / 2, (1 + KEPT) / 2])
    reach = max(centre(nz) - first, last - centre(nz)) + 0.5 + MARGIN * n
    return min(geometry.thickness, 2 * ceil(float(reach) * factor))
