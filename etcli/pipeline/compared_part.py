"""The part of the views that a registration compares: whether it is large enough for projection matching."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import ConvergenceError, DataError
from etcli.core.registration.matching import COARSE_PX
from etcli.core.registration.matching_scale import SeriesPyramid
from etcli.core.registration.transforms import Views
from etcli.pipeline.view_selection import Region

LEAST_PX = 16
"""Side, in pixels of the coarse scale, from which a part can be matched: 8 px of the needle matched no better
than noise, 24 px did."""


def small_part(views: Views, region: Region | None, mask: NDArray[np.bool_] | None) -> str:
    """Return what is wrong with a part that is too small to be matched at the coarse scale, else nothing.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
    region : Region or None
        Rows and columns that are compared.
    mask : ndarray of shape (ny, nx), bool, or None
        Pixels that are compared.
    """
    shown = np.ones(views.shape[1:], bool) if mask is None else mask.copy()
    if region:
        shown[: region.rows.start] = shown[region.rows.stop :] = False
        shown[:, : region.columns.start] = shown[:, region.columns.stop :] = False
    if shown.all() or not shown.any():
        return ""
    ny, nx = (np.ptp(np.flatnonzero(shown.any(axis=axis))) + 1 for axis in (1, 0))
    factor = SeriesPyramid(views, None, 1).factor(COARSE_PX)
    if min(ny, nx) >= LEAST_PX * factor:
        return ""
    binned = f", only {nx / factor:.3g} x {ny / factor:.3g} after the binning by {factor} for the first round"
    least = LEAST_PX * factor
    size = f"{nx} x {ny} px{binned if factor > 1 else ''}"
    return f"the part to compare is {size}; give {least} x {least} px or more"


@contextmanager
def small_part_blamed(wrong: str) -> Iterator[None]:
    """Put what is wrong with the part to compare in place of errors about specimen and angles."""
    try:
        yield
    except (DataError, ConvergenceError) as error:
        if not wrong:
            raise
        raise DataError(f"{wrong}, or leave --region and --mask out") from error
