"""Conversion of recorded images to counts, which the entropy of a projection needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.binning import bin_image
from etcli.core.errors import DataError

Float = NDArray[np.float64]
SMALLEST_LIMIT = 255
"""Smallest value at which the range of a detector may end."""
SATURATED_PIXELS = 3
"""So many pixels with the same highest value, the end of a range, are not a coincidence."""


@dataclass(frozen=True, eq=False)
class CountConversion:
    """Conversion of recorded values to counts: (value - level) / gain, summed in bins of pixels.

    Parameters
    ----------
    level : float
        Value of a pixel without electrons: offset of the detector and background.
    gain : float
        Value per electron.
    factor : int
        Edge of the bins in pixels.
    support : ndarray of shape (ny, nx), bool, optional
        Pixels that show the specimen. The others have no counts, and the level of each view is the mean
        outside, if ``level_outside``.
    level_outside : bool
        Whether the level is measured outside the support, view by view; there must be pixels outside.
    clip : bool
        Whether negative counts become 0; otherwise they are an error.
    """

    level: float = 0.0
    gain: float = 1.0
    factor: int = 1
    support: NDArray[np.bool_] | None = None
    level_outside: bool = False
    clip: bool = True

    def counts(self, image: NDArray[np.float32], view: int) -> "CountedView":
        """Convert an image.

        Parameters
        ----------
        image : ndarray of shape (ny, nx)
            Recorded values.
        view : int
            Its number from 0, for messages.

        Returns
        -------
        CountedView

        Raises
        ------
        DataError
            When the support has another shape, or counts are negative and are not clipped.
        """
        values = np.asarray(image, np.float64)
        saturated = _n_saturated(values)
        level = self.level
        if self.support is not None:
            if self.support.shape != values.shape:
                sizes = [" x ".join(map(str, shape[::-1])) for shape in (self.support.shape, values.shape)]
                raise DataError(f"a mask of {sizes[0]} pixels does not fit views of {sizes[1]}")
            if self.level_outside:
                level = float(values[~self.support].mean())
            values = np.where(self.support, values, level)
        counts = (values - level) / self.gain
        if self.factor > 1:
            counts = bin_image(counts, self.factor, method="sum").astype(np.float64)
        negative = counts < 0
        if negative.any() and not self.clip:
            raise DataError(
                f"view {view + 1} has {counts.min():.4g} counts in a pixel; subtract the background first, "
                "or let it be subtracted"
            )
        clipped = -float(counts[negative].sum())
        counts[negative] = 0.0
        return CountedView(counts, float(negative.mean()), clipped, level, saturated)


@dataclass(frozen=True, eq=False)
class CountedView:
    """Counts of a view.

    Parameters
    ----------
    counts : ndarray of shape (ny, nx), float64
        Not negative.
    negative_fraction : float
        Share of the pixels that were negative and were set to 0.
    clipped : float
        Counts by which they were below 0.
    level : float
        Value that was subtracted.
    n_saturated : int
        Pixels at the end of the range of the detector.
    """

    counts: Float
    negative_fraction: float
    clipped: float
    level: float
    n_saturated: int


def _n_saturated(values: Float) -> int:
    """Count the pixels of the highest value, if a range ends there: 2^b - 1, or 2^b."""
    highest = float(values.max())
    if highest < SMALLEST_LIMIT or highest != int(highest):
        return 0
    number = int(highest)
    if number & (number + 1) and number & (number - 1):
        return 0
    n = int((values == highest).sum())
    return n if n >= SATURATED_PIXELS else 0
