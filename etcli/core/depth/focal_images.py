"""Images of a focal series with what depth sectioning has to know of them, and their sharpest average."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.errors import DataError
from etcli.core.geometry import centre

Doubles = NDArray[np.float64]
Indices = NDArray[np.intp]

SHARPNESS_SIGMA_PX = 1.0
PLATEAU = 10
"""Pixels of a series that all have its highest value: more than chance, so the detector was saturated."""


@dataclass(frozen=True, eq=False)
class FocalImages:
    """Sections of a focal series.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx), float32
        Images as they were recorded, in fractions of the beam where the dose is known.
    focus_A : ndarray of shape (n_sections,), float64
        Depth of the focal plane in Å, positive away from the source; NaN where unknown.
    pixel_A : float
        Pixel size in Å.
    displacement_px : ndarray of shape (n_sections, 2), float64
        Displacement (x, y) of the content of each section in pixels.
    dose_e_A2 : float or None
        Electrons per Å² in an image.
    calibrated : bool
        Whether values are fractions of the beam; otherwise they cannot be compared with a simulation.
    """

    sections: NDArray[np.float32]
    focus_A: Doubles
    pixel_A: float
    displacement_px: Doubles
    dose_e_A2: float | None = None
    calibrated: bool = True

    def __len__(self) -> int:
        return len(self.sections)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of pixels of a section."""
        return self.sections.shape[1], self.sections.shape[2]

    @property
    def centre_px(self) -> Doubles:
        """Centre (x, y) of the images in pixels: ndarray of shape (2,), float64."""
        ny, nx = self.shape
        return np.array([centre(nx), centre(ny)])

    @property
    def electrons(self) -> float | None:
        """Electrons of the beam in one pixel of one image."""
        return None if self.dose_e_A2 is None else self.dose_e_A2 * self.pixel_A**2

    def displaced(self, displacement_px: Doubles) -> "FocalImages":
        """Return the series with other displacements."""
        return replace(self, displacement_px=displacement_px)


def check_sections(sections: NDArray[np.float32]) -> None:
    """Check that every section shows something; raise DataError for a constant one.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx), float32
    """
    for number, section in enumerate(sections):
        if section.min() == section.max():
            raise DataError(f"all pixels of section {number + 1} have the same value; leave it out (--views)")


def saturated_pixels(sections: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Find pixels at the end of the detector's range: many of a series that have its highest value.

    They are more than those of the next lower value; without saturation, the higher a value the rarer it is.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx), float32

    Returns
    -------
    ndarray of that shape, bool
    """
    highest = sections == sections.max()
    n_highest = int(highest.sum())
    lower = sections[~highest]
    n_next = int((lower == lower.max()).sum()) if lower.size else 0
    return highest if n_highest >= max(PLATEAU, n_next + 1) else np.zeros_like(highest)


def sharpest_sections(images: FocalImages, n: int) -> Indices:
    """Choose the neighbouring sections in focus that are sharpest together.

    Parameters
    ----------
    images : FocalImages
    n : int
        Number of sections; all if there are no more.

    Returns
    -------
    ndarray of shape (n,), intp
        In the order of focus.
    """
    known = np.isfinite(images.focus_A).all()
    order = np.argsort(images.focus_A, kind="stable") if known else np.arange(len(images))
    n = min(n, len(images))
    contrast = [ndimage.gaussian_filter(images.sections[k], SHARPNESS_SIGMA_PX).std() for k in order]
    together = np.convolve(contrast, np.ones(n), "valid")
    first = int(together.argmax())
    return np.asarray(order[first : first + n])


def average_section(sections: NDArray[np.float32], displacement_px: Doubles) -> Doubles:
    """Average sections without their displacements.

    Parameters
    ----------
    sections : ndarray of shape (n_sections, ny, nx), float32
    displacement_px : ndarray of shape (n_sections, 2), float64

    Returns
    -------
    ndarray of shape (ny, nx), float64
        Interpolated by cubic splines; beyond the edges of a section its nearest pixels.
    """
    total = np.zeros(sections.shape[1:])
    for section, (dx, dy) in zip(sections, displacement_px, strict=True):
        moved = dx != 0 or dy != 0
        total += (
            ndimage.shift(section.astype(float), (-dy, -dx), order=3, mode="nearest") if moved else section
        )
    return total / len(sections)
