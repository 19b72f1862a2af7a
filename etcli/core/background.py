"""Background level: the intensity of empty regions, measured in the rim of the views.

In dark-field images the intensity is that of the specimen plus a constant of the detector, which must be
subtracted before masses, projections or volumes mean anything. The strips left and right of the views, across
the tilt axis, show that constant, unless they contain specimen. The strips above and below are not used,
because a needle along the axis may extend there. (For a tilt axis along x give ``data.swapaxes(1, 2)``.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, NonFiniteViewError, UsageError

MOST_ROWS = 256  # per view; more would not make the level better, but a memory map slower
N_PARTS = 8  # parts of each strip, whose means must agree
EVEN = 0.02  # share of the contrast: harmless differences within the rim, or below it
STEADY = 0.05  # share of the contrast: harmless differences of the level between views
DARKER = 0.01  # share of a view that may be darker than the rim: dead pixels, shadows
N_SIGMA = 5.0
LAG = 3  # distance of rows at which interpolation no longer correlates the noise
ENOUGH_VIEWS = 0.9  # share of the views that must have an empty rim
NEGLIGIBLE = 1e-6  # share of the contrast: a level that rounding alone can cause
ABOUT_ZERO = 0.05  # share of the range: darkest parts so near zero cannot hold much of a level
MOST_BELOW = 5.0  # times the range: a level may lie so far below views that show specimen everywhere


@dataclass(frozen=True)
class Background:
    """Background level of a series.

    Parameters
    ----------
    level : float or None
        Intensity of the empty rim; None where the rim is not empty.
    reason : str
        Explanation for the user.
    lowest, highest : float
        Range of the views: medians of the values of their darkest and brightest parts.
    """

    level: float | None
    reason: str
    lowest: float
    highest: float

    @property
    def may_be_missed(self) -> bool:
        """Whether a level that is not known may matter: the darkest parts of the views are far from zero."""
        return not abs(self.lowest) <= ABOUT_ZERO * (self.highest - self.lowest)

    def allows(self, level: float) -> bool:
        """Check whether views of this range may stand on a level: not above them, and not far below."""
        extent = self.highest - self.lowest
        return self.lowest - MOST_BELOW * extent <= level <= self.highest + ABOUT_ZERO * extent


@dataclass(frozen=True)
class Rim:
    """Measurements on the rim of a view, in its units; see the notes of `empty_rim_background`."""

    level: float
    unevenness: float
    darkness: float
    excess: float
    contrast: float
    noise: float
    part_error: float


def rim_level(data: NDArray[Any], *, margin_px: int | None = None) -> NDArray[np.float64]:
    """Measure the level of the left and right strips of every view, empty or not.

    Parameters
    ----------
    data : ndarray of shape (n_views, ny, nx)
        Real numbers of any type, also a memory map: at most 256 rows of a view are read.
    margin_px : int, optional
        Width of a strip; by default 2 % of the view, at least 2 pixels.

    Returns
    -------
    ndarray of shape (n_views,), float64
        Median of the means of 16 parts of the strips: nearly as exact as the mean, unbiased for counts, and
        insensitive to hot pixels and to specimen in less than half of the parts.

    Raises
    ------
    DataError
        When the data is not a stack of real numbers, or holds values that are not finite.
    UsageError
        When the strips do not fit into the view.
    """
    return np.array([rim.level for rim in _rims(data, margin_px)])


def empty_rim_background(data: NDArray[Any], *, margin_px: int | None = None) -> Background:
    """Measure the background level of a series, if the rim of its views is empty.

    Parameters
    ----------
    data : ndarray of shape (n_views, ny, nx)
        Real numbers of any type, also a memory map: at most 256 rows of a view are read.
    margin_px : int, optional
        Width of a strip; by default 2 % of the view, at least 2 pixels.

    Returns
    -------
    Background
        The level is the median over the views with an empty rim, if these are at least 90 %; 0 where it is
        less than a millionth of the contrast. It is None also for views that are too small for strips of the
        default width.

    Raises
    ------
    DataError, UsageError
        As `rim_level`; a UsageError only when `margin_px` was given.

    Notes
    -----
    A view is averaged along x in segments as wide as a strip; the first and the last are the strips. Each
    strip is cut into 8 parts along y. Let b be the median of the 16 means, s the noise of one averaged pixel
    (from differences over three rows, which contain the noise in full, also line noise and interpolated
    noise, but less of the structure), n the rows of a part, and C the contrast: the median over the views of
    their 99th percentile minus b. The rim of a view is empty when it is

    1. even: no part differs from b by more than noise or harmless structure, max(5 s/√n, 0.02 C);
    2. dark: at most 1 % of the view is below b by more than max(5 s, 0.02 C);
    3. steady: b differs by at most max(5 s/√n, 0.05 C) from its median over the views that pass 1 and 2.

    Views that hold little but noise would pass these tests as well, and phase contrast redistributes
    intensity around an empty rim. Therefore the views must, on the whole, be brighter than their rims: the
    median of mean minus b must exceed five times the error of all b together.
    """
    if margin_px is None and data.ndim == 3 and not _has_rim(data.shape, _margin_px(data.shape)):
        low, high = np.quantile(data, [DARKER, 0.99]).tolist() if data.size else (0.0, 0.0)
        return Background(None, "the views are too small for a rim", low, high)
    return background_of_rims(list(_rims(data, margin_px)))


def background_of_rims(rims: Sequence[Rim]) -> Background:
    """Return the background level that the rims of all views show; see `empty_rim_background`."""
    lows, highs = zip(*((rim.level - rim.darkness, rim.level + rim.contrast) for rim in rims), strict=True)
    ends = float(np.median(lows)), float(np.median(highs))
    contrast = float(np.median([rim.contrast for rim in rims]))
    even = [rim for rim in rims if rim.unevenness <= max(N_SIGMA * rim.part_error, EVEN * contrast)]
    dark = [rim for rim in even if rim.darkness <= max(N_SIGMA * rim.noise, EVEN * contrast)]
    typical_level = float(np.median([rim.level for rim in dark or rims]))
    empty = [
        rim
        for rim in dark
        if abs(rim.level - typical_level) <= max(N_SIGMA * rim.part_error, STEADY * contrast)
    ]
    if len(empty) < ENOUGH_VIEWS * len(rims):
        causes = {
            "uneven": len(rims) - len(even),
            "not the darkest part": len(even) - len(dark),
            "at another level": len(dark) - len(empty),
        }
        listed = ", ".join(f"{cause} in {count}" for cause, count in causes.items() if count)
        return Background(None, f"the rim is not empty: {listed} of {len(rims)} views", *ends)
    excess = float(np.median([rim.excess for rim in rims]))
    error = float(np.median([rim.part_error for rim in rims])) / np.sqrt(2 * N_PARTS * len(rims))
    if excess <= N_SIGMA * error:
        reason = "the views are no brighter than their rim, so this is no dark field"
        return Background(None, reason, *ends)
    level = float(np.median([rim.level for rim in empty]))
    level = level if abs(level) > NEGLIGIBLE * contrast else 0.0
    return Background(level, f"the rim is empty in {len(empty)} of {len(rims)} views", *ends)


def rim_width(shape: tuple[int, ...]) -> int | None:
    """Return the width of a strip in views of such a stack; None where they are too small for one."""
    margin_px = _margin_px(shape)
    return margin_px if _has_rim(shape, margin_px) else None


def _margin_px(shape: tuple[int, ...]) -> int:
    """Return the default width of a strip."""
    return max(2, round(0.02 * shape[2]))


def _has_rim(shape: tuple[int, ...], margin_px: int) -> bool:
    """Check whether strips of this width fit into the views and can be cut into parts."""
    return margin_px >= 1 and 4 * margin_px <= shape[2] and shape[1] >= 2 * N_PARTS


def _rims(data: NDArray[Any], margin_px: int | None) -> Iterator[Rim]:
    """Yield the measurements on the rim of every view."""
    if data.ndim != 3 or data.size == 0 or data.dtype.kind not in "iuf":
        raise DataError(
            f"a rim needs views (view, y, x) of real numbers, not {data.dtype} of shape {data.shape}"
        )
    _, ny, nx = data.shape
    margin = _margin_px(data.shape) if margin_px is None else margin_px
    if not _has_rim(data.shape, margin):
        raise UsageError(
            f"views of {nx} x {ny} pixels have no rim {margin} pixels wide; "
            f"it needs a width of at most {nx // 4} and at least {2 * N_PARTS} rows"
        )
    for k, view in enumerate(data):
        rim = measure_rim(view, margin)
        if rim is None:
            raise NonFiniteViewError(k)
        yield rim


def measure_rim(view: NDArray[Any], margin_px: int) -> Rim | None:
    """Measure the rim of a view (ny, nx) on some of its rows; None where these are not finite."""
    rows = np.asarray(view[:: -(-len(view) // MOST_ROWS)], np.float64)
    if not np.isfinite(rows).all():
        return None
    n_segments = rows.shape[1] // margin_px
    edges = np.linspace(0, rows.shape[1], n_segments + 1).astype(int)
    averaged = np.add.reduceat(rows, edges[:-1], axis=1) / np.diff(edges)
    strips = averaged[:, [0, -1]]
    parts = np.concatenate([part.mean(axis=0) for part in np.array_split(strips, N_PARTS)])
    level = float(np.median(parts))
    noise = float(np.sqrt(np.mean((strips[LAG:] - strips[:-LAG]) ** 2) / 2))
    low, high = np.quantile(averaged, [DARKER, 0.99])
    return Rim(
        level=level,
        unevenness=float(np.abs(parts - level).max()),
        darkness=level - float(low),
        excess=float(averaged.mean()) - level,
        contrast=float(high) - level,
        noise=noise,
        part_error=noise / np.sqrt(len(rows) / N_PARTS),
    )
