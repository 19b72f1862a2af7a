"""Columns of an image: found, fitted, and freed of those that are none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.depth.column_fit import ColumnFit, fit_columns
from etcli.core.depth.columns import find_columns, voronoi_cross_sections
from etcli.core.errors import DataError

Doubles = NDArray[np.float64]

VACUUM_A = 3.0
"""Distance from the columns at which there is vacuum: more than half their distance in any crystal."""
LEAST_VACUUM = 0.02
"""Share of the image that must show vacuum."""
ROUNDS = 4
BOX = 3.0
"""Half the side of the square in which a column is fitted, in widths, as in StatSTEM."""


@dataclass(frozen=True)
class ColumnOptions:
    """How columns are found and fitted.

    Parameters
    ----------
    detect_sigma_A : float
        Standard deviation of the Gaussian of the detector in Å.
    min_distance_A : float
        Smallest distance of two columns in Å.
    threshold : float
        Weakest response of the detector, relative to its 99.5th percentile.
    width : {"common", "staged", "own"} or float
        Widths of the columns, see `etcli.core.depth.column_fit.fit_columns`; a number is in Å.
    background : float or None
        Constant background in units of the image; fitted when None.
    """

    detect_sigma_A: float = 0.5
    min_distance_A: float = 1.3
    threshold: float = 0.05
    width: str | float = "common"
    background: float | None = None


def locate_columns(
    image: Doubles, pixel_A: float, options: ColumnOptions, *, variance: Doubles | None = None
) -> ColumnFit:
    """Find the columns of an image and fit them together.

    Columns whose fit fails (a negative height, or a place at the limit of its movement) or that come closer
    to a stronger one than the smallest distance are left out, and the others are fitted again.

    Parameters
    ----------
    image : ndarray of shape (ny, nx), float64
    pixel_A : float
        Pixel size in Å.
    options : ColumnOptions
    variance : ndarray of shape (ny, nx), float64, optional
        Variance of the pixels, for the errors.

    Returns
    -------
    ColumnFit

    Raises
    ------
    DataError
        When there are no columns.
    UsageError
        When an option is out of range.
    """
    distance_px = options.min_distance_A / pixel_A
    start = find_columns(
        image,
        sigma_px=options.detect_sigma_A / pixel_A,
        min_distance_px=distance_px,
        threshold=options.threshold,
    )
    for _ in range(ROUNDS):
        fit = fit_given_columns(image, start, pixel_A, options, variance=variance)
        kept = ~fit.bad & _apart(fit, distance_px)
        if kept.all():
            return fit
        if not kept.any():
            raise DataError(
                f"none of {len(start)} maxima could be fitted as a column; is it a crystal in zone axis?"
            )
        start = np.column_stack([fit.x_px, fit.y_px])[kept]
    return fit


def fit_given_columns(
    image: Doubles,
    positions_px: Doubles,
    pixel_A: float,
    options: ColumnOptions,
    *,
    variance: Doubles | None = None,
) -> ColumnFit:
    """Fit columns at given places; see `locate_columns`.

    Parameters
    ----------
    image, pixel_A, options, variance
        As for `locate_columns`.
    positions_px : ndarray of shape (n_columns, 2), float64
        x and y in pixels.

    Returns
    -------
    ColumnFit
        All columns, in the order of the places.
    """
    width = options.width if isinstance(options.width, str) else options.width / pixel_A
    return fit_columns(
        image, positions_px, width=width, background=options.background, box=BOX, variance=variance
    )


def shows_vacuum(fit: ColumnFit, shape: tuple[int, int], pixel_A: float) -> bool:
    """Check whether an image shows enough beside the columns to tell its background.

    Where a crystal fills the frame, a fitted background takes the tails of all columns, those outside of the
    frame as well.

    Parameters
    ----------
    fit : ColumnFit
    shape : tuple of int
        Rows and columns of pixels.
    pixel_A : float
        Pixel size in Å.

    Returns
    -------
    bool
    """
    away = distance_from_columns(fit, shape) * pixel_A
    return float((away > VACUUM_A).mean()) > LEAST_VACUUM


def distance_from_columns(fit: ColumnFit, shape: tuple[int, int]) -> Doubles:
    """Compute the distance of every pixel from the nearest column: ndarray of shape (ny, nx), in pixels."""
    y, x = np.indices(shape)
    tree = cKDTree(np.column_stack([fit.x_px, fit.y_px]))
    return np.asarray(tree.query(np.column_stack([x.ravel(), y.ravel()]))[0].reshape(shape))


def cell_cross_sections(image: Doubles, fit: ColumnFit, background: float) -> Doubles:
    """Integrate an image over the Voronoi cells of columns, as far as their usual distance.

    Parameters
    ----------
    image : ndarray of shape (ny, nx), float64
    fit : ColumnFit
        Places of the columns.
    background : float
        Constant that is subtracted.

    Returns
    -------
    ndarray of shape (n_columns,), float64
        In units of the image times px².
    """
    places = np.column_stack([fit.x_px, fit.y_px])
    reach = fit.box * float(np.median(fit.width_px))
    if len(places) > 1:
        reach = float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    return voronoi_cross_sections(image, places, background=background, max_radius_px=reach)


def _apart(fit: ColumnFit, distance_px: float) -> NDArray[np.bool_]:
    """Select columns that are no closer to a stronger one than a distance."""
    away = np.hypot(np.subtract.outer(fit.x_px, fit.x_px), np.subtract.outer(fit.y_px, fit.y_px))
    stronger = fit.height[:, np.newaxis] < fit.height
    return ~np.asarray((stronger & (away < distance_px)).any(axis=1))
