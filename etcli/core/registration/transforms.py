"""Linear transforms of views, one per view, in IMOD's convention, and the interpolation that applies them.

A transform maps the point x of the input image to x' = A (x - c_in) + d + c_out in the output image, with x
before y and c = (n - 1) / 2 in pixel indices.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from etcli.core.errors import DataError
from etcli.core.parallel import ordered_map

Method = Literal["cubic", "linear"]

# A smaller determinant means a damaged line in a file, not a transform of an image.
_SMALLEST_DETERMINANT = 1e-6


@dataclass(frozen=True, eq=False)
class Transforms:
    """Linear transforms of the views of a series, one per view.

    Parameters
    ----------
    matrix : ndarray of shape (n_views, 2, 2), float64
        A, acting on (x, y).
    shift_px : ndarray of shape (n_views, 2), float64
        d, (x, y) in pixels of the images that the transforms are for.
    centres_axis : bool, optional
        Whether they bring the tilt axis to the middle of the views, as those of `etcli.tiltalign` do and
        those of `etcli.register` do not; None where that is unknown.
    middle_px : (float, float)
        Middle of the images that they were found on, (x, y) from that of the images that they are for: that
        of the whole views, where these are crops of them.

    Raises
    ------
    DataError
        If a shape is wrong, a number is not finite or a matrix cannot be inverted.
    """

    matrix: NDArray[np.float64]
    shift_px: NDArray[np.float64]
    centres_axis: bool | None = None
    middle_px: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, np.float64)
        shift_px = np.asarray(self.shift_px, np.float64)
        n_views = len(shift_px)
        if matrix.shape != (n_views, 2, 2) or shift_px.shape != (n_views, 2):
            raise DataError(
                f"transforms need a 2 x 2 matrix and an x, y shift per view, "
                f"not arrays of shape {matrix.shape} and {shift_px.shape}"
            )
        numbers = np.hstack([matrix.reshape(n_views, 4), shift_px])
        determinant = np.linalg.det(np.where(np.isfinite(matrix), matrix, 0.0))
        usable = np.isfinite(numbers).all(axis=1) & (np.abs(determinant) >= _SMALLEST_DETERMINANT)
        if not np.all(usable):
            view = int(np.argmin(usable))
            row = " ".join(f"{number:g}" for number in numbers[view])
            raise DataError(f"the transform of view {view + 1} cannot be inverted or is not finite: {row}")
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "shift_px", shift_px)

    @classmethod
    def identity(cls, n_views: int) -> "Transforms":
        """Return transforms that leave all views unchanged."""
        return cls.shifts(np.zeros((n_views, 2)))

    @classmethod
    def shifts(cls, shift_px: ArrayLike) -> "Transforms":
        """Return transforms that only shift the views.

        Parameters
        ----------
        shift_px : array_like of shape (n_views, 2)
            Shift of the content of each view, (x, y) in pixels.
        """
        shift_px = np.asarray(shift_px, np.float64)
        return cls(np.tile(np.eye(2), (len(shift_px), 1, 1)), shift_px)

    @classmethod
    def rotation(cls, axis_deg: float, n_views: int) -> "Transforms":
        """Return transforms that rotate the views so that the tilt axis is vertical.

        Parameters
        ----------
        axis_deg : float
            Angle R from +y to the axis in the views, counter-clockwise, in degrees.
        n_views : int
            Number of views; all get the same rotation.

        Notes
        -----
        A = [[cos R, sin R], [-sin R, cos R]] maps the axis (-sin R, cos R) to (0, 1).
        """
        axis_rad = np.deg2rad(axis_deg)
        cos, sin = np.cos(axis_rad), np.sin(axis_rad)
        return cls(np.tile([[cos, sin], [-sin, cos]], (n_views, 1, 1)), np.zeros((n_views, 2)))

    @property
    def turned_deg(self) -> float:
        """Angle of the tilt axis that the first transform makes vertical, in degrees."""
        return float(np.rad2deg(np.arctan2(self.matrix[0, 0, 1], self.matrix[0, 0, 0])))

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.shift_px)

    def inverse(self) -> "Transforms":
        """Return the inverse transforms: inv(A) and -inv(A) d."""
        inverse = np.asarray(np.linalg.inv(self.matrix), np.float64)
        return Transforms(inverse, -_multiply_each(inverse, self.shift_px))

    def scaled(self, factor: float) -> "Transforms":
        """Return the same transforms for images with ``factor`` times as many pixels per length."""
        x, y = self.middle_px
        return replace(self, shift_px=self.shift_px * factor, middle_px=(x * factor, y * factor))

    def about(self, middle_px: tuple[float, float]) -> "Transforms":
        """Return the same transforms for images with another middle.

        Parameters
        ----------
        middle_px : (float, float)
            Middle m of the images that these transforms are for, (x, y) from that of the others.

        Notes
        -----
        A (x - m) + d + m = A x + d + (m - A m).
        """
        moved = np.array(middle_px)
        return replace(self, shift_px=self.shift_px + moved - self.matrix @ moved, middle_px=middle_px)

    def select(self, views: Sequence[int] | NDArray[np.integer]) -> "Transforms":
        """Return the transforms of some views, counted from 0, in the order given."""
        indices = np.asarray(views, np.intp)
        return replace(self, matrix=self.matrix[indices], shift_px=self.shift_px[indices])


def compose(first: Transforms, then: Transforms) -> Transforms:
    """Return the transforms equivalent to ``first`` followed by ``then``.

    Parameters
    ----------
    first, then : Transforms
        For the same number of views and the same pixel size.

    Returns
    -------
    Transforms
        A = A2 A1 and d = A2 d1 + d2, with the tilt axis where the second ones bring it.

    Raises
    ------
    DataError
        If the numbers of views differ.
    """
    if first.n_views != then.n_views:
        raise DataError(f"cannot combine transforms of {first.n_views} views with those of {then.n_views}")
    shift_px = _multiply_each(then.matrix, first.shift_px) + then.shift_px
    return Transforms(then.matrix @ first.matrix, shift_px, then.centres_axis)


def resample(
    image: NDArray[Any],
    matrix: ArrayLike,
    shift_px: ArrayLike,
    *,
    shape: tuple[int, int] | None = None,
    method: Method = "cubic",
    fill: float | None = None,
) -> NDArray[np.float32]:
    """Apply a transform to a view by a single interpolation.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        The view, of any real type, all values finite: a spline spreads one NaN over the whole image.
    matrix : array_like of shape (2, 2)
        A, acting on (x, y).
    shift_px : array_like of shape (2,)
        d, (x, y) in pixels.
    shape : (int, int), optional
        Height and width of the result, which has the same centre; those of the view when not given.
    method : {"cubic", "linear"}
        Cubic spline or linear interpolation.
    fill : float, optional
        Value outside the view; the median of the view's outermost pixels when not given, because an edge to
        zero would move with the shift and mislead later steps.

    Returns
    -------
    ndarray of shape `shape`, float32

    Raises
    ------
    DataError
        If the transform cannot be inverted.

    Notes
    -----
    A pixel is an area: the view reaches half a pixel beyond the centres of its outermost pixels.
    """
    transform = Transforms(np.asarray(matrix)[None], np.asarray(shift_px)[None])
    size_in = np.array(image.shape)
    size_out = np.array(image.shape if shape is None else shape)
    # Output to input, axes in numpy's order. Rounding removes the 1e-16 of cos 90°, so that rotations by 90°,
    # mirrors and integer shifts copy pixels.
    inverse = np.linalg.inv(transform.matrix[0])[::-1, ::-1].round(12)
    offset = ((size_in - 1) / 2 - inverse @ ((size_out - 1) / 2 + transform.shift_px[0, ::-1])).round(9)

    # imported here, as many commands only read transforms and have no use for numba
    from etcli.core.registration.interpolation import interpolate

    view = np.asarray(image, np.float32)
    return interpolate(
        view,
        inverse,
        offset,
        (int(size_out[0]), int(size_out[1])),
        cubic=method == "cubic",
        fill=rim_median(view) if fill is None else float(fill),
    )


def resample_stack(
    views: Iterable[NDArray[Any]],
    transforms: Transforms,
    *,
    shape: tuple[int, int] | None = None,
    method: Method = "cubic",
    fill: float | None = None,
    threads: int = 1,
) -> Iterator[NDArray[np.float32]]:
    """Apply the transforms to a series, and yield the views in order.

    Parameters
    ----------
    views : iterable of ndarray of shape (ny, nx)
        The series: an array, a memory map, or anything that yields views. It is read in the caller's
        thread, at most ``threads + 1`` views ahead of what has been taken.
    transforms : Transforms
        One transform per view.
    shape, method, fill
        As for `resample`.
    threads : int
        Views processed at the same time.

    Yields
    ------
    ndarray of shape `shape`, float32
        The next view; independent of the number of threads.

    Raises
    ------
    DataError
        If there are more or fewer views than transforms.
    """

    def views_with_transforms() -> Iterator[tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]]:
        n_read = 0
        for n_read, view in enumerate(views, start=1):
            if n_read > transforms.n_views:
                raise DataError(f"more views than the {transforms.n_views} transforms")
            yield view, transforms.matrix[n_read - 1], transforms.shift_px[n_read - 1]
        if n_read < transforms.n_views:
            raise DataError(f"only {n_read} views for {transforms.n_views} transforms")

    apply = partial(_resample_one, shape=shape, method=method, fill=fill)
    return ordered_map(apply, views_with_transforms(), threads=threads)


def _resample_one(
    item: tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]], **options: Any
) -> NDArray[np.float32]:
    """Apply a transform to its view; ``item`` is view, matrix and shift."""
    return resample(*item, **options)


def rim_median(image: NDArray[Any]) -> float:
    """Return the median of the outermost pixels: the surroundings, even if a specimen crosses the border."""
    return float(np.median(_rim(image)))


def rim_mean(image: NDArray[Any]) -> float:
    """Return the mean of the outermost pixels of an image."""
    return float(np.mean(_rim(image), dtype=np.float64))


def _rim(image: NDArray[Any]) -> NDArray[Any]:
    """Return the outermost pixels of an image."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


