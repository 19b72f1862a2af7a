"""Levenberg-Marquardt minimisation for Gaussian columns, whose heights and background are eliminated."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from etcli.core.depth.gaussian_columns import HEIGHT, WIDTH, Bordered, GaussianColumns, X, Y

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

MOST_STEPS = 40
BOXES_SETTLE = 15
"""Steps after which boxes stay: pixels at the edge of a box could otherwise come and go for ever."""
TOLERANCE_PX = 1e-4
"""Step at which a fit has converged."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e6
WIDTH_LIMIT = 2.0
"""Widths stay within this factor of their start."""
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class State:
    """Columns with the heights and the background of least squares.

    Parameters
    ----------
    columns : GaussianColumns
    height : ndarray of shape (n_columns,), float64
    background : float
    residual : ndarray of shape (ny, nx), float64
        Image minus model.
    sum_of_squares : float
        Of the residual.
    """

    columns: GaussianColumns
    height: Float
    background: float
    residual: Float
    sum_of_squares: float


@dataclass(frozen=True, eq=False)
class Model:
    """Image to which columns are fitted.

    Parameters
    ----------
    image : ndarray of shape (ny, nx), float64
    background : float or None
        The background; None to fit it.
    box : float
        Half the side of the boxes, in units of ρ.
    """

    image: Float
    background: float | None
    box: float

    def at(self, x_px: Float, y_px: Float, width_px: Float) -> State:
        """Place columns in boxes around them, and find heights and background."""
        shape = self.image.shape[0], self.image.shape[1]
        return self.solved(GaussianColumns.at(x_px, y_px, width_px, box=self.box, shape=shape))

    def solved(self, columns: GaussianColumns) -> State:
        """Find the heights and the background of columns by linear least squares."""
        heights, backgrounds = best_heights(columns, self.image[np.newaxis], background=self.background)
        residual = self.image - columns.image(heights[0], backgrounds[0])
        return State(columns, heights[0], float(backgrounds[0]), residual, float(np.vdot(residual, residual)))


@dataclass(frozen=True, eq=False)
class Limits:
    """How far columns may go.

    Parameters
    ----------
    start : ndarray of shape (n_columns, 2), float64
        Places (x, y) in pixels.
    radius_px : ndarray of shape (n_columns,), float64
        Largest distance from the start.
    width_px : ndarray of shape (n_columns,), float64
        Start of the widths.
    """

    start: Float
    radius_px: Float
    width_px: Float

    def around(self, width_px: Float) -> "Limits":
        """Return the same limits of places, and those of widths around others."""
        return replace(self, width_px=width_px)

    def reached(self, columns: GaussianColumns) -> Bool:
        """Find the columns that are as far from their start as they may be."""
        away = np.hypot(columns.x_px - self.start[:, 0], columns.y_px - self.start[:, 1])
        return np.asarray(away > 0.999 * self.radius_px)

    def width_reached(self, columns: GaussianColumns) -> Bool:
        """Find the columns whose width is the largest or smallest allowed."""
        return np.asarray(np.abs(np.log(columns.width_px / self.width_px)) > 0.999 * np.log(WIDTH_LIMIT))

    def stopped(self, columns: GaussianColumns, slope: Float) -> Bool:
        """Find the columns at their limit that would go beyond it, given the descent direction (n, 2)."""
        away = np.stack([columns.x_px, columns.y_px], axis=1) - self.start
        return np.asarray(self.reached(columns) & (np.sum(away * slope, axis=1) > 0))

    def moved(self, columns: GaussianColumns, step: Float) -> GaussianColumns:
        """Move columns by a step (n, 3) in x, y and width, at most by a width at a time, within the limits."""
        length = np.hypot(step[:, X], step[:, Y])
        step = step / np.maximum(length / columns.width_px, 1)[:, np.newaxis]
        place = np.stack([columns.x_px, columns.y_px], axis=1) + step[:, :2]
        away = place - self.start
        distance = np.hypot(away[:, 0], away[:, 1])
        place = self.start + away * (self.radius_px / np.maximum(distance, self.radius_px))[:, np.newaxis]
        width = np.clip(columns.width_px + step[:, WIDTH], self.width_px / WIDTH_LIMIT, WIDTH_LIMIT * self.width_px)
        return columns.moved(place[:, 0], place[:, 1], width)


def best_heights(
    columns: GaussianColumns, images: Float, *, background: float | None
) -> tuple[Float, Float]:
    """Find the heights of columns in images by linear least squares; the matrix is factorised once.

    Parameters
    ----------
    columns : GaussianColumns
        Places and widths.
    images : ndarray of shape (n_images, ny, nx), float64
    background : float or None
        The background; None to fit it.

    Returns
    -------
    height : ndarray of shape (n_images, n_columns), float64
    background : ndarray of shape (n_images,), float64
    """
    level = 0.0 if background is None else background
    factors = height_equations(columns, background_free=background is None)
    products = np.stack([columns.project(image - level) for image in images], axis=1)
    sums = images.sum(axis=(1, 2))[np.newaxis] if background is None else np.zeros((0, len(images)))
    height, common = factors.solve(products, sums)
    return height.T, common[0] if background is None else np.full(len(images), level)


def height_equations(columns: GaussianColumns, *, background_free: bool) -> Bordered:
    """Return the factorised normal equations of heights and, where it is free, the background."""
    ones = np.ones(columns.shape)
    matrix = columns.overlaps(ones)
    # a column without pixels, or two that coincide, get some height instead of none
    diagonal = matrix.diagonal()
    matrix = matrix + sparse.diags_array(ROUNDING * np.maximum(diagonal, diagonal.max()))
    border = columns.project(ones)[:, np.newaxis]
    if not background_free:
        return Bordered.factorise(matrix, border[:, :0], np.zeros((0, 0)))
    return Bordered.factorise(matrix, border, np.full((1, 1), float(ones.size)))


