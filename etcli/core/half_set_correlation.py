"""Fourier shell correlation of two half-sets, as `recon` and `compare` compute it."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.quality import FSC, fourier_shell_correlation
from etcli.core.registration.spectra import fade

TAPER = 0.1
"""Fraction of a side in which a volume fades out; without it the sides would correlate."""


def half_set_correlation(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    pixel_A: float,
    wedge_deg: tuple[float, float] | None,
) -> FSC:
    """Correlate two volumes of half of the views each, faded out at their sides, outside the missing wedge.

    Parameters
    ----------
    first, second : ndarray of shape (nz, ny, nx), float32
        Overwritten by the faded volumes.
    pixel_A : float
        Size of a voxel in Å.
    wedge_deg : (float, float) or None
        Missing wedge, as `etcli.core.quality.missing_wedge` finds it; None where views are not tilted about
        the vertical axis only.

    Returns
    -------
    FSC
    """
    windows = [fade(n, TAPER).astype(np.float32) for n in first.shape]
    for volume in (first, second):
        for axis, window in enumerate(windows):
            volume *= np.expand_dims(window, [other for other in range(3) if other != axis])
    return fourier_shell_correlation(first, second, pixel_A=pixel_A, wedge_deg=wedge_deg)
