"""Colours of labels."""

import numpy as np
from numpy.typing import NDArray

LIGHTNESS, CHROMA = 0.72, 0.13
GOLDEN = (np.sqrt(5) - 1) / 2
"""Part of a turn between the hues of successive numbers, so that all differ as much as they can."""


def label_colours(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a colour for each label, of equal lightness, those of successive labels far apart in hue.

    Parameters
    ----------
    labels : ndarray of int

    Returns
    -------
    ndarray of shape (..., 3), float64
        Red, green and blue (sRGB) from 0 to 1.

    References
    ----------
    B. Ottosson, A perceptual color space for image processing (2020): Oklab, from which the colours are
    converted.
    """
    hue = 2 * np.pi * ((np.asarray(labels) * GOLDEN + 0.11) % 1)
    a, b = CHROMA * np.cos(hue), CHROMA * np.sin(hue)
    long = (LIGHTNESS + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (LIGHTNESS - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (LIGHTNESS - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    encoded: NDArray[np.float64] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return encoded
