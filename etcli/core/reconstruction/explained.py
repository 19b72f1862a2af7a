"""How much of the views a volume explains, with and without their noise.

Noise is not explained by any volume, so the residual of a perfectly aligned series is as large as its noise.
Errors of alignment and of angles leave residuals that are larger than a few pixels. They are what remains of
smoothed residuals after the noise, which is known from their finest structure, has been subtracted.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.reconstruction.streamed_backprojection import BandWriter

Array = NDArray[np.float32]

SMOOTHING_PX = 2.0
"""Standard deviation of the Gaussian, which leaves a seventh of white noise."""
SHORT_PX = 64
"""More than twice as wide as the Gaussian reaches."""
NOISE_FILTER = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32) / 6
"""Difference of two Laplacians of norm 1, which smooth structures and straight edges do not pass."""
LEAST_SIGNAL = 0.1
"""Part of the power of smoothed views below which nothing can be told from noise."""


@dataclass(frozen=True)
class Unexplained:
    """Part of the views that the projections of a volume do not explain.

    Parameters
    ----------
    with_noise : float
        ``‖A x - y‖ / ‖y‖``: 0 if all is explained, 1 for an empty volume.
    without_noise : float or None
        The same of projections and views after smoothing by `SMOOTHING_PX`, with the power of the noise
        subtracted from both; None where the views hold hardly more than noise.
    noise : float
        Part of the power of the smoothed residual that is white noise. Where it is large the rest may be
        noise as well, which a detector or an interpolation has blurred.

    References
    ----------
    J. Immerkær, Comput. Vis. Image Underst. 64, 300 (1996), doi:10.1006/cviu.1996.0060 (filter for noise).
    """

    with_noise: float
    without_noise: float | None
    noise: float = 0.0

    @classmethod
    def of(cls, projections: Array, views: Array, *, variance: Array | None = None) -> "Unexplained":
        """Compare projections with views.

        Parameters
        ----------
        projections, views : ndarray of shape (n_views, n_rows, n_detector), float32
            Neighbouring rows of all views; 0 is empty.
        variance : ndarray of the same shape, optional
            Variance of the noise, where it is known: of counts their expectation. By default the noise is
            that of the finest structure of the residual.

        Returns
        -------
        Unexplained
            0 where the views are empty.
        """
        residual = size = noise = smoothed_residual = smoothed_size = 0.0
        for projection, view in zip(projections, views, strict=True):
            difference = projection - view
            residual, size = residual + _power(difference), size + _power(view)
            if variance is None:
                noise += _power(ndimage.convolve(difference, NOISE_FILTER, mode="mirror"))
            smoothed_residual += _power(_smooth(difference))
            smoothed_size += _power(_smooth(view))
        if not size:
            return cls(0.0, 0.0)
        if variance is not None:
            noise = float(np.sum(variance, dtype=np.float64))
        noise *= _kept(views.shape[1]) * _kept(views.shape[2])
        signal = smoothed_size - noise
        excess = max(smoothed_residual - noise, 0.0)
        known = signal > LEAST_SIGNAL * smoothed_size
        return cls(
            sqrt(residual / size),
            sqrt(excess / signal) if known else None,
            min(noise / (smoothed_residual or 1.0), 1.0),
        )

    def numbers(self) -> dict[str, float | None]:
        """Return them by their names for scripts."""
        return {
            "residual": self.with_noise,
            "unexplained": self.without_noise,
            "unexplained_noise": self.noise,
        }


def border_over_mean(block: Array) -> float:
    """Compute the mean density of the outermost sections over that of all.

    Parameters
    ----------
    block : ndarray of shape (thickness, n_rows, width), float32
        Densities; those below zero count as zero.

    Returns
    -------
    float
        On the side where it is higher, of a thirty-second of the thickness; 0 for an empty volume. A specimen
        that does not fit into the volume is piled up there.
    """
    profile = np.array([np.maximum(section, 0).mean(dtype=np.float64) for section in block])
    n, mean = max(1, len(profile) // 32), float(profile.mean())
    return max(float(profile[:n].mean()), float(profile[-n:].mean())) / (mean or 1.0)


def _power(image: Array) -> float:
    return float(np.sum(np.square(image, dtype=np.float64)))


def _smooth(image: Array) -> Array:
    return np.asarray(ndimage.gaussian_filter(image, SMOOTHING_PX, mode="nearest"))


def _kept(n: int) -> float:
    """Return the part of the power of white noise that smoothing along n pixels leaves."""
    few = min(n, SHORT_PX)
    weights = np.square(ndimage.gaussian_filter1d(np.eye(few), SMOOTHING_PX, mode="nearest")).sum(axis=1)
    # all pixels that are not near an end are alike
    return float(weights.sum() + (n - few) * weights[few // 2]) / n


class RowRecorder:
    """Record of some rows of a volume while it is written.

    Parameters
    ----------
    write : callable
        Function that writes blocks of the volume.
    rows : slice
        The rows to record.
    shape : (int, int)
        Sections and columns of the volume.
    """

    def __init__(self, write: BandWriter, rows: slice, shape: tuple[int, int]) -> None:
        self._write, self._rows = write, rows
        thickness, width = shape
        self.block = np.zeros((thickness, rows.stop - rows.start, width), np.float32)

    def __call__(self, y0: int, block: Array, *, z0: int = 0) -> None:
        """Write a block of shape (sections, rows, width), and record what it has of the rows."""
        self._write(y0, block, z0=z0)
        first, last = max(y0, self._rows.start), min(y0 + block.shape[1], self._rows.stop)
        if first < last:
            there = slice(first - self._rows.start, last - self._rows.start)
            self.block[z0 : z0 + len(block), there] = block[:, first - y0 : last - y0]
