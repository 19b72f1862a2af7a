"""Registration of a tilt series by the line that all its views have in common.

Summed across the axis, every view of a specimen shows the same profile along the axis, at a height that tells
the shift of the view. Across the axis, the centre of mass tells it: `etcli.core.registration.centre_of_mass`.
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

COARSE = 1 / 64  # of the profile: the low-pass of the first comparison
FINE_PX = 1.0
FADE = 4.0  # widths of the low-pass by which the ends of a profile fade
LEAST_POWER = 0.02  # of the largest, for parts of profiles to be compared
ROUNDS = 50
SETTLED_PX = 0.002
LEAST_GAIN = 0.1
EVEN = 0.05  # of the largest variance; less is taken for that
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
    """Find the shifts of the views of a specimen that lies between their sides, by their common line.

    Parameters
    ----------
    views, tilt_deg, reference, background, region, threads, progress
        As for `etcli.core.registration.centre_of_mass.com_views`; the specimen may go on above and below the
        views.

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
    q_k(y) = g_k r(y - h_k) of one line r. First each is compared, smoothed and in the order of |θ|, with the
    mean of those before it, by the correlation of what both show. Then heights h and brightnesses g are
    fitted by least squares to the mean r of the others, by Gauss and Newton, until they are settled. A row
    counts by the inverse of the width of the window around the specimen, which is its variance in white
    noise, and less if it does not fit, because something strays into it in that view.

    References
    ----------
    M. C. Scott et al., Nature 483, 444 (2012), doi:10.1038/nature10934.
    """
    return mass_shifts(
        views,
        tilt_deg,
        _heights,
        reference=reference,
        background=background,
        region=region,
        threads=threads,
        progress=progress,
    )


def _heights(mass: Float, variance: Float, before: Float | None) -> Float:
    """Return the heights at which views show the common profile."""
    coarse_px = max(COARSE * mass.shape[1], FINE_PX)
    height = _grown(_smooth(mass, coarse_px), int(coarse_px)) if before is None else before
    for width in (coarse_px, FINE_PX):
        height = _refined(_smooth(mass, width), variance, height, width)
    return height


def _smooth(mass: Float, width: float) -> Float:
    """Low-pass profiles."""
    return np.asarray(ndimage.gaussian_filter1d(mass, width, axis=1, mode="nearest"))


def _grown(mass: Float, step: int) -> Float:
    """Return rough heights: each profile is compared with the mean of those before it."""
    mass = mass[:, ::step]
    rows = np.arange(mass.shape[1])
    total, count = mass[0].copy(), np.ones(len(rows))
    height = np.zeros(len(mass))
    for view, profile in enumerate(mass[1:], start=1):
        lag = _lag(profile, total / np.maximum(count, 1), (count > 0).astype(np.float64))
        height[view] = step * lag
        seen = (rows + lag >= 0) & (rows + lag < len(rows))
        total[seen] += profile[rows[seen] + lag]
        count += seen
    return height


def _lag(profile: Float, reference: Float, known: Float) -> int:
    """Return by how many rows a profile is higher than a reference, from their normalised correlation."""
    reach = len(profile) // 2
    moved, seen = (
        sliding_window_view(np.pad(values, reach), len(values))  # row i: values i - reach further up
        for values in (profile, np.ones(len(profile)))
    )
    both = seen * known
    n_both = np.maximum(both.sum(axis=1, keepdims=True), 1)
    first, second = (
        both * (values - np.sum(both * values, axis=1, keepdims=True) / n_both)
        for values in (moved, reference[np.newaxis])
    )
    power = np.array([np.sum(each**2, axis=1) for each in (first, second)])
    power = np.maximum(power, LEAST_POWER * power.max(axis=1, keepdims=True) + TINY)
    return int(np.argmax(np.sum(first * second, axis=1) / np.sqrt(power.prod(axis=0)))) - reach


def _refined(mass: Float, variance: Float, height: Float, width: float) -> Float:
    """Return the heights at which each profile fits the mean of the others best."""
    n_rows = mass.shape[1]
    view = np.broadcast_to(np.arange(len(mass))[:, np.newaxis], mass.shape)
    told = variance > 0
    trust = 1 / np.maximum(variance[told], EVEN * variance.max())
    for _ in range(ROUNDS):
        at = np.arange(n_rows) + height[:, np.newaxis]
        seen = np.clip(np.minimum(at, n_rows - 1 - at) / (FADE * width), 0, 1)
        profile = ndimage.map_coordinates(mass, [view, at], order=3, mode="nearest")
        n_others = seen.sum(axis=0) - seen
        others = (np.sum(seen * profile, axis=0) - seen * profile) / np.maximum(n_others, TINY)
        slope = np.gradient(others, axis=1)
        weight = trust * (seen * np.minimum(n_others, 1))[:, told]
        step = _step(profile[:, told], others[:, told], slope[:, told], weight)
        step -= np.median(step)
        height = height + np.clip(step, -width, width)
        if np.abs(step).max() < SETTLED_PX:
            break
    return height


def _step(profile: Float, others: Float, slope: Float, weight: Float) -> Float:
    """Return by how much profiles are higher than others, from profile = gain (others - step slope).

    Rows that do not fit, because something else strays into them, count less.
    """

    def dot(first: Float, second: Float) -> Float:
        return np.asarray(np.sum(weight * first * second, axis=1, keepdims=True))

    power = np.maximum(dot(others, others), TINY)
    gain = np.maximum(dot(profile, others) / power, LEAST_GAIN)
    left = profile - gain * others
    slope = slope - dot(slope, others) / power * others  # what no gain explains
    weight = weight * robust_weight(left * np.sqrt(weight))
    return np.asarray(-dot(slope, left) / (gain * np.maximum(dot(slope, slope), TINY)))[:, 0]
