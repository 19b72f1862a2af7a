"""Outlying pixels: single pixels, such as X-ray hits, far beyond the range of all others in a view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.series import ImageData

SAMPLE = 4096  # pixels that show the usual range of a view, for the first look
FAR = 10.0  # times the usual deviation from the median of the view
ALONE = 5.0  # times the deviation of the surroundings
MOST_EMPTY = 0.5  # of the views; where more have an empty middle, the specimen is not in their middle
USUAL_SHARE, SAMPLED_SHARE = 0.999, 0.98  # of the pixels, within the usual deviation


@dataclass(frozen=True, eq=False)
class Outliers:
    """Outlying pixels of a view, and what their surroundings show instead.

    Parameters
    ----------
    rows, columns : ndarray of shape (n,), int
        Their places, counted from 0.
    found, surroundings : ndarray of shape (n,), float64
        Values of the pixels, and the medians of 3 x 3 pixels around them.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    found: NDArray[np.float64]
    surroundings: NDArray[np.float64]

    @classmethod
    def none(cls) -> "Outliers":
        """Return no outlying pixels."""
        places, values = np.empty(0, np.intp), np.empty(0)
        return cls(places, places, values, values)

    def __len__(self) -> int:
        return len(self.rows)


def find_outliers(view: NDArray[Any]) -> Outliers:
    """Find the pixels far beyond the range of all others, with nothing like them around.

    Parameters
    ----------
    view : ndarray of shape (ny, nx)
        Real numbers of any type; it may hold values that are not finite, which are no outliers here.

    Returns
    -------
    Outliers
        Pixels that are more than 10 times as far from the median as 99.9 % of the view, and more than 5 times
        as far as the median of the 3 x 3 pixels around them.

    Notes
    -----
    What a microscope images is wider than a pixel: a bright atom or particle raises the pixels around its
    middle as well. The range is that of nearly all pixels, because a standard deviation would contain the
    outlier.
    """
    step = max(view.size // SAMPLE, 1)
    sample = np.asarray(view.ravel()[::step] if view.flags.c_contiguous else view.flat[::step], np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return _at(view, np.empty((0, 2), np.intp), 0.0)
    middle = float(np.median(sample))
    usual = float(np.quantile(np.abs(sample - middle), SAMPLED_SHARE))
    if max(float(np.max(view)) - middle, middle - float(np.min(view))) <= FAR * usual:
        return _at(view, np.empty((0, 2), np.intp), middle)
    deviation = np.abs(np.asarray(view, np.float64) - middle)
    finite = np.isfinite(deviation)
    usual = float(np.quantile(deviation[finite], USUAL_SHARE))
    suspects = np.argwhere(finite & (deviation > FAR * usual)) if usual else np.empty((0, 2), np.intp)
    return _at(view, suspects, middle)


def limit(view: NDArray[Any], outliers: Outliers) -> NDArray[Any]:
    """Return a view (ny, nx) with its outlying pixels replaced by what surrounds them."""
    if not len(outliers):
        return view
    limited = np.array(view)
    limited[outliers.rows, outliers.columns] = outliers.surroundings.astype(view.dtype)
    return limited


class Content(Enum):
    """What a view holds: several values, one in its middle only, or one everywhere."""

    SEVERAL = 0
    ONE_IN_MIDDLE = 1
    ONE = 2


def content_of(view: NDArray[Any]) -> Content:
    """Return what a view (ny, nx) holds; those that were not recorded hold one value.

    The borders may hold another one, with which they were filled when the view was moved.
    """
    ny, nx = view.shape
    middle = view[ny // 4 : ny - ny // 4, nx // 4 : nx - nx // 4]
    # one row first: it tells nearly always
    if not ((middle[0] == middle[0, 0]).all() and (middle == middle[0, 0]).all()):
        return Content.SEVERAL
    return Content.ONE if (view == middle[0, 0]).all() else Content.ONE_IN_MIDDLE


def empty_views(contents: Sequence[Content]) -> list[int]:
    """Return which views were not recorded, counted from 0, by what each of them holds.

    These are the views of one value. One value in the middle is taken for it unless most views look so.
    """
    empty = [k for k, content in enumerate(contents) if content is not Content.SEVERAL]
    if len(empty) <= MOST_EMPTY * len(contents):
        return empty
    return [k for k in empty if contents[k] is Content.ONE]


def _at(view: NDArray[Any], suspects: NDArray[np.intp], middle: float) -> Outliers:
    """Return those of some pixels that have nothing like them around."""
    rows, columns = suspects.T
    padded = np.pad(np.asarray(view, np.float64), 1, "symmetric") if len(suspects) else np.zeros((3, 3))
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))[rows, columns].reshape(len(rows), 9)
    surroundings = np.median(around, axis=1)
    found = np.asarray(view[rows, columns], np.float64)
    alone = np.abs(found - middle) > ALONE * np.abs(surroundings - middle)
    return Outliers(rows[alone], columns[alone], found[alone], surroundings[alone])


@dataclass(frozen=True, eq=False)
class LimitedImages:
    """Images with their outlying pixels replaced by what surrounds them, whenever they are read.

    Parameters
    ----------
    data : array of shape (n, ny, nx)
        Images of any real type.
    outliers : mapping of int to Outliers
        The outlying pixels, by the index of the image.
    """

    data: ImageData
    outliers: Mapping[int, Outliers]

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of images, rows and columns."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""
        return self.data.dtype

    def __getitem__(self, index: Any, /) -> NDArray[Any]:
        first, *rest = index if isinstance(index, tuple) else (index,)
        chosen = np.arange(self.shape[0])[first]
        part = (Ellipsis, *rest) if first is Ellipsis else tuple(rest)
        if chosen.ndim == 0:
            return np.asarray(self._limited(int(chosen))[part])
        return np.stack([self._limited(k)[part] for k in chosen.tolist()])

    def _limited(self, k: int) -> NDArray[Any]:
        """Return one image."""
        image = self.data[k]
        return limit(image, self.outliers[k]) if k in self.outliers else image
