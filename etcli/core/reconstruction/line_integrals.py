"""Rows of a tilt series as a reconstruction takes them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import TiltSeries

Array = NDArray[np.float32]

DARKEST = 1e-6  # of the empty level, so that the logarithm is finite where nothing came through
SAMPLED = 9  # views that stand for all where only the brightness of rows is asked for


@dataclass(frozen=True)
class LineIntegrals:
    """Rows of a series with the background taken off, or as the logarithm of bright-field images.

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
        What the integrals of each view are multiplied with.
    """

    series: TiltSeries
    first_row: int
    n_rows: int
    level: float | None = None
    logarithm: bool = False
    view_weight: Array | None = None

    def __call__(self, y0: int, y1: int) -> Array:
        """Return rows from y0 to y1 of all views, an array of shape (n_views, y1 - y0, nx)."""
        return self._weighed(self.series.rows(np.arange(self.first_row + y0, self.first_row + y1)))

    def select(self, views: NDArray[np.intp]) -> "LineIntegrals":
        """Return some of the views, counted from 0."""
        weight = None if self.view_weight is None else self.view_weight[views]
        return replace(self, series=self.series.select([int(k) for k in views]), view_weight=weight)

    def sample(self) -> Array:
        """Return some views, of shape (n, n_rows, nx)."""
        chosen = np.unique(np.linspace(0, len(self.series) - 1, SAMPLED).astype(int))
        rows = slice(self.first_row, self.first_row + self.n_rows)
        return np.stack([self._integrals(self.series.view(int(k))[rows]) for k in chosen])

    def spread(self, n: int) -> Array:
        """Return up to n rows that are spread evenly over all, of shape (n_views, n, nx)."""
        rows = self.first_row + np.unique(np.linspace(0, self.n_rows - 1, n).round().astype(int))
        return self._weighed(self.series.rows(rows))

    def _weighed(self, values: Array) -> Array:
        """Return the integrals of some rows of all views."""
        integrals = self._integrals(values)
        if self.view_weight is None:
            return integrals
        return integrals * self.view_weight[:, np.newaxis, np.newaxis]

    def _integrals(self, values: Array) -> Array:
        """Take the background off, or the logarithm."""
        if self.logarithm:
            empty = np.float32(self.level)
            return np.log(empty / np.maximum(values, np.float32(DARKEST) * empty))
        return values - np.float32(self.level) if self.level else values
