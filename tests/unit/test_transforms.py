"""Transforms: closed forms, exact pixels, borders, files."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.registration.transforms import (
    Transforms,
    compose,
    lies_along_x,
    resample,
    resample_stack,
    rim_mean,
    rim_median,
    turned_shape,
)
from etcli.io.transforms import read_xf, write_xf


def _picture(ny: int = 5, nx: int = 7) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ny, nx)).astype(np.float32)


def _resample(image: np.ndarray, transforms: Transforms, **options) -> np.ndarray:
    return resample(image, transforms.matrix[0], transforms.shift_px[0], **options)


def test_rotation_turns_the_axis_upright() -> None:
    """The axis at R from +y, counter-clockwise, is the direction (-sin R, cos R)."""
    for axis_deg in (-90.0, 12.0, 84.1, 170.0):
        axis_rad = np.deg2rad(axis_deg)
        axis = np.array([-np.sin(axis_rad), np.cos(axis_rad)])
        np.testing.assert_allclose(Transforms.rotation(axis_deg, 1).matrix[0] @ axis, [0, 1], atol=1e-15)


@pytest.mark.parametrize("axis_deg", [46, 90, 134, -46, -90, 226, 270])
def test_an_axis_nearer_to_x_swaps_height_and_width(axis_deg: float) -> None:
    assert lies_along_x(axis_deg) and turned_shape((2, 3), axis_deg) == (3, 2)
    assert not lies_along_x(axis_deg + 90) and turned_shape((2, 3), axis_deg + 90) == (2, 3)


def test_compose_by_hand() -> None:
    """x first: double x, then a quarter turn (x, y) -> (y, -x), then a shift."""
    first = Transforms(np.array([[[2.0, 0], [0, 1]]]), np.array([[1.0, 0]]))
    then = Transforms(np.array([[[0.0, 1], [-1, 0]]]), np.array([[0, 10.0]]))
    both = compose(first, then)
    np.testing.assert_array_equal(both.matrix[0], [[0, 1], [-2, 0]])
    np.testing.assert_array_equal(both.shift_px[0], [0, 9])


def test_inverse_by_hand() -> None:
    back = Transforms(np.array([[[0.0, 2], [-1, 0]]]), np.array([[4.0, 3]])).inverse()
    np.testing.assert_allclose(back.matrix[0], [[0, -1], [0.5, 0]])
    np.testing.assert_allclose(back.shift_px[0], [3, -2])


def test_select_and_scaled() -> None:
    transforms = Transforms.shifts([[1, 2], [3, 4], [5, 6]])
    assert transforms.select([2, 0]).shift_px.tolist() == [[5, 6], [1, 2]]
    assert transforms.scaled(0.5).shift_px.tolist() == [[0.5, 1], [1.5, 2], [2.5, 3]]
    assert transforms.scaled(0.5).matrix.tolist() == transforms.matrix.tolist()
    assert Transforms.identity(3).n_views == transforms.n_views == 3


@pytest.mark.parametrize(
    "row", [[0, 0, 0, 0, 1, 1], [1, 2, 2, 4, 0, 0], [np.nan, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, np.inf]]
)
def test_transform_that_cannot_be_undone_is_refused(row: list[float]) -> None:
    rows = np.array([[1, 0, 0, 1, 0, 0], row], float)
    with pytest.raises(DataError, match="the transform of view 2 cannot be inverted or is not finite: "):
        Transforms(rows[:, :4].reshape(-1, 2, 2), rows[:, 4:])


def test_counts_and_shapes_must_fit() -> None:
    with pytest.raises(DataError, match="not arrays of shape"):
        Transforms(np.eye(2), np.zeros((1, 2)))
    with pytest.raises(DataError, match="2 views with those of 3"):
        compose(Transforms.identity(2), Transforms.identity(3))


@pytest.mark.parametrize("method", ["cubic", "linear"])
@pytest.mark.parametrize("shape", [(5, 7), (6, 8), (6, 7)])
def test_whole_shifts_copy_pixels(method, shape) -> None:
    """Content moves to larger x and smaller y, by index arithmetic."""
    image = _picture(*shape)
    moved = _resample(image, Transforms.shifts([[2, -1]]), method=method, fill=9.0)
    expected = np.full(shape, 9, np.float32)
    expected[:-1, 2:] = image[1:, :-2]
    np.testing.assert_array_equal(moved, expected)
    assert moved.dtype == np.float32


@pytest.mark.parametrize("size", [5, 6])
def test_quarter_turns_copy_pixels(size: int) -> None:
    """The axis at 90° lies along -x; upright, that is where larger y was: clockwise, rows going up."""
    image = _picture(size, size)
    turned = _resample(image, Transforms.rotation(90.0, 1))
    expected = np.empty_like(image)
    for y in range(size):
        for x in range(size):
            expected[size - 1 - x, y] = image[y, x]
    np.testing.assert_array_equal(turned, expected)


def test_size_changes_about_the_centre() -> None:
    image = _picture(5, 7)
    grown = _resample(image, Transforms.identity(1), shape=(9, 9), fill=0.0)
    np.testing.assert_array_equal(grown, np.pad(image, ((2, 2), (1, 1))))
    np.testing.assert_array_equal(_resample(grown, Transforms.identity(1), shape=(5, 7)), image)
    turned = _resample(image, Transforms.rotation(-90.0, 1), shape=(7, 5))
    np.testing.assert_array_equal(turned, np.fliplr(image.T))


def test_cubic_is_exact_for_cubic_polynomials_inside() -> None:
    """A cubic spline reproduces x³ away from the borders, where mirroring bends it."""
    x = np.arange(60.0) - 29.5
    image = np.tile(1e-4 * x**3, (9, 1))
    moved = _resample(image, Transforms.shifts([[0.3, 0]]))
    np.testing.assert_allclose(moved[4, 15:-15], 1e-4 * (x[15:-15] - 0.3) ** 3, atol=2e-6)


def test_linear_is_the_weighted_mean_of_neighbours() -> None:
    image = _picture()
    moved = _resample(image, Transforms.shifts([[0.25, 0]]), method="linear")
    np.testing.assert_allclose(moved[:, 1:], 0.75 * image[:, 1:] + 0.25 * image[:, :-1], rtol=1e-5, atol=1e-6)


def test_border_is_filled_with_the_level_around_the_specimen() -> None:
    image = np.full((7, 6), 10.0, np.float32)
    image[:, 2:4] = 99  # a specimen that crosses the view: 4 of 22 pixels of the rim
    assert rim_median(image) == 10
    assert rim_mean(image) == pytest.approx((18 * 10 + 4 * 99) / 22)
    moved = resample(image, np.eye(2), (3, 0))
    np.testing.assert_array_equal(moved[:, :3], 10)
    np.testing.assert_array_equal(resample(image, np.eye(2), (3, 0), fill=-1)[:, :3], -1)


@pytest.mark.parametrize(("shift", "n_filled"), [(0.4, 0), (0.6, 1), (1.4, 1), (1.6, 2)])
def test_a_pixel_reaches_half_a_pixel_beyond_its_centre(shift: float, n_filled: int) -> None:
    for sign, side in ((1, slice(None, n_filled)), (-1, slice(6 - n_filled, None))):
        moved = _resample(np.ones((6, 6)), Transforms.shifts([[0, sign * shift]]), fill=-1.0)
        expected = np.ones((6, 6))
        expected[side] = -1
        np.testing.assert_allclose(moved, expected, atol=1e-6)


def test_constant_stays_constant_under_any_transform() -> None:
    turned = _resample(np.full((31, 20), 3.0), Transforms.rotation(33.0, 1), shape=(40, 50))
    np.testing.assert_allclose(turned, 3, atol=1e-5)


def test_stack_is_the_views_in_order_whatever_the_threads() -> None:
    stack = np.random.default_rng(2).normal(size=(9, 20, 21))
    transforms = compose(Transforms.rotation(7.0, 9), Transforms.shifts(np.arange(18).reshape(9, 2) / 3))
    expected = [
        resample(view, matrix, shift)
        for view, matrix, shift in zip(stack, transforms.matrix, transforms.shift_px, strict=True)
    ]
    for threads in (1, 3, 20):
        np.testing.assert_array_equal(list(resample_stack(stack, transforms, threads=threads)), expected)


def test_stack_is_streamed_with_few_views_ahead() -> None:
    n_read = 0

    def views():
        nonlocal n_read
        for _ in range(50):
            n_read += 1
            yield np.zeros((4, 4))

    stream = resample_stack(views(), Transforms.identity(50), threads=2)
    for n_taken in range(1, 51):
        next(stream)
        assert n_read <= n_taken + 3
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize(("n_views", "message"), [(2, "only 2 views for 3"), (4, "more views than the 3")])
def test_stack_of_another_length_is_refused(n_views: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(resample_stack(np.zeros((n_views, 4, 4)), Transforms.identity(3)))


def test_an_error_in_a_view_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        list(resample_stack([np.full((2, 2), "a")], Transforms.identity(1)))


def test_xf_has_imods_columns(tmp_path: Path) -> None:
    transforms = Transforms(
        np.array([[[0.98, 0.17], [-0.2, 1.01]], [[1, -1e-9], [0, 1]]]),
        np.array([[-1023.4567, 3.5], [-0.0001, 0]]),
    )
    write_xf(tmp_path / "a.xf", transforms)
    assert (tmp_path / "a.xf").read_bytes() == (
        b"   0.9800000   0.1700000  -0.2000000   1.0100000   -1023.457       3.500\n"
        b"   1.0000000   0.0000000   0.0000000   1.0000000       0.000       0.000\n"
    )
    read = read_xf(tmp_path / "a.xf")
    np.testing.assert_array_equal(read.matrix[0], [[0.98, 0.17], [-0.2, 1.01]])
    np.testing.assert_array_equal(read.shift_px[0], [-1023.457, 3.5])


def test_xf_is_read_in_free_format(tmp_path: Path) -> None:
    (tmp_path / "a.xf").write_bytes(b"# from a script\r\n1,0, 0,1, 2.5,-3\r\n\r\n 1 2e-1 0 1 0 0")
    read = read_xf(tmp_path / "a.xf")
    assert read.matrix.tolist() == [[[1, 0], [0, 1]], [[1, 0.2], [0, 1]]]
    assert read.shift_px.tolist() == [[2.5, -3], [0, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 0 0 1 0 0\n1 0 0 1 0\n", "line 2: expected A11 A12 A21 A22 DX DY, not '1 0 0 1 0'"),
        ("1 0 0 1 0 0 0\n", "line 1: expected"),
        ("1 0 0 one 0 0\n", "line 1: expected"),
        ("1 0 0 1 0 nan\n", "line 1: expected"),
        ("\n", "empty; expected"),
        ("1 0 0 1 0 0\n1 1 1 1 0 0\n", "the transform of view 2 cannot be inverted"),
    ],
)
def test_damaged_xf_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.xf").write_text(content)
    with pytest.raises(DataError, match=rf"a\.xf: {message}"):
        read_xf(tmp_path / "a.xf")
