"""Views of which only a part is compared: the rest is hidden, and counts as not seen."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.binning import bin_image
from etcli.core.errors import UsageError
from etcli.core.registration.pair_comparison import Region
from etcli.core.registration.transforms import Views

Bool = NDArray[np.bool_]

SAMPLE = 4096  # pixels from which the level of what is shown is taken
SMALLEST_PX = 16


class MaskedViews:
    """Series of which some pixels are hidden; read view by view.

    Parameters
    ----------
    views : ndarray of shape (n_views, ny, nx)
        The series.
    shown : ndarray of shape (ny, nx), bool
        The pixels to compare, the same in all views.
    level : float, optional
        Value of the hidden pixels; the median of what a view shows when not given.

    Raises
    ------
    UsageError
        If shapes differ, or too little is shown.
    """

    def __init__(self, views: Views, shown: Bool, *, level: float | None = None) -> None:
        if shown.shape != tuple(views.shape[1:]):
            raise UsageError(
                f"a mask of {_size(shown.shape)} pixels does not fit views of {_size(views.shape[1:])}"
            )
        self._views, self.shown, self._level = views, shown, level
        self.shape, self.ndim, self.dtype = views.shape, 3, views.dtype
        rows, columns = self.region
        if min(rows.stop - rows.start, columns.stop - columns.start) < SMALLEST_PX:
            raise UsageError(f"the part to compare is less than {SMALLEST_PX} pixels wide or high")

    @property
    def region(self) -> Region:
        """Rows and columns between the outermost pixels that are shown."""
        rows, columns = (np.flatnonzero(self.shown.any(axis=axis)) for axis in (1, 0))
        if not rows.size:
            return slice(0, 0), slice(0, 0)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def binned(self, factor: int) -> Bool:
        """Return the pixels of binned views of which all is shown."""
        return np.asarray(bin_image(self.shown.astype(np.float32), factor) > 1 - 1e-3)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> NDArray[Any]:
        view = np.array(self._views[k])
        level = self._level
        if level is None:
            seen = view[self.shown]
            level = float(np.median(seen[:: max(seen.size // SAMPLE, 1)]))
        view[~self.shown] = level
        return view


def _size(shape: tuple[int, ...]) -> str:
    """Return the size of images in words."""
    return " x ".join(map(str, shape[::-1]))
