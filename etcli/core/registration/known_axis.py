"""Confirmation of a tilt axis that was found before."""

from contextlib import suppress

import numpy as np
from numpy.typing import ArrayLike

from etcli.core.errors import ConvergenceError, DataError
from etcli.core.registration.alignment import Alignment
from etcli.core.registration.matching import ANGLE_PX, ANGLE_STEPS_DEG, COARSE_PX, FINE_PX, Matched
from etcli.core.registration.matching_rounds import Progress, Rounds, no_progress
from etcli.core.registration.matching_scale import NEAR_PX, SeriesPyramid
from etcli.core.registration.shifts import Shifts, checked_tilts
from etcli.core.registration.tilt_axis import TiltAxis
from etcli.core.registration.transforms import Transforms, Views, lies_along_x

ROUNDS = 8
SAME_DEG = ANGLE_STEPS_DEG[-1] / 2
SAME_PX = 0.5  # binned pixels
SETTLED_PX = 0.001  # binned pixels


def confirm_axis(
    views: Views,
    tilt_deg: ArrayLike,
    axis: TiltAxis,
    *,
    before: Transforms,
    background: float | None = None,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Matched | None:
    """Refine a tilt axis, if the views agree that it is nearby; much faster than a search.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    axis : TiltAxis
        The axis that was found before, in the transformed views.
    before : Transforms
        Transforms that register the views.
    background : float, optional
        Level of the empty surroundings.
    threads : int
        Number of threads.
    progress : callable
        Called with the number of rounds that are done.

    Returns
    -------
    Matched or None
        None unless the specimen lies inside the views, their reprojections fit them best within 0.2° of the
        angle, and the offset is right to half a pixel of views binned to 64 px.

    Raises
    ------
    DataError
        If counts differ or a view holds NaN.
    """
    tilt = checked_tilts(views, tilt_deg)
    lying = lies_along_x(before.turned_deg + axis.angle_deg)
    series = SeriesPyramid(views, background, threads, lying)
    scale = series.level(series.factor(COARSE_PX))
    if not scale.positive:
        return None
    zero = np.zeros((len(tilt), 2))
    given = Alignment(zero, axis.angle_deg, axis.offset_px, tilt, before)
    rounds = Rounds(ROUNDS, free_shifts=False, converged=True, settled_px=SETTLED_PX, progress=progress)
    with suppress(ConvergenceError, DataError):
        placed, trusted = rounds.iterate(scale, given, np.ones(len(tilt), bool), NEAR_PX)
        fine = series.level(series.factor(FINE_PX))
        best = fine.refine_angle(placed, trusted, ANGLE_STEPS_DEG[-1:], free_shifts=False)
        moved_px, turned_deg = best.offset_px - axis.offset_px, best.angle_deg - axis.angle_deg
        if abs(moved_px) <= SAME_PX * scale.factor and abs(turned_deg) <= SAME_DEG:
            verdict = scale.compare_left_out(best, trusted)
            shifts = Shifts(zero, verdict.quality, verdict.doubtful, verdict.residual_px, verdict.step_px)
            found = TiltAxis(best.angle_deg, best.offset_px, np.nan, np.nan, verdict.residual_px)
            order = series.level(series.factor(ANGLE_PX)).order(best, verdict.agreed)
            return Matched(shifts, found, tilt, order, from_known=True)
    return None
