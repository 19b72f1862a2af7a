"""Selection of views, rows and pixels of a series."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etcli.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Region:
    """Rectangle of an image: columns and rows, counted from 0, the last ones excluded."""

    columns: slice
    rows: slice


def checked_list(numbers: Sequence[int], n: int, what: str) -> list[int]:
    """Return the numbers, counted from 0, as a list; raise UsageError unless all are from 0 to ``n`` - 1."""
    beyond = [number + 1 for number in numbers if not 0 <= number < n]
    if beyond:
        raise UsageError(
            f"{what} {beyond[0]} asked for, but there are {n}; count from 1 in the order of the file"
        )
    return list(numbers)


def used_views(views: Sequence[int] | None, exclude: Sequence[int] | None, n_views: int) -> list[int]:
    """Return the views to use, counted from 0.

    Raises
    ------
    UsageError
        When one of them does not exist, or all are excluded.
    """
    excluded = set(checked_list(exclude or (), n_views, "view"))
    used = [k for k in checked_list(views or range(n_views), n_views, "view") if k not in excluded]
    if not used:
        raise UsageError("--exclude leaves no views; name fewer")
    return used


def used_rows(slices: Sequence[int] | None, ny: int) -> tuple[int, int]:
    """Return the first row to reconstruct, counted from 0, and the number of rows.

    Raises
    ------
    UsageError
        When rows do not exist, or are not consecutive.
    """
    if not slices:
        return 0, ny
    rows = checked_list(slices, ny, "slice")
    if rows != list(range(rows[0], rows[0] + len(rows))):
        raise UsageError("--slices must follow one another; name the first and the last, as in 101-200")
    return rows[0], len(rows)


def as_mask(support: "NDArray[Any]") -> "NDArray[np.bool_]":
    """Return a mask, one image that is not zero where pixels count, as booleans; DataError if it is none."""
    import numpy as np

    image = support[0] if support.ndim == 3 and len(support) == 1 else support
    if image.ndim != 2:
        raise DataError(f"a mask is one image, not of the shape {support.shape}")
    if not np.isfinite(image).all():
        raise DataError("the mask holds values that are not finite; give one of zeros and ones")
    mask = np.asarray(image != 0)
    if not mask.any():
        raise DataError("the mask is empty; give one that is not zero where the specimen is")
    return mask
