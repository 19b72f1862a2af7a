"""Columns in an image of a crystal: detection, and cross-sections by integration over Voronoi cells."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.arguments import checked_number
from etcli.core.depth.column_fit import checked_image
from etcli.core.errors import DataError, UsageError
from etcli.core.parabola import lowest

Float = NDArray[np.float64]

PERCENTILE = 99.5
MARGIN_PX = 2.0
"""Columns closer to the border are dropped: too much of them may be outside of the image."""


def find_columns(
    image: NDArray[Any], *, sigma_px: float, min_distance_px: float, threshold: float = 0.05
) -> Float:
    """Find atomic columns in an image as maxima of its negative Laplacian of Gaussian.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Finite real numbers, columns bright.
    sigma_px : float
        Standard deviation of the Gaussian in pixels, best a little below that of the columns.
    min_distance_px : float
        Of two maxima closer than this, the weaker is dropped.
    threshold : float
        Least response of a column, relative to the 99.5 percentile of the response of the image.

    Returns
    -------
    ndarray of shape (n_columns, 2), float64
        (x, y) in pixel coordinates, 0 the centre of the first pixel, interpolated by parabolas; in the order
        of y, then x. None is within 2 px of the centres of the outermost pixels.

    Raises
    ------
    DataError
        When the image cannot be used, or no maximum exceeds the threshold.
    UsageError
        When an option is out of range.

    Notes
    -----
    The Laplacian is 0 on a constant or sloping background. The image is continued by mirroring.
    It cannot be told from the response alone whether maxima are columns: an image of noise has them as well.

    References
    ----------
    T. Lindeberg, Int. J. Comput. Vis. 30, 79 (1998): detection of blobs by the Laplacian of Gaussian.
    """
    image = checked_image(image)
    sigma_px = checked_number("sigma of the detection", sigma_px)
    min_distance_px = checked_number("smallest distance of columns", min_distance_px)
    threshold = checked_number("threshold", threshold)
    if sigma_px <= 0 or min_distance_px < 0 or not 0 <= threshold < 1:
        raise UsageError(
            f"columns cannot be found with sigma {sigma_px:g} px, distances of {min_distance_px:g} px and "
            f"threshold {threshold:g}; use a positive sigma, a distance of 0 or more, a threshold of 0 to 1"
        )
    response = -ndimage.gaussian_laplace(image, sigma_px, mode="mirror")
    limit = threshold * max(float(np.percentile(response, PERCENTILE)), 0.0)
    peak = (response == ndimage.maximum_filter(response, 3, mode="mirror")) & (response > limit)
    places, strength = _interpolated(response, np.argwhere(peak))
    places = places[_strongest(places, strength, min_distance_px)]
    last = np.array(image.shape[::-1]) - 1
    places = places[((places >= MARGIN_PX) & (places <= last - MARGIN_PX)).all(axis=1)]
    if not len(places):
        raise DataError(
            f"no columns: no maximum of the Laplacian away from the border exceeds {limit:.4g} (threshold "
            f"{threshold:g}), the largest being {response.max():.4g}; lower the threshold, or change sigma"
        )
    return places[np.lexsort(places.T)]


def voronoi_cross_sections(
    image: NDArray[Any], positions: ArrayLike, *, background: float = 0.0, max_radius_px: float
) -> Float:
    """Integrate an image over the Voronoi cells of columns.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Finite real numbers.
    positions : array_like of shape (n_columns, 2)
        (x, y) in pixel coordinates.
    background : float
        Constant that is subtracted.
    max_radius_px : float
        Pixels farther from all columns belong to none.

    Returns
    -------
    ndarray of shape (n_columns,), float64
        Cross-sections in units of the image times px².

    Raises
    ------
    DataError
        When the image or the positions cannot be used.
    UsageError
        When the radius is not positive.

    Notes
    -----
    A pixel belongs as a whole to the column nearest to its centre; one that is equally far from two, to one
    of them. The cell of a column near the border ends there: its cross-section lacks what is outside.

    References
    ----------
    H. E et al., Ultramicroscopy 133, 109 (2013): cross-sections by integration over the cells of columns.
    """
    image = checked_image(image)
    places = np.asarray(positions, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or not np.isfinite(places).all():
        raise DataError(f"positions (x, y) of columns are needed, not an array of shape {places.shape}")
    background = checked_number("background", background)
    max_radius_px = checked_number("largest radius", max_radius_px)
    if max_radius_px <= 0:
        raise UsageError(f"a largest radius of {max_radius_px:g} px leaves no pixel; use a positive number")
    rows, columns = np.indices(image.shape)
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1)
    nearest = cKDTree(places).query(pixels, distance_upper_bound=max_radius_px)[1]
    sums = np.bincount(nearest, image.ravel() - background, minlength=len(places) + 1)
    return np.asarray(sums[: len(places)])  # the last are the pixels of no column


def _interpolated(response: Float, peaks: NDArray[np.intp]) -> tuple[Float, Float]:
    """Return places (x, y) of maxima at pixels (row, column), between the pixels, and the responses there."""
    padded = np.pad(response, 1, mode="reflect")
    places = np.empty((len(peaks), 2))
    for n, (row, column) in enumerate(peaks):
        around = -padded[row : row + 3, column : column + 3]
        places[n] = column + lowest(around[1]), row + lowest(around[:, 1])
    return places, response[peaks[:, 0], peaks[:, 1]]


def _strongest(places: Float, strength: Float, min_distance_px: float) -> NDArray[np.intp]:
    """Return the indices of maxima that no stronger one is near, the strongest first."""
    order = np.lexsort((*places.T, -strength))
    kept = np.ones(len(order), bool)
    if len(order) > 1:
        close = np.sort(cKDTree(places[order]).query_pairs(min_distance_px, output_type="ndarray"), axis=1)
        for stronger, weaker in close[np.lexsort(close.T[::-1])]:
            if kept[stronger]:
                kept[weaker] = False
    return np.asarray(order[kept])
