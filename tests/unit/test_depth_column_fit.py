"""Fits of Gaussian columns: exact on images of the model, with honest errors in noise."""

import numpy as np
import pytest

from etcli.core.depth.column_fit import ColumnFit, fit_columns
from etcli.core.depth.gaussian_columns import GaussianColumns
from etcli.core.errors import DataError, UsageError
from tests.columns import column_image, square_lattice

SHAPE = (64, 66)
STEP, WIDTH = 10.0, 3.25  # 2 Å and 0.65 Å with pixels of 0.2 Å
TRUE = square_lattice(5, step=STEP, spread=0.8)
N = len(TRUE)
HEIGHT = np.random.default_rng(1).uniform(0.5, 4.0, N)
START = TRUE + np.random.default_rng(2).uniform(-1.0, 1.0, TRUE.shape)


def places(fit: ColumnFit) -> np.ndarray:
    return np.stack([fit.x_px, fit.y_px], axis=1)


@pytest.mark.parametrize("width", ["common", "own", WIDTH])
@pytest.mark.parametrize("background", [None, 0.3])
def test_parameters_of_overlapping_columns_come_back(width: str | float, background: float | None) -> None:
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT, background=0.3, box=6.0)
    fit = fit_columns(image, START, width=width, background=background, box=6.0)
    assert fit.converged
    assert not fit.bad.any()
    assert np.abs(places(fit) - TRUE).max() < 1e-6
    assert np.abs(fit.width_px - WIDTH).max() < 1e-6
    assert fit.height == pytest.approx(HEIGHT, rel=1e-6)
    assert fit.background == pytest.approx(0.3, abs=1e-6)
    assert fit.cross_section_px2 == pytest.approx(2 * np.pi * HEIGHT * WIDTH**2, rel=1e-6)
    assert fit.image(SHAPE) == pytest.approx(image, abs=1e-6)


def test_columns_cut_to_boxes_of_three_widths_come_back() -> None:
    """A pixel at the edge of a box, of 1 % of the height, may be on the wrong side of it."""
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT, background=0.3, box=3.0)
    fit = fit_columns(image, START)
    assert np.abs(places(fit) - TRUE).max() < 0.01
    assert np.abs(fit.width_px - WIDTH).max() < 0.01
    assert fit.sum_of_squares < 1e-3


def test_each_column_has_its_own_width() -> None:
    width = np.random.default_rng(3).uniform(0.8, 1.2, N) * WIDTH
    image = column_image(TRUE, SHAPE, width_px=width, height=HEIGHT)
    fit = fit_columns(image, START, width="own", box=6.0)
    assert fit.width_px == pytest.approx(width, rel=1e-5)


def test_derivatives_are_those_of_finite_differences() -> None:
    columns = GaussianColumns.at(*TRUE.T, np.full(N, WIDTH), box=3.0, shape=SHAPE)
    rng, step = np.random.default_rng(4), 1e-5
    weight = rng.normal(size=SHAPE)

    def image(change: np.ndarray) -> np.ndarray:
        moved = columns.moved(*(TRUE + change[:, :2]).T, WIDTH + change[:, 2])
        return moved.image(HEIGHT + change[:, 3])

    directions = rng.normal(size=(3, N, 4))
    slopes = np.array([(image(step * d) - image(-step * d)) / (2 * step) for d in directions])
    gradient = columns.project_derivatives(HEIGHT, weight)
    assert directions.reshape(3, -1) @ gradient == pytest.approx((slopes * weight).sum(axis=(1, 2)), rel=1e-6)
    products = columns.derivative_products(HEIGHT, weight**2)
    flat = directions.reshape(3, -1)
    expected = np.einsum("iyx,jyx,yx->ij", slopes, slopes, weight**2)
    assert flat @ (products @ flat.T) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("width", "known"), [("common", True), ("own", True), (WIDTH, True), (WIDTH, False)])
def test_the_errors_are_the_scatter_in_poisson_noise(width: str | float, known: bool) -> None:
    rng, repeats, counts = np.random.default_rng(5), 20, 100.0
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT, background=0.2, box=3.0)
    scores: dict[str, list[np.ndarray]] = {"place": [], "height": [], "cross-section": [], "background": []}
    for _ in range(repeats):
        noisy = rng.poisson(counts * image) / counts
        fit = fit_columns(noisy, TRUE, width=width, variance=image / counts if known else None)
        scores["place"].append((places(fit) - TRUE) / fit.position_error_px)
        scores["height"].append((fit.height - HEIGHT) / fit.height_error)
        true = 2 * np.pi * HEIGHT * WIDTH**2
        scores["cross-section"].append((fit.cross_section_px2 - true) / fit.cross_section_error_px2)
        scores["background"].append(np.array((fit.background - 0.2) / fit.background_error))
    for name, values in scores.items():
        score = np.array(values)
        few = score.size == repeats
        assert np.sqrt((score**2).mean()) == pytest.approx(1, abs=0.5 if few else 0.15), name
        assert abs(score.mean()) < (0.7 if few else 0.2), name


