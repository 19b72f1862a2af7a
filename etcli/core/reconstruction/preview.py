"""Preview of a reconstruction: a few slices by filtered back-projection."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector, from_slab, slab_width, to_slab
from etcli.core.solvers.filtered_backprojection import filtered_backprojection


def preview_slices(
    rows: NDArray[np.floating], tilt_deg: ArrayLike, *, background: float = 0.0
) -> NDArray[np.float32]:
    """Reconstruct a few slices by filtered back-projection, to judge the quality of an alignment.

    Parameters
    ----------
    rows : ndarray of shape (n_views, n_rows, nx)
        The same few rows of every view, the tilt axis in the middle.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    background : float
        Background level, subtracted first.

    Returns
    -------
    ndarray of shape (n_rows, nx, nx), float32
        Slices in x and z, one per row of the views.
    """
    n_rows, nx = rows.shape[1:]
    geometry = SliceGeometry(np.asarray(tilt_deg, np.float64), n_detector=nx, thickness=nx, width=nx)
    slab = to_slab((rows - background).astype(np.float32))
    projector = SlabProjector(geometry, n_slices=slab_width(n_rows))
    volume = filtered_backprojection(projector, slab, window="hann")
    return from_slab(volume, n_rows).transpose(1, 0, 2)
