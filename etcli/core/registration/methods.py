"""All methods of registration behind one function: shifts by any of them, judged in one way."""

from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

from etcli.core.errors import UsageError
from etcli.core.registration.com import com_views
from etcli.core.registration.common_line import common_line_views
from etcli.core.registration.correlation import correlate_views
from etcli.core.registration.matching import Matched, judge_shifts, match_views
from etcli.core.registration.pairing import Region
from etcli.core.registration.shifts import Shifts
from etcli.core.registration.stackreg import stackreg_views
from etcli.core.registration.transforms import Views

METHODS = ("pc", "stackreg", "com", "com-cl", "match")


def register_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    method: str = "match",
    reference: int | None = None,
    background: float | None = None,
    region: Region | None = None,
    max_shift_px: float | None = None,
    iterations: int = 12,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Matched:
    """Find the shifts that put the views of a tilt series onto each other.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series, of any real type, in any order, its tilt axis roughly upright; read view by view.
    tilt_deg : array_like of shape (n_views,)
        Tilt angles in degrees.
    method : {"pc", "stackreg", "com", "com-cl", "match"}
        Correlation of neighbours, least squares from view to view, centre of mass, the same with common
        lines along the axis, or projection matching.
    reference : int, optional
        View that stays where it is, counted from 0; the one nearest 0° when not given.
    background : float, optional
        Level of the empty surroundings.
    region : (slice, slice), optional
        Rows and columns to be compared; with ``match``, by the correlation that it then starts from.
    max_shift_px : float, optional
        Largest displacement between neighbours: of ``pc``, ``stackreg``, and ``match``, as above.
    iterations : int
        Of ``match``: most rounds at each of three scales.
    threads : int
        Threads to work with.
    progress : callable, optional
        Called with the number of steps done, of `n_steps`.

    Returns
    -------
    Matched
        Quality, doubts and residual come from reprojections, whatever the method.

    Raises
    ------
    DataError
        If counts differ, a view holds NaN, or the views have nothing in common.
    UsageError
        If there is no such method, or a request is unfit.
    ConvergenceError
        If the specimen is not what the method is for; the message says which one is.
    """
    common: dict[str, Any] = {"reference": reference, "threads": threads}
    looked_at: dict[str, Any] = {"region": region, "max_shift_px": max_shift_px}
    if method == "match":
        start = None
        if region is not None or max_shift_px is not None:
            start = correlate_views(views, tilt_deg, background=background, **common, **looked_at)
        return match_views(
            views,
            tilt_deg,
            start=start,
            background=background,
            iterations=iterations,
            progress=progress,
            **common,
        )
    shifts: Shifts
    if method == "pc":
        shifts = correlate_views(
            views, tilt_deg, background=background, progress=progress, **common, **looked_at
        )
    elif method == "stackreg":
        shifts = stackreg_views(views, tilt_deg, progress=progress, **common, **looked_at)
    elif method in ("com", "com-cl"):
        find = com_views if method == "com" else common_line_views
        shifts = find(views, tilt_deg, background=background, region=region, progress=progress, **common)
    else:
        raise UsageError(f"no method of registration named {method!r}; use one of {', '.join(METHODS)}")
    return judge_shifts(views, tilt_deg, shifts, background=background, threads=threads)


def n_steps(method: str, *, n_views: int, iterations: int) -> int:
    """Return how many steps a method tells its progress in."""
    if method == "match":
        return 3 * iterations
    return 2 * n_views if method == "pc" else n_views