def _multiply_each(matrix: NDArray[np.float64], shift_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply each shift by its matrix."""
    return (matrix @ shift_px[..., np.newaxis])[..., 0]


class TransformedViews:
    """Transformed series, of which each view is resampled when it is accessed.

    Parameters
    ----------
    view : callable
        Returns view k, an array (ny, nx).
    transforms : Transforms
        One transform per view.
    shape : tuple of int
        Height and width of the transformed views.
    fill : float, optional
        As for `resample`.
    """

    def __init__(
        self,
        view: Callable[[int], NDArray[Any]],
        transforms: Transforms,
        shape: tuple[int, int],
        *,
        fill: float | None = None,
    ) -> None:
        self._view = view
        self._fill = fill
        self._transforms = transforms
        self.shape = (transforms.n_views, *shape)
        self.ndim = 3
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> NDArray[np.float32]:
        matrix, shift_px = self._transforms.matrix[k], self._transforms.shift_px[k]
        return resample(self._view(k), matrix, shift_px, shape=self.shape[1:], fill=self._fill)


Views = NDArray[Any] | TransformedViews
"""Series whose views are read one by one."""


def lies_along_x(axis_deg: float) -> bool:
    """Check whether a tilt axis is nearer to x than to y."""
    return bool(abs(np.sin(np.deg2rad(axis_deg))) > np.sqrt(0.5))


def turned_shape(shape: tuple[int, int], axis_deg: float) -> tuple[int, int]:
    """Return height and width of views after the tilt axis is made vertical: swapped if it is nearer to x."""
    return shape[::-1] if lies_along_x(axis_deg) else shape