def minimise(model: Model, state: State, limits: Limits, *, freedom: str) -> tuple[State, int, bool]:
    """Find the places and widths of columns at which the sum of squares is smallest.

    Parameters
    ----------
    model : Model
    state : State
        Where to start.
    limits : Limits
    freedom : {"fixed", "common", "own"}
        Which widths are free.

    Returns
    -------
    state : State
    n_iterations : int
    converged : bool
    """
    damping, converged, k = FIRST_DAMPING, False, 0
    for k in range(1, MOST_STEPS + 1):
        if k <= BOXES_SETTLE:
            columns = state.columns
            state = model.at(columns.x_px, columns.y_px, columns.width_px)
        equations = _Equations.of(state, limits, freedom=freedom, background_free=model.background is None)
        trial = model.solved(limits.moved(state.columns, equations.step(damping)))
        while not trial.sum_of_squares <= state.sum_of_squares and damping < MOST_DAMPING:
            damping *= 10
            trial = model.solved(limits.moved(state.columns, equations.step(damping)))
        if not trial.sum_of_squares <= state.sum_of_squares:
            converged = True  # no step of any length is downhill
            break
        moved = max(
            float(np.abs(after - before).max())
            for after, before in (
                (trial.columns.x_px, state.columns.x_px),
                (trial.columns.y_px, state.columns.y_px),
                (trial.columns.width_px, state.columns.width_px),
            )
        )
        state, damping = trial, max(damping / 10, LEAST_DAMPING)
        if moved < TOLERANCE_PX:
            converged = True
            break
    columns = state.columns
    return model.at(columns.x_px, columns.y_px, columns.width_px), k, converged


@dataclass(frozen=True, eq=False)
class _Equations:
    """Gauss-Newton equations of all parameters at a state."""

    matrix: sparse.csc_array
    slope: Float
    border: Float
    corner: Float
    border_slope: Float
    unknown: NDArray[np.intp]
    """Which of the four parameters of each column are solved for."""
    freedom: str

    @classmethod
    def of(cls, state: State, limits: Limits, *, freedom: str, background_free: bool) -> "_Equations":
        columns, height = state.columns, state.height
        ones = np.ones(columns.shape)
        matrix = columns.derivative_products(height, ones)
        slope = columns.project_derivatives(height, state.residual)
        border, corner = border_of(
            columns, height, matrix, ones, freedom=freedom, background_free=background_free
        )
        stopped = (height <= 0) | limits.stopped(columns, slope.reshape(-1, 4)[:, :2])
        free = np.ones((len(columns), 4), bool)
        free[:, WIDTH] = freedom == "own"
        free[stopped, :HEIGHT] = False  # where there is nothing to see, there is no direction either
        border_slope = [slope[WIDTH::4].sum()] * (freedom == "common")
        border_slope += [state.residual.sum()] * background_free
        unknown = np.flatnonzero(free)
        return cls(
            matrix[:, unknown][unknown], slope[unknown], border[unknown], corner, np.array(border_slope),
            unknown, freedom,
        )  # fmt: skip

    def step(self, damping: float) -> Float:
        """Return the damped step of x, y and width of every column, (n_columns, 3)."""
        diagonal = self.matrix.diagonal()
        extra = np.where(self.unknown % 4 == HEIGHT, ROUNDING, damping) * diagonal
        corner = self.corner.copy()
        if self.freedom == "common":
            corner[0, 0] *= 1 + damping
        factors = Bordered.factorise(self.matrix + sparse.diags_array(extra), self.border, corner)
        local, common = factors.solve(self.slope, self.border_slope)
        n = self.n_columns
        step = np.zeros(4 * n)
        step[self.unknown] = local
        steps = step.reshape(n, 4)[:, :HEIGHT]
        if self.freedom == "common":
            steps[:, WIDTH] = common[0]
        return steps

    @property
    def n_columns(self) -> int:
        """Number of columns: the height of each is always unknown."""
        return int(np.count_nonzero(self.unknown % 4 == HEIGHT))


def border_of(
    columns: GaussianColumns, height: Float, matrix: sparse.csc_array, weight: Float, *, freedom: str,
    background_free: bool,
) -> tuple[Float, Float]:  # fmt: skip
    """Return the blocks B (4 n, m) and C (m, m) of JᵀWJ for a common width and a free background.

    Parameters
    ----------
    columns : GaussianColumns
    height : ndarray of shape (n_columns,), float64
    matrix : sparse matrix of shape (4 n_columns, 4 n_columns)
        JᵀWJ of the columns.
    weight : ndarray of shape (ny, nx), float64
        W.
    freedom : {"fixed", "common", "own"}
    background_free : bool

    Returns
    -------
    border : ndarray of shape (4 n_columns, m), float64
    corner : ndarray of shape (m, m), float64
        m is 0, 1 or 2; the width is before the background.
    """
    all_widths = np.tile(np.arange(4) == WIDTH, len(columns)).astype(np.float64)
    with_background = columns.project_derivatives(height, weight)
    border = np.stack([matrix @ all_widths, with_background], axis=1)
    mixed = all_widths @ with_background
    corner = np.array([[all_widths @ border[:, 0], mixed], [mixed, weight.sum()]])
    kept = np.flatnonzero([freedom == "common", background_free])
    return border[:, kept], corner[np.ix_(kept, kept)]
