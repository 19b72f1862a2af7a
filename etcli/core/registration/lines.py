"""Common direction of the lines in an image that run roughly along x."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.geometry import centre

Float = NDArray[np.float64]

SMOOTH_PX = 1.2
SHORTEST_PX = 8
LINES_PER_PX = 4
ALIKE_DEG = 3.0
ROUNDS = 20
TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, eq=False)
class Edges:
    """Positions of the pixels of an image in a round field, and its gradient there.

    Parameters
    ----------
    x, y : ndarray of shape (n,), float64
        Positions from the centre in pixels, within a round field, so that no direction is favoured.
    along_x, along_y : ndarray of shape (n,), float64
        Derivatives along x and y, per pixel, of the image smoothed by a Gaussian of 1.2 px: unlike Sobel's
        operator it favours no direction.
    """

    x: Float
    y: Float
    along_x: Float
    along_y: Float

    @classmethod
    def of(cls, image: NDArray[np.float32]) -> "Edges":
        """Compute the gradient of an image."""
        along_y, along_x = (
            np.asarray(ndimage.gaussian_filter(image.astype(np.float64), SMOOTH_PX, order=order))
            for order in ((1, 0), (0, 1))
        )
        ny, nx = image.shape
        y, x = np.meshgrid(np.arange(ny) - centre(ny), np.arange(nx) - centre(nx), indexing="ij")
        field = np.hypot(x, y) < min(ny, nx) / 2 - 2
        return cls(x[field], y[field], along_x[field], along_y[field])

    def votes(self, angle_rad: float) -> float:
        """Return the variance of a Hough transform over the lines of one direction.

        Parameters
        ----------
        angle_rad : float
            Direction of the lines, from +x, counter-clockwise.

        Returns
        -------
        float
            Variance of the votes between lines, relative to the mean squared gradient: near 0 if there are no
            lines. A pixel's vote is the gradient across the direction minus that along it, at least 0.
        """
        cos, sin = np.cos(angle_rad), np.sin(angle_rad)
        across, along = cos * self.along_y - sin * self.along_x, sin * self.along_y + cos * self.along_x
        edge = np.maximum(np.abs(across) - np.abs(along), 0)
        height = cos * self.y - sin * self.x
        # Lines finer than pixels, then smoothed: whole rows of pixels that vote together would favour 0.
        line = np.rint(LINES_PER_PX * (height - height.min())).astype(np.intp)
        total, length = (
            ndimage.gaussian_filter1d(np.bincount(line, each), float(LINES_PER_PX)) * LINES_PER_PX
            for each in (edge, np.ones(len(line)))
        )
        uneven = total - edge.mean() * length
        power = np.sum(self.along_x**2 + self.along_y**2)
        return float(np.sum(uneven**2 / np.maximum(length, SHORTEST_PX)) / LINES_PER_PX / max(power, TINY))

    def direction(self, start_rad: float) -> float:
        """Return the mean direction of the edges near a given direction.

        Parameters
        ----------
        start_rad : float
            First estimate of the direction, from +x, counter-clockwise.

        Returns
        -------
        float
            Mean weighted by the squared gradient, and by a Gaussian of 3° about the mean itself.
        """
        each = -np.arctan2(self.along_x * np.sign(self.along_y), np.abs(self.along_y))
        power = self.along_x**2 + self.along_y**2
        angle = start_rad
        for _ in range(ROUNDS):
            away = each - angle
            weight = power * np.exp(-((away / np.deg2rad(ALIKE_DEG)) ** 2) / 2)
            angle += float(weight @ away / weight.sum())
        return angle
