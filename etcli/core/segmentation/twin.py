"""Twin of a specimen: a model of its views with the same noise, and the threshold that its volume needs."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError

Array = NDArray[np.float32]

EDGE_WIDTH = 0.3
"""Width of the model's surface, as a share of the contrast."""
HIGH_PASS_PX = 1.0
LOW_PASS_PX, ALIKE = 2.0, 0.85
"""Correlation of views and projections, after a Gaussian, below which they are not of one body."""
PATCH_PX = 21


def twin_model(volume: Array, threshold: float, contrast: float) -> Array:
    """Body of density 1 inside a threshold, with a soft surface.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    threshold : float
    contrast : float
        Level of the solid above that of the vacuum.

    Returns
    -------
    ndarray of shape (nz, ny, nx), float32
        ``(v - t) / (0.3 contrast) + 1/2``, clipped to 0…1.
    """
    model = volume - np.float32(threshold)
    model *= np.float32(1 / (EDGE_WIDTH * contrast))
    model += np.float32(0.5)
    return np.clip(model, 0, 1, out=model)


def twin_views(views: Array, projections: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Scale projections of a model to views, and add noise like theirs.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx), float32
        Background subtracted.
    projections : ndarray of shape (n_views, ny, nx), float32
        Of the model, in its density times voxels.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n_views, ny, nx), float32
    float
        The density of the solid, by least squares.

    Raises
    ------
    DataError
        When the projections are not like the views.

    Notes
    -----
    The variance of the noise is a constant plus a multiple of the signal, fitted by least squares to the
    squares of the views without what is smoother than a Gaussian of one pixel.
    """
    across = sum(float(np.vdot(view, model)) for view, model in zip(views, projections, strict=True))
    square = sum(float(np.vdot(model, model)) for model in projections)
    alike = correlation(views, projections)
    if square <= 0 or across <= 0 or not alike >= ALIKE:
        raise DataError(
            f"projections of the segmented solid do not resemble the views (correlation {alike:.2f}, "
            f"less than {ALIKE:g}); give the series of this volume, or leave out --series if it has several "
            "densities"
        )
    density = across / square
    signal = np.maximum(projections * np.float32(density), 0)
    constant, slope = _noise(views, signal)
    spread = np.sqrt(np.maximum(constant + slope * signal, 0)).astype(np.float32)
    spread *= rng.standard_normal(signal.shape, np.float32)
    return projections * np.float32(density) + spread, density


def correlation(views: Array, projections: Array) -> float:
    """Correlation of all views with projections, both smoothed so that noise counts little.

    Parameters
    ----------
    views, projections : ndarray of shape (n_views, ny, nx), float32

    Returns
    -------
    float
        NaN where one of them is constant.
    """
    sums = np.zeros(5)
    for pair in zip(views, projections, strict=True):
        one, two = (ndimage.gaussian_filter(image, LOW_PASS_PX).astype(np.float64) for image in pair)
        sums += [one.sum(), two.sum(), (one * one).sum(), (two * two).sum(), (one * two).sum()]
    x, y, xx, yy, xy = sums / views.size
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((xy - x * y) / np.sqrt((xx - x * x) * (yy - y * y)))


def threshold_of_volume(volume: Array, n_voxels: float) -> float:
    """Threshold above which a number of voxels lies.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    n_voxels : float

    Returns
    -------
    float
    """
    rank = min(max(round(n_voxels), 1), volume.size)
    return float(np.partition(volume.ravel(), volume.size - rank)[volume.size - rank])


def _noise(views: Array, signal: Array) -> tuple[float, float]:
    """Fit the variance of the noise as a constant plus a multiple of the signal."""
    delta = np.zeros((PATCH_PX, PATCH_PX))
    delta[PATCH_PX // 2, PATCH_PX // 2] = 1
    passed = float(((delta - ndimage.gaussian_filter(delta, HIGH_PASS_PX)) ** 2).sum())
    sums = np.zeros(5)
    for view, model in zip(views, signal.astype(np.float64), strict=True):
        fine = view - ndimage.gaussian_filter(view, HIGH_PASS_PX)
        variance = fine.astype(np.float64) ** 2 / passed
        sums += [model.size, model.sum(), (model**2).sum(), variance.sum(), (model * variance).sum()]
    n, x, xx, y, xy = sums
    matrix = np.array([[n, x], [x, xx]])
    constant, slope = np.linalg.lstsq(matrix, np.array([y, xy]), rcond=None)[0]
    return float(constant), float(slope)
