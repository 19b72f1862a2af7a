"""Labels of a volume: which there are, their sizes, boxes and moments, found in one pass over the voxels."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.measurement import _label_sums

Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]

EVERYWHERE: Mask = np.zeros((0, 0, 0), np.bool_)
"""Region that leaves out nothing."""
MOST_LABEL = 2**31 - 1


@dataclass(frozen=True)
class LabelSums:
    """Voxels of every label, one row for each.

    Parameters
    ----------
    label : ndarray of shape (n,), int64
        Labels as the file has them, rising; those without a voxel are not listed.
    numbers : ndarray of shape (nz, ny, nx), int32
        The labels renumbered: 1 is the first row, 0 the background.
    count : ndarray of shape (n,), int64
        Number of voxels.
    centre : ndarray of shape (n, 3), float64
        Mean position (z, y, x).
    covariance : ndarray of shape (n, 3, 3), float64
        Second central moments of the unit cubes along z, y and x.
    low, high : ndarray of shape (n, 3), int64
        Bounding box, its end excluded.
    border : ndarray of shape (n,), bool
        Whether the label reaches the end of the volume or of the region, which may cut it.
    """

    label: NDArray[np.int64]
    numbers: Labels
    count: NDArray[np.int64]
    centre: Doubles
    covariance: Doubles
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    border: Mask

    def __len__(self) -> int:
        return len(self.label)

    def box(self, row: int, margin: int = 0) -> tuple[slice, slice, slice]:
        """Return the bounding box of a row with a margin, cut off at the ends of the volume."""
        ends = zip(self.low[row], self.high[row], self.numbers.shape, strict=True)
        z, y, x = (slice(max(0, int(a) - margin), min(n, int(b) + margin)) for a, b, n in ends)
        return z, y, x


def as_labels(values: NDArray[Any]) -> Labels:
    """Return labels as int32.

    Parameters
    ----------
    values : ndarray
        Whole numbers of any type, 0 the background.

    Returns
    -------
    ndarray, int32

    Raises
    ------
    DataError
        When a value is no whole number, negative or above 2³¹ - 1.
    """
    low, high = (float(bound) for bound in (values.min(initial=0), values.max(initial=0)))
    is_whole = values.dtype.kind in "iub" or (math.isfinite(high - low) and bool((values % 1 == 0).all()))
    if not is_whole:
        raise DataError(
            f"labels must be whole numbers, but there is {_first_broken(values)}; give what segment wrote; "
            "are IN and LABELS swapped?"
        )
    if low < 0:
        raise DataError(f"labels must be 0 or more, but there is {low:.0f}; give what segment wrote")
    if high > MOST_LABEL:
        raise DataError(f"labels must be below 2147483648, but there is {high:.0f}; number them anew")
    return values.astype(np.int32)


def label_sums(labels: Labels, region: Mask = EVERYWHERE) -> LabelSums:
    """Add up the voxels of every label.

    Parameters
    ----------
    labels : ndarray of shape (nz, ny, nx), int32
        0 is the background.
    region : ndarray of shape (nz, ny, nx), bool, optional
        Where voxels count; by default everywhere.

    Returns
    -------
    LabelSums
        Of the labels with a voxel in the region.
    """
    present, numbers = _renumbered(labels)
    n = len(present) + 1
    count = np.zeros(n, np.int64)
    first, second = np.zeros((n, 6)), np.zeros((n, 6))
    low, high = np.zeros((n, 3), np.int64), np.zeros((n, 3), np.int64)
    border = np.zeros(n, np.bool_)
    _label_sums.add_voxels(numbers, region, count, first, second, low, high)
    _label_sums.mark_cut(numbers, region, border)
    kept = np.flatnonzero(count > 0)
    if len(kept) < n - 1:
        order = np.zeros(n, np.int32)
        order[kept] = np.arange(1, len(kept) + 1)
        _label_sums.number_in_order(numbers.reshape(-1), order, numbers.reshape(-1))
    size = count[kept].astype(float)[:, np.newaxis]
    mean = first[kept, :3] / size
    products = second[kept] / size
    covariance = np.empty((len(kept), 3, 3))
    for at, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        moment = products[:, at] - mean[:, a] * mean[:, b] + (a == b) / 12
        covariance[:, a, b] = covariance[:, b, a] = moment
    return LabelSums(
        present[kept - 1] if len(present) else present,
        numbers,
        count[kept],
        mean + first[kept, 3:],
        covariance,
        low[kept],
        high[kept],
        border[kept],
    )


def _first_broken(values: NDArray[Any]) -> str:
    """Return the first value that is no whole number, with its place."""
    with np.errstate(invalid="ignore"):  # of what is not finite
        at = np.unravel_index(int(np.argmax(values % 1 != 0)), values.shape)
    place = ", ".join(str(index + 1) for index in at[::-1])
    return f"{values[at]:.6g} at voxel {place}"


def _renumbered(labels: Labels) -> tuple[NDArray[np.int64], Labels]:
    """Return the labels that occur, rising, and the volume with their numbers from 1."""
    most = int(labels.max(initial=0))
    flat = np.ascontiguousarray(labels).reshape(-1)
    if most <= 4 * labels.size:
        occurs = np.bincount(flat, minlength=most + 1) > 0
        occurs[0] = False
        present = np.flatnonzero(occurs)
        number = np.zeros(most + 1, np.int32)
        number[present] = np.arange(1, len(present) + 1)
        numbers = np.empty(flat.shape, np.int32)
        _label_sums.number_in_order(flat, number, numbers)
        return present, numbers.reshape(labels.shape)
    values, inverse = np.unique(flat, return_inverse=True)
    has_background = bool(values[0] == 0)
    numbers = (inverse + (not has_background)).astype(np.int32)
    return values[has_background:].astype(np.int64), numbers.reshape(labels.shape)
