"""Line integrals for a reconstruction, computed from the rows of a tilt series."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import TiltSeries

Array = NDArray[np.float32]

DARKEST = 1e-6  # share of the empty level, which keeps the logarithm finite in completely dark pixels
SAMPLED = 9  # views that represent all views, where only the brightness of rows matters


@dataclass(frozen=True)
class LineIntegrals:
    """Rows of a series after subtraction of the background, or as the logarithm of bright-field images.

    Parameters
    ----------
    series : TiltSeries
        The views.
    first_row, n_rows : int
        The rows of its views that are used, counted from 0.
    level : float or None
        Background, or the level of the empty image.
    logarithm : bool
        Whether the integrals are the logarithm of the level over the values.
    view_weight : ndarray of shape (n_views,), optional
        Factors by which the integrals of each view are multiplied.
    """

    series: TiltSeries
    first_row: int
    n_rows: int
    level: float | None = None
    logarithm: bool = False
    view_weight: Array | None = None

    def __call__(self, y0: int, y1: int) -> Array:
        """Return rows from y0 to y1 of all views, an array of shape (n_views, y1 - y0, nx)."""
        return self._weighted_integrals(self.series.rows(np.arange(self.first_row + y0, self.first_row + y1)))

    def select(self, views: NDArray[np.intp]) -> "LineIntegrals":
        """Return the line integrals of a subset of the views, counted from 0."""
        weight = None if self.view_weight is None else self.view_weight[views]
        return replace(self, series=self.series.select([int(k) for k in views]), view_weight=weight)

    def sample(self) -> Array:
        """Return the line integrals of a few views distributed over the series, of shape (n, n_rows, nx)."""
        chosen = np.unique(np.linspace(0, len(self.series) - 1, SAMPLED).astype(int))
        rows = slice(self.first_row, self.first_row + self.n_rows)
        return np.stack([self._integrals(self.series.view(int(k))[rows]) for k in chosen])

    def spread(self, n: int) -> Array:
        """Return the line integrals of up to n evenly distributed rows, of shape (n_views, n, nx)."""
        rows = self.first_row + np.unique(np.linspace(0, self.n_rows - 1, n).round().astype(int))
        return self._weighted_integrals(self.series.rows(rows))

    def _weighted_integrals(self, values: Array) -> Array:
        """Return the integrals of some rows of all views, multiplied by the weights of the views."""
        integrals = self._integrals(values)
        if self.view_weight is None:
            return integrals
        return integrals * self.view_weight[:, np.newaxis, np.newaxis]

    def _integrals(self, values: Array) -> Array:
        """Subtract the background, or take the logarithm."""
        if self.logarithm:
            empty = np.float32(self.level)
            return np.log(empty / np.maximum(values, np.float32(DARKEST) * empty))
        return values - np.float32(self.level) if self.level else values
