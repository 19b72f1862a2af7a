"""Parts of the counts of a map, in files beside it: ``map_Ni_train.mrc`` and ``map_Ni_test.mrc``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError
from etcli.core.series import TiltSeries
from etcli.io.element_map import PARTS, TEST, TRAIN
from etcli.pipeline.map_names import map_file

Array = NDArray[np.float32]

SAME_COUNTS = 0.05
"""Difference between a map and the sum of its parts, relative, that a fit of spectra may cause."""
BLOCK_PX = 8
SAME_IN_BLOCK, LARGEST = 0.02, 1.0
"""Difference in a block of pixels that is no doubt, relative; and the largest mean square of what is beyond
it, of a view, in counts: parts of the same counts reach 0.2, those of another map of the specimen 2."""


def files_of_parts(name: str) -> tuple[str, str] | None:
    """Return the names of the parts of a map, if both files are there."""
    train, test = (map_file(name, part) for part in PARTS)
    return (train, test) if Path(train).is_file() and Path(test).is_file() else None


def are_whole(counts: Array) -> bool:
    """Tell whether all values are whole numbers."""
    return all(bool((view == np.rint(view)).all()) for view in counts)


def check_parts(counts: Array, parts: Sequence[Array], series: TiltSeries) -> None:
    """Check that the parts of a map are of its counts, in every view and at the same places.

    Parameters
    ----------
    counts : ndarray of shape (n_views, ny, nx), float32
        The map.
    parts : sequence of ndarray of shape (n_views, ny, nx), float32
        Its two parts.
    series : TiltSeries
        The map, to be named.

    Raises
    ------
    DataError
        When they are of other counts, such as those of views that were aligned in another way.

    Notes
    -----
    Parts of a fit of spectra, or of interpolated views, do not add up exactly. But their sum differs from the
    map by much less than independent counts would, by the square root of their number.
    """
    whole, both = _in_blocks(counts), np.sum([_in_blocks(part) for part in parts], axis=0)
    wrong = f"in its parts _{TRAIN} and _{TEST}; write them anew"
    if abs(both.sum() - whole.sum()) > SAME_COUNTS * whole.sum():
        raise DataError(f"{series.name}: {whole.sum():.6g} counts, but {both.sum():.6g} {wrong}")
    beyond = np.maximum(abs(both - whole) - SAME_IN_BLOCK * whole, 0)
    doubt = np.square(beyond).sum(axis=1) / np.maximum(whole.sum(axis=1), 1)
    if doubt.max() > LARGEST:
        view = int(doubt.argmax()) + 1
        raise DataError(f"{series.name}: view {view} has other counts, or at other places, than {wrong}")


def _in_blocks(counts: Array) -> NDArray[np.float64]:
    """Return the counts of each view in square blocks of pixels, an array (view, block)."""
    starts = (np.arange(0, size, BLOCK_PX) for size in counts.shape[1:])
    sums = counts.astype(np.float64)
    for axis, first in enumerate(starts, 1):
        sums = np.add.reduceat(sums, first, axis=axis)
    return sums.reshape(len(counts), -1)