def test_errors_of_neighbours_alone_are_those_of_the_whole_matrix() -> None:
    """The covariance from the dense matrix of derivatives of every pixel, by finite differences."""
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT, background=0.3, box=3.0)
    variance = 0.01 * (1 + image)
    fit = fit_columns(image, TRUE, variance=variance)
    columns = GaussianColumns.at(fit.x_px, fit.y_px, fit.width_px, box=3.0, shape=SHAPE)
    step, derivatives = 1e-5, []
    for k in range(3 * N + 2):
        change = np.zeros(3 * N + 2)
        change[k] = step
        sides = []
        for sign in (1, -1):
            dx, dy, dh = sign * change[: 3 * N].reshape(3, N)
            moved = columns.moved(fit.x_px + dx, fit.y_px + dy, fit.width_px + sign * change[-2])
            sides.append(moved.image(fit.height + dh, fit.background + sign * change[-1]).ravel())
        derivatives.append((sides[0] - sides[1]) / (2 * step))
    weights = np.linalg.pinv(np.array(derivatives).T)
    covariance = weights * variance.ravel() @ weights.T
    error = np.sqrt(np.diagonal(covariance))
    assert fit.position_error_px.T.ravel() == pytest.approx(error[: 2 * N], rel=0.02)
    assert fit.height_error == pytest.approx(error[2 * N : 3 * N], rel=0.02)
    assert fit.width_error_px == pytest.approx(np.full(N, error[-2]), rel=1e-3)
    assert fit.background_error == pytest.approx(error[-1], rel=1e-3)
    assert fit.height_width_covariance == pytest.approx(covariance[2 * N : 3 * N, -2], rel=1e-3)


def test_a_place_without_a_column_is_marked() -> None:
    image = column_image(TRUE[1:], SHAPE, width_px=2.0, height=HEIGHT[1:], background=0.3)
    image = np.random.default_rng(6).normal(image, 0.05)
    image += column_image(TRUE[:1], SHAPE, width_px=2.0, height=-1.0)  # a hole
    fit = fit_columns(image, TRUE)
    assert fit.bad.tolist() == [True] + [False] * (N - 1)
    assert np.isinf(fit.position_error_px[0]).all()
    assert not np.isnan(fit.height_error).any()
    assert not np.isnan(fit.cross_section_error_px2).any()
    assert np.abs(places(fit) - TRUE)[1:].max() < 0.5


def test_no_column_moves_farther_than_allowed() -> None:
    image = column_image([[30.0, 30.0]], SHAPE, width_px=3.0)
    fit = fit_columns(image, [[27.0, 30.0]], move_at_most_px=1.0)
    assert fit.bad.all()
    assert fit.x_px[0] == pytest.approx(28.0)
    assert not fit_columns(image, [[27.0, 30.0]], move_at_most_px=4.0).bad.any()


def test_held_columns_stay_and_are_not_marked() -> None:
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT)
    fit = fit_columns(image, TRUE, move_at_most_px=0, box=6.0)
    assert (places(fit) == TRUE).all()
    assert not fit.bad.any()
    assert (fit.position_error_px == 0).all()
    assert fit.width_px == pytest.approx(np.full(N, WIDTH), rel=1e-6)


def test_stages_end_above_the_minimum() -> None:
    image = column_image(TRUE, SHAPE, width_px=WIDTH, height=HEIGHT, background=0.3)
    image += 0.2 * column_image(TRUE + 3.0, SHAPE, width_px=2.0, height=HEIGHT)  # no Gaussians
    staged, joint = fit_columns(image, START, width="staged"), fit_columns(image, START)
    assert joint.sum_of_squares < staged.sum_of_squares < 1.1 * joint.sum_of_squares


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[10.0, 10.0], [10.5, 10.0]], "columns 1 and 2 .* closer"),
        ([[10.0, 10.0], [70.0, 10.0]], "column 2 at .* outside"),
        ([[np.nan, 10.0]], "column 1 at .* outside"),
        ([10.0, 10.0], "positions"),
    ],
)
def test_positions_that_cannot_be_used(positions: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit_columns(column_image(TRUE, SHAPE), positions)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"width": "mine"}, "no width named"),
        ({"width": -1.0}, "positive"),
        ({"box": 0.5}, "cut off"),
        ({"move_at_most_px": -1.0}, "or 0"),
        ({"background": "free"}, "not a number"),
    ],
)
def test_options_out_of_range(option: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit_columns(column_image(TRUE, SHAPE), TRUE, **option)


@pytest.mark.parametrize("variance", [-1.0, np.nan, np.ones((3, 3))])
def test_variances_that_cannot_be_used(variance: object) -> None:
    with pytest.raises(DataError, match="varianc"):
        fit_columns(column_image(TRUE, SHAPE), TRUE, variance=variance)


@pytest.mark.parametrize("width", ["common", "own", "staged"])
def test_columns_of_nothing_are_marked_and_no_number_is_missing(width: str) -> None:
    """Sparse images of noise, where heights are 0 and columns narrower than a pixel."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        image = np.where(rng.random((24, 30)) < 0.1, rng.normal(size=(24, 30)), 0.0)
        fit = fit_columns(image, square_lattice(4, step=5.0, spread=1.5, seed=seed), width=width)
        assert fit.bad.any()
        for values in (fit.x_px, fit.width_px, fit.height, fit.height_error, fit.position_error_px):
            assert not np.isnan(values).any()
        assert not np.isnan(fit.cross_section_error_px2).any()
