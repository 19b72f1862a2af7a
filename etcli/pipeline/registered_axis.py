"""Warning of a tilt axis that register found away from where recon takes it to be."""

import numpy as np

from etcli.core.series import TiltSeries
from etcli.io.axis_of_register import axis_of_register, crops_and_bins
from etcli.pipeline.session import Session

MOST_DEG, MOST_PX = 0.5, 1.0
"""Angle and offset of a tilt axis that a reconstruction shows."""


def warn_of_registered_axis(session: Session, series: TiltSeries, *, offset_given: bool) -> None:
    """Warn where a registered series has not been aligned to the tilt axis that register found.

    Parameters
    ----------
    session : Session
    series : TiltSeries
    offset_given : bool
        Whether the user says where the axis is, so that only its angle counts.
    """
    axis = axis_of_register(series.history)
    if axis is None or series.views.euler_deg is not None or not np.isfinite(axis.angle_deg):
        return
    before, after = crops_and_bins(series.history)
    away_px = axis.offset_px - (0.0 if after else series.centre_px[0])
    if offset_given or (before and after):
        away_px = 0.0  # or not known: the registered views did not have their centre in the middle
    if abs(axis.angle_deg) > MOST_DEG or abs(away_px) > MOST_PX:
        session.reporter.warn(
            f"{series.name}: is registered, but its tilt axis is at {axis.angle_deg:.2f}°, "
            f"{axis.offset_px:.4g} px off the centre by register; use tiltalign first"
        )
