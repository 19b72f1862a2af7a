"""Shifts, tilt axis and orientations by any method, with the same quality measures for all of them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.depth.drift import focal_drift
from etcli.core.errors import ConvergenceError, DataError, UsageError
from etcli.core.registration.centre_of_mass import com_views
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.known_axis import confirm_axis
from etcli.core.registration.matching import Matched, judge_shifts, match_views
from etcli.core.registration.matching_scale import SeriesPyramid
from etcli.core.registration.orientation_refinement import Orientations, align_orientations
from etcli.core.registration.pair_comparison import Region
from etcli.core.registration.sharpness import sum_axis
from etcli.core.registration.shifts import Shifts
from etcli.core.registration.stackreg import stackreg_views
from etcli.core.registration.tilt_axis import (
    FEWEST_TILTS,
    TiltAxis,
    alignment_matrix,
    com_axis,
    maximage_axis,
)
from etcli.core.registration.transforms import (
    TransformedViews,
    Transforms,
    Views,
    compose,
    turned_shape,
)

METHODS = ("pc", "stackreg", "com", "com-cl", "match", "focal")
AXIS_METHODS = ("com", "maximage", "sum", "match")
ORIENTED_PX = 128
ORIENTING_ROUNDS = 10
MOST_TURNED_DEG = 10.0


def register_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    method: str = "match",
    defocus_um: ArrayLike | None = None,
    reference: int | None = None,
    background: float | None = None,
    region: Region | None = None,
    shown: NDArray[np.bool_] | None = None,
    max_shift_px: float | None = None,
    iterations: int = 12,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Matched:
    """Find the shifts that align the views of a tilt series, by one of several methods.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its tilt axis roughly vertical; read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    method : {"pc", "stackreg", "com", "com-cl", "match", "focal"}
        Correlation of neighbours, least squares from view to view, centre of mass, the same with common
        lines along the axis, projection matching, or, for views of one tilt, correlation of neighbours in
        focus.
    defocus_um : array_like of shape (n_views,), optional
        Defoci in µm, for ``focal``.
    reference : int, optional
        View that is not shifted, counted from 0; the one nearest 0°, or in the middle of the focal series,
        when not given.
    background : float, optional
        Level of the empty surroundings.
    region : (slice, slice), optional
        Rows and columns to compare.
    shown : ndarray of shape (ny, nx), bool, optional
        The pixels to compare, for ``match``.
    max_shift_px : float, optional
        Largest displacement between neighbours, for ``pc``, ``stackreg`` and ``focal``.
    iterations : int
        Maximum number of rounds at each of two scales, for ``match``.
    threads : int
        Number of threads.
    progress : callable, optional
        Called with the number of steps done, `n_steps` in all.

    Returns
    -------
    Matched
        Quality, doubts and residual come from reprojections, whatever the method, but for ``focal``.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or the views have nothing in common.
    UsageError
        If there is no such method, or an argument does not fit the method or the series.
    ConvergenceError
        If the method does not suit the specimen; the message names one that does.
    """
    common: dict[str, Any] = {"reference": reference, "threads": threads}
    pair_options: dict[str, Any] = {"region": region, "max_shift_px": max_shift_px}
    if method == "match":
        if max_shift_px is not None:
            raise UsageError("projection matching takes no largest shift; use pc")
        if region is not None:
            inside = np.zeros(views.shape[1:], bool)
            inside[region] = True
            shown = inside if shown is None else inside & shown
        options: dict[str, Any] = {"background": background, "iterations": iterations, "progress": progress}
        return match_views(views, tilt_deg, shown=shown, **options, **common)
    if shown is not None:
        raise UsageError(f"only projection matching takes a mask, not {method}; use match")
    shifts: Shifts
    if method == "focal":
        shifts = focal_drift(views, defocus_um=defocus_um, progress=progress, **common, **pair_options)
        no_axis = TiltAxis(np.nan, np.nan, np.nan, np.nan, np.nan)
        return Matched(shifts, no_axis, np.asarray(tilt_deg, np.float64))
    if method == "pc":
        shifts = correlate_views(
            views, tilt_deg, background=background, progress=progress, **common, **pair_options
        )
    elif method == "stackreg":
        shifts = stackreg_views(views, tilt_deg, progress=progress, **common, **pair_options)
    elif method in ("com", "com-cl"):
        com_method = com_views if method == "com" else common_line_views
        shifts = com_method(
            views, tilt_deg, background=background, region=region, progress=progress, **common
        )
    else:
        raise UsageError(f"no method of registration named {method!r}; use one of {', '.join(METHODS)}")
    return judge_shifts(views, tilt_deg, shifts, background=background, threads=threads)


def find_axis(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    method: str = "match",
    transforms: Transforms | None = None,
    start_deg: float = 0.0,
    background: float | None = None,
    known: TiltAxis | None = None,
    free_tilts: bool = False,
    iterations: int = 12,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Matched:
    """Find the tilt axis of a registered series, and refine its tilt angles if requested.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order; read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    method : {"com", "maximage", "sum", "match"}
        Centre of mass, paths in the maximum of all views, sharpness of slices, or reprojections.
    transforms : Transforms, optional
        Transforms that register the views, if they are not registered.
    start_deg : float
        Rough angle of the axis.
    background : float, optional
        Level of the empty surroundings.
    known : TiltAxis, optional
        The axis that was found with the transforms. ``match`` searches for another one only if the views
        contradict it, or if tilt angles are refined as well.
    free_tilts : bool
        Whether ``match`` refines the tilt angles.
    iterations, threads
        As for `register_views`.
    progress : callable, optional
        Called with the number of steps done, 2 `iterations` in all for ``match``, else views read.

    Returns
    -------
    Matched
        The shifts are zero. The offset is NaN if the method does not measure it.

    Raises
    ------
    DataError
        If counts differ or a view holds NaN.
    UsageError
        If there is no such method.
    ConvergenceError
        If the method does not suit the specimen; the message names one that does.
    """
    n_views = len(views)
    registration = transforms or Transforms.identity(n_views)
    zero_shifts = Shifts(np.zeros((n_views, 2)), np.ones(n_views), np.zeros(n_views, bool), np.nan)

    def transformed(angle_deg: float, offset_px: float) -> TransformedViews:
        matrix, shift_px = alignment_matrix(angle_deg, offset_px)
        turn = Transforms(np.tile(matrix, (n_views, 1, 1)), np.tile(shift_px, (n_views, 1)))
        shape = turned_shape((views.shape[1], views.shape[2]), angle_deg)
        return TransformedViews(views.__getitem__, compose(registration, turn), shape, fill=background)

    options: dict[str, Any] = {"background": background, "threads": threads}
    if method == "match":
        if len(np.unique(np.asarray(tilt_deg, np.float64))) < FEWEST_TILTS:
            raise DataError(f"too few tilt angles to determine an axis; {FEWEST_TILTS} are needed")
        if known is not None and not free_tilts:
            confirmed = confirm_axis(views, tilt_deg, known, before=registration, **options)
            if confirmed is not None:
                return confirmed
        start = None
        if background is not None:
            with suppress(ConvergenceError, DataError):
                start = com_axis(
                    views,
                    tilt_deg,
                    background=background,
                    transforms=registration,
                    start_deg=start_deg,
                    threads=threads,
                )
        assumed_axis = TiltAxis(0.0, 0.0, np.nan, np.nan, np.nan)
        matched = match_views(
            views,
            tilt_deg,
            start=zero_shifts,
            axis=replace(start, angle_deg=start.angle_deg - start_deg) if start else assumed_axis,
            before=compose(registration, Transforms.rotation(start_deg, n_views)),
            free_shifts=False,
            free_tilts=free_tilts,
            iterations=iterations,
            progress=progress,
            **options,
        )
        return replace(matched, axis=replace(matched.axis, angle_deg=matched.axis.angle_deg + start_deg))
    axis_options: dict[str, Any] = {
        "transforms": registration,
        "start_deg": start_deg,
        "threads": threads,
        "progress": progress,
    }
    if method == "com":
        axis = com_axis(views, tilt_deg, background=background or 0.0, **axis_options)
    elif method == "maximage":
        axis = maximage_axis(views, background=background or 0.0, **axis_options)
    elif method == "sum":
        axis = sum_axis(views, tilt_deg, **axis_options)
    else:
        raise UsageError(
            f"no method of finding the axis named {method!r}; use one of {', '.join(AXIS_METHODS)}"
        )
    central_axis = TiltAxis(0.0, 0.0 * axis.offset_px, np.nan, np.nan, np.nan)  # NaN stays NaN
    aligned = transformed(axis.angle_deg, float(np.nan_to_num(axis.offset_px)))
    judged = judge_shifts(aligned, tilt_deg, zero_shifts, axis=central_axis, **options)
    return replace(judged, axis=replace(axis, residual_px=judged.shifts.residual_px))


def orient_views(
    views: Views,
    euler_deg: ArrayLike,
    start: Matched,
    *,
    background: float | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Orientations:
    """Refine the orientation of every view of a registered series.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type; read view by view.
    euler_deg : array_like of shape (n_views, 3)
        Starting values of φ, θ and ψ in degrees.
    start : Matched
        Shifts and tilt axis from `register_views`.
    background : float, optional
        Level of the empty surroundings, as for `match_views`.
    threads : int
        Number of threads.
    progress : callable, optional
        Called with 1 after every round, of `ORIENTING_ROUNDS`.

    Returns
    -------
    Orientations
        The shifts, in pixels of the views, bring the rotation centre to the middle.

    Raises
    ------
    DataError
        If the counts differ, values are not finite or the tilt axis of the start is not known.
    UsageError
        If φ or ψ of a view is more than 10°: the starting shifts assume a single tilt axis.

    Notes
    -----
    Views are binned to 128 px, as all of them and the volume are held in memory.
    """
    euler = np.asarray(euler_deg, np.float64)
    if np.abs(euler[:, [0, 2]]).max(initial=0) > MOST_TURNED_DEG:
        raise UsageError(
            f"views rotated by more than {MOST_TURNED_DEG:g}° about other axes than the tilt axis "
            "cannot be registered yet"
        )
    if not np.isfinite(start.axis.angle_deg):
        raise DataError("the views do not show where their tilt axis is; orientations cannot be refined")
    series = SeriesPyramid(views, background, threads)
    scale = series.level(series.factor(ORIENTED_PX))
    turn = Transforms.rotation(start.axis.angle_deg, 1).matrix[0]
    centred_px = start.shifts.shift_px - start.axis.offset_px * turn[0]
    refined = align_orientations(
        scale.images,
        euler,
        shift_px=centred_px / scale.factor,
        rounds=ORIENTING_ROUNDS,
        threads=threads,
        progress=progress,
    )
    return replace(refined, shift_px=refined.shift_px * scale.factor)


def n_steps(method: str, *, n_views: int, iterations: int) -> int:
    """Return the number of progress steps of a method."""
    if method == "match":
        return 2 * iterations
    if method == "focal":
        return 3 * n_views - 4
    return 2 * n_views if method in ("pc", "stackreg") else n_views
