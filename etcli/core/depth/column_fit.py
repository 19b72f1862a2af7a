"""Fit of Gaussian columns to an image: positions, widths and heights of all at once, with their errors."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from etcli.core.arguments import check_choice, checked_number
from etcli.core.depth.column_errors import column_covariance
from etcli.core.depth.column_solver import Limits, Minimum, Model, best_width, invisible, minimise
from etcli.core.depth.gaussian_columns import HEIGHT, WIDTH, GaussianColumns, X, Y
from etcli.core.errors import DataError, UsageError

Float = NDArray[np.float64]

WIDTHS = ("common", "staged", "own")
SHARE_OF_SPACING = 0.45
"""A column moves by less than half the distance to its neighbour, so that two never meet."""
CLOSEST_PX = 1.0
"""Columns closer than a pixel cannot be told apart."""


@dataclass(frozen=True, eq=False)
class ColumnFit:
    """Gaussian columns ζ + Σ η exp(-|r - β|²/(2ρ²)) fitted to an image, each cut to a square box.

    Parameters
    ----------
    x_px, y_px : ndarray of shape (n_columns,), float64
        Position β, in pixel coordinates: 0 is the centre of the first pixel.
    width_px : ndarray of shape (n_columns,), float64
        Standard deviation ρ of each column.
    height : ndarray of shape (n_columns,), float64
        Height η, in units of the image.
    background : float
        ζ, in units of the image.
    position_error_px : ndarray of shape (n_columns, 2), float64
        Standard deviations of x and y; infinite for bad columns, 0 for those that were held.
    width_error_px, height_error : ndarray of shape (n_columns,), float64
        Standard deviations of ρ, 0 if it was given, and of η.
    height_width_covariance : ndarray of shape (n_columns,), float64
        Covariance of η and ρ.
    background_error : float
        Standard deviation of ζ; 0 if it was given.
    bad : ndarray of shape (n_columns,), bool
        Columns that the image does not support: the height is not positive, or the position or the width has
        reached its limit.
    box : float
        Half the side of the boxes, in units of ρ.
    sum_of_squares : float
        Sum over the pixels of the squared differences of image and model.
    n_iterations : int
        Levenberg-Marquardt steps.
    converged : bool
        Whether the last step was negligible, and a common width within its limits.
    """

    x_px: Float
    y_px: Float
    width_px: Float
    height: Float
    background: float
    position_error_px: Float
    width_error_px: Float
    height_error: Float
    height_width_covariance: Float
    background_error: float
    bad: NDArray[np.bool_]
    box: float
    sum_of_squares: float
    n_iterations: int
    converged: bool

    def __len__(self) -> int:
        return len(self.x_px)

    @property
    def cross_section_px2(self) -> Float:
        """Volume 2π η ρ² of each column, in units of the image times px²."""
        return np.asarray(2 * np.pi * self.height * self.width_px**2)

    @property
    def cross_section_error_px2(self) -> Float:
        """Standard deviation of the cross-sections."""
        by_height, by_width = self.width_px**2, 2 * self.height * self.width_px
        variance = (
            (by_height * self.height_error) ** 2
            + (by_width * self.width_error_px) ** 2
            + 2 * by_height * by_width * self.height_width_covariance
        )
        return np.asarray(2 * np.pi * np.sqrt(np.maximum(variance, 0)))

    def image(self, shape: tuple[int, int]) -> Float:
        """Compute the image of the model, of shape (ny, nx)."""
        columns = GaussianColumns.at(self.x_px, self.y_px, self.width_px, box=self.box, shape=shape)
        return columns.image(self.height, self.background)


def fit_columns(
    image: NDArray[Any],
    positions: ArrayLike,
    *,
    width: str | float = "common",
    background: float | None = None,
    box: float = 3.0,
    move_at_most_px: float | None = None,
    variance: ArrayLike | None = None,
) -> ColumnFit:
    """Fit Gaussian columns to an image by least squares, all at once.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)
        Finite real numbers.
    positions : array_like of shape (n_columns, 2)
        Places (x, y) to start from, in pixel coordinates, at least a pixel from each other.
    width : {"common", "staged", "own"} or float
        Whether all columns have one width ρ or each its own; or the width of all, in pixels. For "staged" see
        the notes.
    background : float, optional
        Constant background ζ; fitted when not given.
    box : float
        Half the side of the square outside of which a column is 0, in units of ρ.
    move_at_most_px : float, optional
        Farthest that a column may move from its start; always less than half the distance to its nearest
        neighbour, and at most ``box`` ρ. With 0 all are held where they are.
    variance : array_like of shape (ny, nx) or float, optional
        Variance of the pixels, for the errors: for electron counts n, n. By default the squared difference
        of image and model at each pixel, which is right for noise that differs from pixel to pixel, but not
        for what is correlated between pixels, such as the scan noise of a microscope; where columns are
        narrower than two pixels the errors are then too small, by up to a quarter.

    Returns
    -------
    ColumnFit
        The columns in the order of ``positions``.

    Raises
    ------
    DataError
        When the image or a position cannot be used, a position is outside of the image, or two coincide.
    UsageError
        When an option is out of range.

    Notes
    -----
    All pixels have the same weight, as in StatSTEM: ``variance`` changes the errors only, which are those of
    this estimator, (JᵀJ)⁻¹ JᵀVJ (JᵀJ)⁻¹ with the derivatives J and the variances V.

    "staged" is the sequence of StatSTEM, for comparison with it: a common width at the given places, the
    places with that width, the width at those places. The sum of squares is not at its minimum then, and the
    less so the farther the places given are from the columns. "common" goes on from there to the minimum.

    References
    ----------
    A. De Backer et al., Ultramicroscopy 171, 104 (2016): the model and its truncation (StatSTEM).
    H. White, Econometrica 48, 817 (1980): errors from the squared differences of each pixel.
    """
    image, start = checked_image(image), _checked_positions(positions, np.shape(image))
    freedom, given = _checked_width(width)
    box = checked_number("box", box)
    if box < 1:
        raise UsageError(f"boxes of {box:g} widths cut off most of a column; use 1 or more, usually 3")
    ceiling = np.inf
    if move_at_most_px is not None:
        ceiling = checked_number("largest movement", move_at_most_px)
        if ceiling < 0:
            raise UsageError(
                f"columns cannot move by {ceiling:g} px; use a positive number, or 0 to hold them"
            )
    if background is not None:
        background = checked_number("background", background)
    model, spacing = Model(image, background, box), _spacing(start, image.shape)
    radius = np.minimum(SHARE_OF_SPACING * spacing, ceiling)
    if given is not None:
        found = _fit_from(model, start, radius, given, "fixed")
    else:
        found = _fit_with_width(model, start, radius, "fixed" if freedom == "staged" else "common", spacing)
    if freedom == "own":
        limits = found.limits.around(found.state.columns.width_px)
        own = minimise(model, found.state, limits, freedom=freedom)
        found = replace(own, n_iterations=found.n_iterations + own.n_iterations)
    return _with_errors(model, found, "common" if freedom == "staged" else freedom, variance)


def _fit_with_width(model: Model, start: Float, radius_px: Float, freedom: str, spacing_px: Float) -> Minimum:
    """Fit columns whose common width is not known; if it is "fixed" at last, in the stages of StatSTEM."""
    most_px = float(np.median(spacing_px))
    first = best_width(model, start, most_px=most_px)  # too large, as columns are not yet in their places
    found = _fit_from(model, start, radius_px, first, "fixed")
    columns = found.state.columns
    place = np.stack([columns.x_px, columns.y_px], axis=1)
    second = best_width(model, place, most_px=most_px)
    if freedom == "fixed":
        widths = np.full(len(start), second)
        return replace(found, state=model.at(columns.x_px, columns.y_px, widths))
    more = _fit_from(model, start, radius_px, second, freedom, place)
    return replace(more, n_iterations=found.n_iterations + more.n_iterations)


def _fit_from(
    model: Model, start: Float, radius_px: Float, width_px: float, freedom: str, place: Float | None = None
) -> Minimum:
    """Fit columns that begin with one width, at their starts or at other places within the limits."""
    widths = np.full(len(start), width_px)
    limits = Limits(start, np.minimum(radius_px, model.box * width_px), widths)
    x_px, y_px = (start if place is None else place).T
    return minimise(model, model.at(x_px, y_px, widths), limits, freedom=freedom)


def _with_errors(model: Model, found: Minimum, freedom: str, variance: ArrayLike | None) -> ColumnFit:
    """Return the result of a fit."""
    state, limits = found.state, found.limits
    columns, at_limit = state.columns, limits.reached(state.columns)
    bad = invisible(state.height) | at_limit | (limits.width_reached(columns) if freedom == "own" else False)
    covariance, background_error = column_covariance(
        columns,
        state.height,
        pixel_variance(variance, state.residual, columns, n_parameters=4 * len(columns)),
        freedom=freedom,
        background_free=model.background is None,
        bad=bad,
        held=limits.held,
    )
    error = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    return ColumnFit(
        x_px=columns.x_px,
        y_px=columns.y_px,
        width_px=columns.width_px,
        height=state.height,
        background=state.background,
        position_error_px=np.where(bad[:, np.newaxis], np.inf, error[:, [X, Y]]),
        width_error_px=error[:, WIDTH],
        height_error=error[:, HEIGHT],
        height_width_covariance=covariance[:, HEIGHT, WIDTH],
        background_error=background_error,
        bad=bad,
        box=model.box,
        sum_of_squares=state.sum_of_squares,
        n_iterations=found.n_iterations,
        converged=found.converged and not (freedom == "common" and limits.width_reached(columns).any()),
    )


def checked_image(image: NDArray[Any]) -> Float:
    """Return an image as float64 after validation.

    Parameters
    ----------
    image : ndarray of shape (ny, nx)

    Returns
    -------
    ndarray of shape (ny, nx), float64

    Raises
    ------
    DataError
        When it is no image of real, finite numbers, or blank.
    """
    values = np.asarray(image)
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        raise DataError(
            f"columns are looked for in one image of real numbers, not in an array of shape {values.shape}"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError("the image holds values that are not finite; correct it or use another")
    if (values == values.flat[0]).all():
        raise DataError(f"the image is {values.flat[0]:g} everywhere; there are no columns in it")
    return values


def pixel_variance(
    variance: ArrayLike | None, residual: Float, columns: GaussianColumns, *, n_parameters: int
) -> Float:
    """Return the variance of every pixel, after validation; without one, the squared residuals.

    Parameters
    ----------
    variance : array_like of shape (ny, nx), float or None
    residual : ndarray of shape (ny, nx), float64
        Image minus model.
    columns : GaussianColumns
        The model: residuals in its boxes are too small, as its parameters were fitted to them.
    n_parameters : int
        How many these are.

    Returns
    -------
    ndarray of shape (ny, nx), float64

    Raises
    ------
    DataError
        When a variance is negative or not finite, or their number is wrong.
    """
    if variance is None:
        covered = int(np.count_nonzero(columns.image(np.ones(len(columns)))))
        return np.asarray(residual**2 * (covered / max(covered - n_parameters, 1)))
    values = np.asarray(variance, np.float64)
    if values.shape not in ((), residual.shape):
        raise DataError(f"variances of shape {values.shape} for an image of shape {residual.shape}")
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise DataError("the variance of a pixel is negative or not finite")
    return np.array(np.broadcast_to(values, residual.shape))


def _checked_positions(positions: ArrayLike, shape: tuple[int, ...]) -> Float:
    """Return the positions after validation."""
    start = np.asarray(positions, np.float64)
    if start.ndim != 2 or start.shape[1] != 2 or not len(start):
        raise DataError(f"positions (x, y) of columns are needed, not an array of shape {start.shape}")
    ny, nx = shape
    outside = ~((start >= -0.5) & (start <= (nx - 0.5, ny - 0.5))).all(axis=1)  # true of NaN as well
    if outside.any():
        x, y = start[np.argmax(outside)]
        raise DataError(
            f"column {np.argmax(outside) + 1} at ({x:g}, {y:g}) px is outside of the image, {nx} x {ny} px; "
            f"leave it out ({np.count_nonzero(outside)} in all)"
        )
    close = cKDTree(start).query_pairs(CLOSEST_PX, output_type="ndarray")
    if len(close):
        first, second = np.sort(close[np.lexsort(close.T[::-1])[0]])
        raise DataError(
            f"columns {first + 1} and {second + 1} at ({start[first, 0]:g}, {start[first, 1]:g}) px are "
            f"closer than {CLOSEST_PX:g} px and cannot be told apart; leave one of them out"
        )
    return start


def _checked_width(width: str | float) -> tuple[str, float | None]:
    """Return which widths are free, and the width if it is given."""
    if isinstance(width, str):
        check_choice("width", width, WIDTHS)
        return width, None
    given = checked_number("width", width, or_else=" or ".join(WIDTHS))
    if given <= 0:
        raise UsageError(f"a column cannot be {given:g} px wide; use a positive number")
    return "fixed", given


def _spacing(start: Float, shape: tuple[int, int]) -> Float:
    """Return the distance from each column to its nearest neighbour, in pixels; the image's side if alone."""
    if len(start) == 1:
        return np.array([float(min(shape))])
    return np.asarray(cKDTree(start).query(start, k=2)[0][:, 1])
