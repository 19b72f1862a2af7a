"""Levenberg-Marquardt minimisation for Gaussian columns, whose heights and background are eliminated."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize_scalar

from etcli.core.depth.gaussian_columns import HEIGHT, ROUNDING, WIDTH, Bordered, GaussianColumns, X, Y

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

MOST_STEPS = 40
BOXES_SETTLE = 15
"""Steps after which boxes stay: pixels at the edge of a box could otherwise come and go for ever."""
TOLERANCE_PX = 1e-4
"""Step at which a fit has converged."""
NEGLIGIBLE_GAIN = 0.01
"""... or its gain in χ²: a step of less than a tenth of a standard deviation, of what hardly matters."""
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-3, 1e-9, 1e6
WIDTH_LIMIT = 2.0
"""Widths stay within this factor of their start."""
NARROWEST_PX, WIDTH_STEP, WIDTH_ACCURACY = 0.4, 1.2, 1e-3
"""Smallest of the widths that are tried, their ratio, and the relative accuracy of the best."""


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
        factors = height_equations(columns, background_free=self.background is None)
        height, background = best_heights(columns, self.image, factors, background=self.background)
        residual = self.image - columns.image(height, background)
        return State(columns, height, background, residual, float(np.vdot(residual, residual)))


@dataclass(frozen=True, eq=False)
class Limits:
    """How far columns may go.

    Parameters
    ----------
    start : ndarray of shape (n_columns, 2), float64
        Places (x, y) in pixels.
    radius_px : ndarray of shape (n_columns,), float64
        Largest distance from the start; 0 to hold a column where it is.
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
        """Find the columns that moved as far from their start as they may."""
        away = np.hypot(columns.x_px - self.start[:, 0], columns.y_px - self.start[:, 1])
        return np.asarray((away > 0.999 * self.radius_px) & ~self.held)

    @property
    def held(self) -> Bool:
        """Columns that may not move."""
        return np.asarray(self.radius_px == 0)

    def width_reached(self, columns: GaussianColumns) -> Bool:
        """Find the columns whose width is the largest or smallest allowed."""
        return np.asarray(np.abs(np.log(columns.width_px / self.width_px)) > 0.999 * np.log(WIDTH_LIMIT))

    def stopped(self, columns: GaussianColumns, slope: Float) -> Bool:
        """Find the columns at their limit that would go beyond it, given the descent direction (n, 2)."""
        away = np.stack([columns.x_px, columns.y_px], axis=1) - self.start
        return np.asarray(self.held | (self.reached(columns) & (np.sum(away * slope, axis=1) > 0)))

    def moved(self, columns: GaussianColumns, step: Float) -> GaussianColumns:
        """Move columns by a step (n, 3) in x, y and width, each by its width at most, within the limits."""
        length = np.hypot(step[:, X], step[:, Y])
        step = step / np.maximum(length / columns.width_px, 1)[:, np.newaxis]
        place = np.stack([columns.x_px, columns.y_px], axis=1) + step[:, :2]
        away = place - self.start
        distance = np.hypot(away[:, 0], away[:, 1])
        shorten = np.divide(
            self.radius_px, distance, out=np.ones_like(distance), where=distance > self.radius_px
        )
        place = self.start + away * shorten[:, np.newaxis]
        width = np.clip(
            columns.width_px + step[:, WIDTH], self.width_px / WIDTH_LIMIT, WIDTH_LIMIT * self.width_px
        )
        return columns.moved(place[:, 0], place[:, 1], width)


def best_heights(
    columns: GaussianColumns, image: Float, factors: Bordered, *, background: float | None
) -> tuple[Float, float]:
    """Find the heights of columns in an image by linear least squares.

    Parameters
    ----------
    columns : GaussianColumns
        Places and widths.
    image : ndarray of shape (ny, nx), float64
    factors : Bordered
        `height_equations` of these columns.
    background : float or None
        The background; None to fit it.

    Returns
    -------
    height : ndarray of shape (n_columns,), float64
    background : float
    """
    if background is not None:
        return factors.solve(columns.project(image - background), np.zeros(0))[0], background
    height, common = factors.solve(columns.project(image), np.array([image.sum()]))
    return height, float(common[0])


def invisible(height: Float) -> Bool:
    """Find the columns whose height is negative, or 0 apart from rounding errors."""
    return np.asarray(height <= ROUNDING * np.abs(height).max())


def height_equations(columns: GaussianColumns, *, background_free: bool) -> Bordered:
    """Return the factorised normal equations of heights and, where it is free, the background."""
    ones = np.ones(columns.shape)
    matrix = columns.overlaps(ones)
    border = columns.project(ones)[:, np.newaxis]
    if not background_free:
        return Bordered.factorise(matrix, border[:, :0], np.zeros((0, 0)))
    return Bordered.factorise(matrix, border, np.full((1, 1), float(ones.size)))


def best_width(model: Model, place: Float, *, most_px: float) -> float:
    """Find the common width with which columns at given places fit best.

    Parameters
    ----------
    model : Model
    place : ndarray of shape (n_columns, 2), float64
        (x, y) in pixels.
    most_px : float
        Largest width considered.

    Returns
    -------
    float
        In pixels.
    """

    def misfit(width: float) -> float:
        return model.at(place[:, 0], place[:, 1], np.full(len(place), width)).sum_of_squares

    best, least, width = NARROWEST_PX, np.inf, NARROWEST_PX
    while width < most_px and width <= WIDTH_STEP**2 * best:  # two worse in succession are enough
        now = misfit(width)
        if now < least:
            best, least = width, now
        width *= WIDTH_STEP
    bounds = (best / WIDTH_STEP, best * WIDTH_STEP)
    return float(
        minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": WIDTH_ACCURACY * best}).x
    )


@dataclass(frozen=True, eq=False)
class Minimum:
    """Result of `minimise`.

    Parameters
    ----------
    state : State
    limits : Limits
        Those within which it was looked for.
    n_iterations : int
    converged : bool
    """

    state: State
    limits: Limits
    n_iterations: int
    converged: bool


def minimise(model: Model, state: State, limits: Limits, *, freedom: str) -> Minimum:
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
    Minimum
    """
    damping, converged, k = FIRST_DAMPING, False, 0
    n_covered = np.count_nonzero(state.columns.image(np.ones(len(state.height))))
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
        gained = state.sum_of_squares - trial.sum_of_squares
        state, damping = trial, max(damping / 10, LEAST_DAMPING)
        if moved < TOLERANCE_PX or gained < NEGLIGIBLE_GAIN * state.sum_of_squares / n_covered:
            converged = True
            break
    columns = state.columns
    final = model.at(columns.x_px, columns.y_px, columns.width_px)  # in the boxes of these places
    return Minimum(final, limits, k, converged)


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
        free = np.ones((len(columns), 4), bool)
        free[:, WIDTH] = freedom == "own"
        free[limits.stopped(columns, slope.reshape(-1, 4)[:, :2]), :WIDTH] = False
        free[invisible(height), :HEIGHT] = False  # nothing of it shows where it should go
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
        extra = np.where(self.unknown % 4 == HEIGHT, 0, damping) * diagonal
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
