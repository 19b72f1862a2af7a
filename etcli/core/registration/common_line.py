"""Registration of a tilt series by its common line, the profile along the tilt axis that all views share.

Summed across the axis, every view of a specimen has the same profile along the axis, at a height that gives
the shift of the view. The shift across the axis follows from the centre of mass, see
`etcli.core.registration.centre_of_mass`.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from etcli.core.registration.centre_of_mass import Region, mass_shifts, robust_weight
from etcli.core.registration.shifts import Shifts
from etcli.core.registration.transforms import Views

Float = NDArray[np.float64]

COARSE = 1 / 64  # of the profile: width of the low-pass in the first comparison
FINE_PX = 1.0
FADE = 4.0  # width of the fade at the ends of a profile, in widths of the low-pass
LEAST_POWER = 0.02  # of the largest power; overlaps with less are normalised by this
ROUNDS = 50
SETTLED_PX = 0.002
LEAST_GAIN = 0.1
EVEN = 0.05  # of the largest variance; smaller variances are raised to this
TINY = np.finfo(np.float64).tiny


def common_line_views(
    views: Views,
    tilt_deg: ArrayLike,
    *,
    reference: int | None = None,
    background: float | None = None,
    region: Region | None = None,
    threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Shifts:
    """Find the shifts of a tilt series by its common line, for a specimen between the sides of the views.

    Parameters
    ----------
    views, tilt_deg, reference, background, region, threads, progress
        As for `etcli.core.registration.centre_of_mass.com_views`; the specimen may continue above and below
        the views.

    Returns
    -------
    Shifts
        As from `com_views`.

    Raises
    ------
    DataError, UsageError, ConvergenceError
        As from `com_views`.

    Notes
    -----
    Across the axis, this is `com_views`. Along it, the sums q_k(y) of the views across the axis are profiles
    q_k(y) = g_k r(y - h_k) of one line r. First each profile is smoothed and, in the order of |θ|, correlated
    with the mean of those before it, over the rows that both have. Then heights h and brightnesses g are
    fitted to the mean r of the others by least squares (Gauss-Newton) until they converge. A row is weighted
    by the inverse of the width of the window around the specimen, which is its variance in white noise, and
    gets less weight if it does not fit, because something else enters it in that view.

    References
    ----------
    M. C. Scott et al., Nature 483, 444 (2012), doi:10.1038/nature10934.
    """
    return mass_shifts(
        views,
        tilt_deg,
        _fit_heights,
        reference=reference,
        background=background,
        region=region,
        threads=threads,
        progress=progress,
    )


def _fit_heights(mass: Float, variance: Float, previous: Float | None) -> Float:
    """Return the heights at which views show the common profile."""
    coarse_px = max(COARSE * mass.shape[1], FINE_PX)
    height = _rough_heights(_smooth(mass, coarse_px), int(coarse_px)) if previous is None else previous
    for width in (coarse_px, FINE_PX):
        height = _refine_heights(_smooth(mass, width), variance, height, width)
    return height


def _smooth(mass: Float, width: float) -> Float:
    """Low-pass profiles."""
    return np.asarray(ndimage.gaussian_filter1d(mass, width, axis=1, mode="nearest"))


def _rough_heights(mass: Float, step: int) -> Float:
    """Return rough heights, by correlation of each profile with the mean of those before it."""
    mass = mass[:, ::step]
    rows = np.arange(mass.shape[1])
    total, count = mass[0].copy(), np.ones(len(rows))
    height = np.zeros(len(mass))
    for view, profile in enumerate(mass[1:], start=1):
        lag = _relative_height(profile, total / np.maximum(count, 1), (count > 0).astype(np.float64))
        height[view] = step * lag
        visible = (rows + lag >= 0) & (rows + lag < len(rows))
        total[visible] += profile[rows[visible] + lag]
        count += visible
    return height


def _relative_height(profile: Float, reference: Float, known: Float) -> int:
    """Return the height of a profile above a reference, in rows, from their normalised correlation."""
    reach = len(profile) // 2
    displaced, visible = (
        sliding_window_view(np.pad(values, reach), len(values))  # row i: values from i - reach on
        for values in (profile, np.ones(len(profile)))
    )
    overlap = visible * known
    n_overlap = np.maximum(overlap.sum(axis=1, keepdims=True), 1)
    first, second = (
        overlap * (values - np.sum(overlap * values, axis=1, keepdims=True) / n_overlap)
        for values in (displaced, reference[np.newaxis])
    )
    power = np.array([np.sum(each**2, axis=1) for each in (first, second)])
    power = np.maximum(power, LEAST_POWER * power.max(axis=1, keepdims=True) + TINY)
    return int(np.argmax(np.sum(first * second, axis=1) / np.sqrt(power.prod(axis=0)))) - reach


def _refine_heights(mass: Float, variance: Float, height: Float, width: float) -> Float:
    """Refine the heights so that each profile fits the mean of the others best."""
    n_rows = mass.shape[1]
    view = np.broadcast_to(np.arange(len(mass))[:, np.newaxis], mass.shape)
    measured = variance > 0
    certainty = 1 / np.maximum(variance[measured], EVEN * variance.max())
    for _ in range(ROUNDS):
        row_in_view = np.arange(n_rows) + height[:, np.newaxis]
        visible = np.clip(np.minimum(row_in_view, n_rows - 1 - row_in_view) / (FADE * width), 0, 1)
        profile = ndimage.map_coordinates(mass, [view, row_in_view], order=3, mode="nearest")
        n_others = visible.sum(axis=0) - visible
        mean_of_others = (np.sum(visible * profile, axis=0) - visible * profile) / np.maximum(n_others, TINY)
        slope = np.gradient(mean_of_others, axis=1)
        weight = certainty * (visible * np.minimum(n_others, 1))[:, measured]
        step = _height_step(profile[:, measured], mean_of_others[:, measured], slope[:, measured], weight)
        step -= np.median(step)
        height = height + np.clip(step, -width, width)
        if np.abs(step).max() < SETTLED_PX:
            break
    return height


def _height_step(profile: Float, reference: Float, slope: Float, weight: Float) -> Float:
    """Return the heights of profiles above a reference, from profile = gain (reference - step slope).

    Rows that do not fit, because something else enters them, get less weight.
    """

    def dot(first: Float, second: Float) -> Float:
        return np.asarray(np.sum(weight * first * second, axis=1, keepdims=True))

    power = np.maximum(dot(reference, reference), TINY)
    gain = np.maximum(dot(profile, reference) / power, LEAST_GAIN)
    residual = profile - gain * reference
    slope = slope - dot(slope, reference) / power * reference  # the part that a gain cannot explain
    weight = weight * robust_weight(residual * np.sqrt(weight))
    return np.asarray(-dot(slope, residual) / (gain * np.maximum(dot(slope, slope), TINY)))[:, 0]
