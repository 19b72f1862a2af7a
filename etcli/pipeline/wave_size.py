"""Size of the waves of a multislice computation, which grows with the defocus and the aberrations."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import UsageError
from etcli.core.lengths import ANGSTROM_PER_UM
from etcli.core.multislice.model import margin_px, wave_geometry
from etcli.core.multislice.optics import PhaseContrastOptics

Doubles = NDArray[np.float64]

MOST_IMAGES, MOST_PX = 8, 2048
"""Waves up to this many images, or pixels, wide are of a possible defocus."""


def reach_px(defocus_A: Doubles, optics: PhaseContrastOptics, pixel_A: float) -> int:
    """Compute how far signal is delocalised, in whole pixels, by the largest of the defoci."""
    return ceil(margin_px(optics, float(np.abs(defocus_A).max()), pixel_A))


def check_defoci(
    name: str, defocus_A: Doubles, optics: PhaseContrastOptics, image: tuple[int, int], pixel_A: float
) -> None:
    """Check that no defocus, and no aberration, is so large that it must be in another unit.

    Parameters
    ----------
    name : str
        Name of the file, for the message.
    defocus_A : ndarray of shape (n_images,), float64
        Defoci in Å.
    optics : PhaseContrastOptics
    image : (int, int)
        Rows and columns of an image.
    pixel_A : float
        Pixel size in Å.

    Raises
    ------
    UsageError
        When a wave would be many times larger than an image.
    """
    largest_A = float(np.abs(defocus_A).max())
    across = max(wave_geometry((1, 1, 1), image, pixel_A, optics, 1, largest_A).wave)
    if across <= max(MOST_IMAGES * max(image), MOST_PX):
        return
    words = f"needs a wave of {across} pixels for images of {max(image)}; is it in"
    if optics.delocalisation_A(0.0) < 0.5 * optics.delocalisation_A(largest_A):
        raise UsageError(f"{name}: a defocus of {largest_A / ANGSTROM_PER_UM:g} µm {words} µm?")
    if abs(optics.astigmatism_A) > largest_A:
        raise UsageError(f"{name}: an astigmatism of {optics.astigmatism_A:g} Å {words} Å?")
    raise UsageError(f"{name}: a spherical aberration of {optics.cs_mm:g} mm {words} mm?")
