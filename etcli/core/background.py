"""The level of nothing: what the rim of the views says when it is empty.

In dark-field images the intensity is that of the specimen plus a constant of the detector, which must go
before masses, projections or volumes mean anything. The strips left and right of the views, across the tilt
axis, show that constant, unless specimen enters there. Above and below, a needle along the axis may go on, so
nothing is concluded from there. (For a tilt axis along x give ``data.swapaxes(1, 2)``.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError

MOST_ROWS = 256  # a view; more would make the level no better, and a memory map slower
N_PARTS = 8  # parts of each strip that must agree
EVEN = 0.02  # of the contrast: differences within the rim, or below it, that do no harm
STEADY = 0.05  # of the contrast: differences of the level between views
DARKER = 0.01  # share of a view that may be below the rim: dead pixels, shadows
N_SIGMA = 5.0
LAG = 3  # rows between which an interpolation no longer correlates the noise
ENOUGH_VIEWS = 0.9
NEGLIGIBLE = 1e-6  # of the contrast: a level that rounding alone can make


@dataclass(frozen=True)
class Background:
    """What the rim of a series says.

    Parameters
    ----------
    level : float or None
        Intensity of the empty rim; None where the rim is not empty.
    reason : str
        Why, in words for the user.
    """

    level: float | None
    reason: str


@dataclass(frozen=True)
class _Rim:
    """Numbers of one view in its own units, named as in the notes of `empty_rim_background`."""

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
        The median of the means of 16 parts of the strips: nearly as exact as the mean, unbiased for counts,
        and deaf to hot pixels and to specimen in less than half of the parts.

    Raises
    ------
    DataError
        When the data is no stack of real numbers, or holds values that are not finite.
    UsageError
        When the strips do not fit into the view.
    """
    return np.array([rim.level for rim in _rims(data, margin_px)])


def empty_rim_background(data: NDArray[Any], *, margin_px: int | None = None) -> Background:
    """Decide whether the rim of a series is empty, and at what level.

    Parameters
    ----------
    data : ndarray of shape (n_views, ny, nx)
        Real numbers of any type, also a memory map: at most 256 rows of a view are read.
    margin_px : int, optional
        Width of a strip; by default 2 % of the view, at least 2 pixels.

    Returns
    -------
    Background
        With the median level of the empty views, when at least 90 % of the views are empty; 0 where it is
        less than a millionth of the contrast. None also for views that are too small for strips of the
        default width.

    Raises
    ------
    DataError, UsageError
        As `rim_level`; a UsageError only when `margin_px` was given.

    Notes
    -----
    A view is averaged along x in segments as wide as a strip; the first and the last are the strips. Each
    strip is cut into 8 parts along y. Let b be the median of the 16 means, s the noise of one averaged pixel
    (from differences over three rows, so that noise counts in full, also line noise and interpolated noise,
    but structure less), n the rows of a part, and C the contrast: the median over the views of their 99th
    percentile minus b. The rim of a view is empty when it is

    1. even: no part is further from b than noise or harmless structure, max(5 s/√n, 0.02 C);
    2. dark: at most 1 % of the view is below b by more than max(5 s, 0.02 C);
    3. steady: b is no further than max(5 s/√n, 0.05 C) from its median over the views that pass 1 and 2.

    That would also hold for noise and little else, and phase contrast redistributes intensity about an empty
    rim. So the views must be brighter than their rims on the whole: the median of mean minus b above five
    times the error of all b together.
    """
    if margin_px is None and data.ndim == 3 and not _has_rim(data.shape, _margin_px(data.shape)):
        return Background(None, "the views are too small for a rim")
    rims = list(_rims(data, margin_px))
    contrast = float(np.median([rim.contrast for rim in rims]))
    even = [rim for rim in rims if rim.unevenness <= max(N_SIGMA * rim.part_error, EVEN * contrast)]
    dark = [rim for rim in even if rim.darkness <= max(N_SIGMA * rim.noise, EVEN * contrast)]
    middle = float(np.median([rim.level for rim in dark or rims]))
    empty = [
        rim for rim in dark if abs(rim.level - middle) <= max(N_SIGMA * rim.part_error, STEADY * contrast)
    ]
    if len(empty) < ENOUGH_VIEWS * len(rims):
        causes = {
            "uneven": len(rims) - len(even),
            "not the darkest part": len(even) - len(dark),
            "at another level": len(dark) - len(empty),
        }
        listed = ", ".join(f"{cause} in {count}" for cause, count in causes.items() if count)
        return Background(None, f"the rim is not empty: {listed} of {len(rims)} views")
    excess = float(np.median([rim.excess for rim in rims]))
    error = float(np.median([rim.part_error for rim in rims])) / np.sqrt(2 * N_PARTS * len(rims))
    if excess <= N_SIGMA * error:
        return Background(None, "the views are no brighter than their rim, so this is no dark field")
    level = float(np.median([rim.level for rim in empty]))
    level = level if abs(level) > NEGLIGIBLE * contrast else 0.0
    return Background(level, f"the rim is empty in {len(empty)} of {len(rims)} views")


def _margin_px(shape: tuple[int, ...]) -> int:
    """Return the usual width of a strip."""
    return max(2, round(0.02 * shape[2]))


def _has_rim(shape: tuple[int, ...], margin_px: int) -> bool:
    """Tell whether strips so wide fit into the views and can be cut into parts."""
    return margin_px >= 1 and 4 * margin_px <= shape[2] and shape[1] >= 2 * N_PARTS


def _rims(data: NDArray[Any], margin_px: int | None) -> Iterator[_Rim]:
    """Yield the numbers of every view."""
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
        rows = np.asarray(view[:: -(-ny // MOST_ROWS)], np.float64)
        if not np.isfinite(rows).all():
            raise DataError(f"view {k + 1} holds values that are not finite; replace or exclude it")
        yield _measured(rows, nx // margin)


def _measured(rows: NDArray[np.float64], n_segments: int) -> _Rim:
    """Measure the rim of a view from some of its rows."""
    edges = np.linspace(0, rows.shape[1], n_segments + 1).astype(int)
    averaged = np.add.reduceat(rows, edges[:-1], axis=1) / np.diff(edges)
    strips = averaged[:, [0, -1]]
    parts = np.concatenate([part.mean(axis=0) for part in np.array_split(strips, N_PARTS)])
    level = float(np.median(parts))
    noise = float(np.sqrt(np.mean((strips[LAG:] - strips[:-LAG]) ** 2) / 2))
    low, high = np.quantile(averaged, [DARKER, 0.99])
    return _Rim(
        level=level,
        unevenness=float(np.abs(parts - level).max()),
        darkness=level - float(low),
        excess=float(averaged.mean()) - level,
        contrast=float(high) - level,
        noise=noise,
        part_error=noise / np.sqrt(len(rows) / N_PARTS),
    )
