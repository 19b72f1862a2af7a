"""Linear scaling of images into the range of an integer type: bytes and shorts.

References
----------
The ranges and the scaling by mean and standard deviation are those of IMOD's ``newstack -float`` (Kremer,
Mastronarde & McIntosh, J. Struct. Biol. 116, 71 (1996), doi:10.1006/jsbi.1996.0013).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError, UsageError
from etcli.core.order_statistics import values_at
from etcli.core.parallel import ordered_map

Image = NDArray[np.float32]
PER_KEPT_PIXEL = 16
"""Bytes for a pixel that is kept to find percentiles: a key of 4 bytes, joined, and some to spare."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class GreyScale:
    """What becomes the lowest and the highest number of an integer type.

    Parameters
    ----------
    kind : {"values", "percentiles", "mean-sd"}
        Values; percentiles of all pixels; or the extremes after each image was brought to the same mean and
        standard deviation.
    low, high : float
        Values, or percentiles from 0 to 100.
    """

    kind: str
    low: float = 0.0
    high: float = 100.0

    @classmethod
    def parse(cls, text: str) -> "GreyScale":
        """Parse ``MIN,MAX``, percentiles such as ``1%,99%``, or ``mean-sd``; raise UsageError for others."""
        if text == "mean-sd":
            return cls("mean-sd")
        match = re.fullmatch(rf"\s*({NUMBER})(%?)\s*,\s*({NUMBER})(%?)\s*", text)
        if match is None or match[2] != match[4]:
            raise UsageError(f"'{text}' is not a scale; give two values 0,5, percentiles 1%,99%, or mean-sd")
        low, high, is_percent = float(match[1]), float(match[3]), bool(match[2])
        if is_percent and not 0 <= low < high <= 100:
            raise UsageError(f"'{text}': percentiles rise within 0 and 100, as 1%,99%")
        if not is_percent and not -math.inf < low < high < math.inf:
            raise UsageError(f"'{text}': the value for black must be below that for white")
        return cls("percentiles" if is_percent else "values", low, high)


@dataclass(frozen=True)
class Scaling:
    """Scaling of the images of a stack: grey = offset + gain · value, limited to the range.

    Parameters
    ----------
    gain, offset : ndarray of shape (n,), float64
        One number per image.
    to : (int, int)
        Lowest and highest grey value.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    to: tuple[int, int]

    def apply(self, k: int, image: Image) -> tuple[Image, int]:
        """Scale image ``k``; return its grey values, not yet rounded, and how many pixels were limited."""
        # in float64, as the offset may be much larger than the range of grey values
        grey = self.gain[k] * image.astype(np.float64) + self.offset[k]
        low, high = self.to
        limited = int(np.count_nonzero((grey < low - 0.5) | (grey > high + 0.5)))
        return np.asarray(np.clip(grey, low, high), np.float32), limited

    def values_at_ends(self, k: int = 0) -> tuple[float, float]:
        """Return the values of image ``k`` that become the lowest and the highest grey value."""
        low, high = ((grey - self.offset[k]) / self.gain[k] for grey in self.to)
        return float(low), float(high)


def find_scaling(
    read: Callable[[int], Image],
    n: int,
    scale: GreyScale,
    to: tuple[int, int],
    *,
    name: str = "images",
    memory: int | None = None,
    threads: int = 1,
) -> Scaling:
    """Find the scaling of a stack of images.

    Parameters
    ----------
    read : callable
        ``read(k)`` returns image ``k``. No image is read for a scale by values; each once for one by mean and
        standard deviation, and once, or twice in odd cases, for percentiles.
    n : int
        Number of images.
    scale : GreyScale
    to : (int, int)
        Lowest and highest grey value.
    name : str
        Name of the images in messages.
    memory : int, optional
        Bytes that may be used.
    threads : int

    Returns
    -------
    Scaling

    Raises
    ------
    DataError
        When all pixels, or those between two percentiles, have one value.
    """
    low, high = np.full(n, scale.low), np.full(n, scale.high)
    if scale.kind == "mean-sd":
        table = np.array(list(ordered_map(lambda k: _summary(read(k)), range(n), threads=threads)))
        lowest, highest, mean, sd = table.T
        if not (sd > 0).all():
            k = int(np.argmin(sd))
            raise DataError(f"{name}: image {k + 1} has one value only; scale by values instead")
        low = mean + sd * ((lowest - mean) / sd).min()
        high = mean + sd * ((highest - mean) / sd).max()
    elif scale.kind == "percentiles":
        fractions = [scale.low / 100, scale.high / 100]
        most_kept = None if memory is None else memory // PER_KEPT_PIXEL
        at_low, at_high = values_at(read, n, fractions, most_kept=most_kept, threads=threads)
        if not at_low < at_high:
            raise DataError(f"{name}: both percentiles are {at_low:.7g}; widen them, or give values")
        low, high = np.full(n, at_low), np.full(n, at_high)
    gain = (to[1] - to[0]) / (high - low)
    return Scaling(gain, to[0] - gain * low, to)


def _summary(image: Image) -> tuple[float, float, float, float]:
    """Return minimum, maximum, mean and standard deviation."""
    exact = image.astype(np.float64)
    return float(image.min()), float(image.max()), float(exact.mean()), float(exact.std())
