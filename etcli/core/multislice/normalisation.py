"""Intensities of phase-contrast images in units of the vacuum: levels, flat field, hot pixels, noise."""

from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2
from scipy.stats import poisson

from etcli.core.arguments import check_choice
from etcli.core.errors import DataError
from etcli.core.filters import despike, gaussian
from etcli.core.multislice.optics import WaveGrid

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

VACUUM_LEVELS = ("mean", "mode")
RIM = 16
"""The rim of an image is this part of its shorter side wide."""
MANY_ELECTRONS = 1000.0
"""From here on the first two terms of the expected residual are exact to 1e-6."""
SPREAD = 8.0
"""Views are apart from the others by this many times the median deviation at least: 5 standard deviations."""


def vacuum_levels(images: Array, how: str) -> Doubles:
    """Measure the intensity of the vacuum in every image.

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities.
    how : {"mean", "mode"}
        The mean of the rim, where the specimen lies in the middle of the images; or the most frequent
        intensity, where vacuum fills more of an image than anything else of one intensity.

    Returns
    -------
    ndarray of shape (n_images,), float64

    Raises
    ------
    UsageError
        If there is no such level.
    DataError
        If the level of an image is not above 0.
    """
    check_choice("level of the vacuum", how, VACUUM_LEVELS)
    measure = _rim_mean if how == "mean" else _mode
    levels = np.array([measure(image) for image in images])
    dark = np.flatnonzero(~(levels > 0))
    if dark.size:
        raise DataError(
            f"the vacuum of view {dark[0] + 1} has the intensity {levels[dark[0]]:g}, which is not above 0; "
            "exclude it"
        )
    return levels


def _rim_mean(image: Array) -> float:
    """Return the mean of the rim of an image."""
    width = max(min(image.shape) // RIM, 1)
    inner = np.zeros(image.shape, bool)
    inner[width:-width, width:-width] = True
    return float(image[~inner].mean(dtype=np.float64))


def _mode(image: Array) -> float:
    """Return the most frequent intensity of an image, by halving the sample.

    References
    ----------
    D. R. Bickel, R. Frühwirth, Comput. Stat. Data Anal. 50, 3500 (2006): half-sample mode.
    """
    # counts of a few electrons are whole numbers, which a little smoothing makes continuous
    sample = np.sort(gaussian(image), axis=None).astype(np.float64)
    while sample.size > 3:
        half = (sample.size + 1) // 2
        spans = sample[half - 1 :] - sample[: sample.size - half + 1]
        first = int(np.argmin(spans))
        sample = sample[first : first + half]
    return float(sample.mean())


def views_apart(means: Doubles, nearest: float) -> NDArray[np.intp]:
    """Find images whose mean intensity is not that of the others.

    Parameters
    ----------
    means : ndarray of shape (n_images,), float64
        Mean intensity of each image.
    nearest : float
        Smallest relative deviation from the median that matters.

    Returns
    -------
    ndarray of intp
        Images that deviate by more than that, and by more than noise and the specimen, whose thickness
        along the beam changes with the tilt, make most images deviate. They are counted from 0.
    """
    usual = float(np.median(means))
    deviation = np.abs(means - usual)
    allowed = max(nearest * abs(usual), SPREAD * float(np.median(deviation)))
    return np.flatnonzero(~(deviation <= allowed))


def divided_by_flat_field(images: Array, flat: Array) -> Array:
    """Divide images by the response of the detector.

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities; overwritten.
    flat : ndarray of shape (ny, nx), float32
        Image of an even illumination, above 0; its mean does not matter.

    Returns
    -------
    ndarray of shape (n_images, ny, nx), float32
        The same array.

    Raises
    ------
    DataError
        If the flat field has another size or is not above 0.
    """
    if flat.shape != images.shape[1:]:
        sizes = [" x ".join(map(str, shape[::-1])) for shape in (flat.shape, images.shape[1:])]
        raise DataError(f"the flat field has {sizes[0]} pixels, but the images have {sizes[1]}")
    if not flat.min() > 0:
        raise DataError(f"the flat field holds the value {flat.min():g}; its values must be above 0")
    images *= flat.mean(dtype=np.float64).astype(np.float32) / flat
    return images


def without_hot_pixels(images: Array) -> int:
    """Replace single pixels that differ strongly from their neighbours by the median of these.

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities; overwritten.

    Returns
    -------
    int
        Number of pixels replaced; see `etcli.core.filters.despike`.
    """
    replaced = 0
    for image in images:
        clean = despike(image)
        replaced += int(np.count_nonzero(clean != image))
        image[...] = clean
    return replaced


def expected_squared_residual(electrons: float) -> float:
    """Compute the expected squared residual of the amplitude of a counted pixel of intensity 1.

    Parameters
    ----------
    electrons : float
        Mean number of electrons N in a pixel, > 0.

    Returns
    -------
    float
        The expectation of (√(n/N) - 1)² for Poisson numbers n of mean N: 1/(4 N) where N is large.
    """
    if electrons > MANY_ELECTRONS:
        return 1 / (4 * electrons) + 7 / (64 * electrons**2)
    counts = np.arange(floor(electrons + 12 * sqrt(electrons) + 30))
    root = float(np.sqrt(counts) @ poisson.pmf(counts, electrons))
    return 2 - 2 * root / sqrt(electrons)


def noise_beyond_aperture(images: Array, highest_per_A: float, pixel_A: float) -> float | None:
    """Measure the noise of the amplitudes √I in the part of their spectrum that the aperture keeps free.

    Parameters
    ----------
    images : ndarray of shape (n_images, ny, nx), float32
        Intensities in units of the vacuum.
    highest_per_A : float
        Highest spatial frequency that passes the aperture, in 1/Å.
    pixel_A : float
        Pixel size in Å.

    Returns
    -------
    float or None
        Mean square of the noise in a pixel, if it is white; None where the aperture is larger than the
        highest frequencies of the pixels. Interference of scattered waves is neglected.
    """
    qy, qx = WaveGrid(images.shape[1:], pixel_A).frequencies_per_A
    beyond = qx**2 + qy**2 > highest_per_A**2
    if not beyond.any():
        return None
    powers = [
        np.square(np.abs(fft2(np.sqrt(np.maximum(image, 0)))[beyond])).mean(dtype=np.float64)
        for image in images
    ]
    return float(np.mean(powers)) / beyond.size
