"""Detection of columns and their integration over Voronoi cells."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from etcli.core.depth.columns import find_columns, voronoi_cross_sections
from etcli.core.errors import DataError, UsageError
from tests.columns import column_image, square_lattice

SHAPE = (80, 90)


def found_places(image: np.ndarray, **options: float) -> np.ndarray:
    return find_columns(image, **{"sigma_px": 1.5, "min_distance_px": 5.0, **options})


def distances(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return cKDTree(found).query(true)[0]


def test_all_columns_of_a_thin_edge_beside_thick_ones() -> None:
    true = square_lattice(6, step=11.0, spread=1.0)
    height = np.where(true[:, 0] < 20, 1.0, 10.0)
    found = found_places(column_image(true, SHAPE, height=height, background=3.0))
    assert len(found) == len(true)
    assert distances(found, true).max() < 0.3  # pixels


def test_places_are_interpolated_between_pixels() -> None:
    true = np.array([[30.3, 40.25]])
    found = found_places(column_image(true, SHAPE))
    assert found == pytest.approx(true, abs=0.05)


def test_of_two_that_are_close_the_stronger_stays() -> None:
    image = column_image([[30, 40], [36, 40]], SHAPE, height=[1.0, 2.0], width_px=1.5)
    assert len(found_places(image)) == 2
    assert found_places(image, min_distance_px=7.0) == pytest.approx(np.array([[36.0, 40.0]]), abs=0.1)


def test_a_chain_keeps_every_other_column() -> None:
    image = column_image([[20, 40], [28, 40], [36, 40]], SHAPE, height=[3.0, 2.0, 1.0])
    assert found_places(image, min_distance_px=10.0)[:, 0] == pytest.approx([20, 36], abs=0.2)


def test_the_order_is_that_of_y_then_x() -> None:
    found = found_places(column_image(square_lattice(6, step=11.0, spread=1.0), SHAPE))
    assert (np.diff(found[:, 1]) >= 0).all()


@pytest.mark.parametrize("x", [-2.0, 0.0, 1.2])
def test_columns_at_the_border_are_dropped_and_none_is_invented(x: float) -> None:
    image = column_image([[x, 40], [45, 40]], SHAPE)
    assert found_places(image) == pytest.approx(np.array([[45.0, 40.0]]), abs=0.05)


def test_a_slope_has_no_columns() -> None:
    slope = np.add.outer(np.arange(80.0), 2 * np.arange(90.0))
    with pytest.raises(DataError, match="away from the border"):
        found_places(slope)
    found = found_places(slope + column_image([[45, 40]], SHAPE, height=100.0))
    assert found == pytest.approx(np.array([[45.0, 40.0]]), abs=0.1)


def test_two_pixels_of_the_same_height_are_one_column() -> None:
    assert found_places(column_image([[30.5, 40.5]], SHAPE)) == pytest.approx(np.array([[30.5, 40.5]]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((20, 20)), "1 everywhere"),
        (np.full((20, 20), np.nan), "not finite"),
        (np.ones((3, 20, 20)), "shape"),
        (column_image([[0, 10]], (21, 21), box=3.0), "largest being"),
    ],
)
def test_images_without_columns(image: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        found_places(image)


@pytest.mark.parametrize("wrong", [{"sigma_px": 0}, {"min_distance_px": -1}, {"threshold": 1.0}])
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="use a positive sigma"):
        found_places(column_image([[30, 40]], SHAPE), **wrong)


def test_cells_of_separate_columns_hold_their_volume() -> None:
    place, height = square_lattice(3, step=20.0), np.arange(1.0, 10.0)
    image = column_image(place, SHAPE, height=height, background=0.5)
    sums = voronoi_cross_sections(image, place, background=0.5, max_radius_px=10.0)
    assert sums == pytest.approx(2 * np.pi * height * 4, rel=1e-4)


def test_cells_divide_the_pixels_within_the_radius() -> None:
    image, place = np.random.default_rng(0).normal(size=SHAPE), square_lattice(5, step=12.0, spread=3.0)
    rows, columns = np.indices(SHAPE)
    distance = np.hypot(columns[..., np.newaxis] - place[:, 0], rows[..., np.newaxis] - place[:, 1])
    inside = distance.min(axis=-1) < 7.5
    expected = [image[inside & (distance.argmin(axis=-1) == n)].sum() for n in range(len(place))]
    assert voronoi_cross_sections(image, place, max_radius_px=7.5) == pytest.approx(np.array(expected))


def test_cells_need_a_radius_and_places() -> None:
    image = column_image([[30, 40]], SHAPE)
    with pytest.raises(UsageError, match="positive"):
        voronoi_cross_sections(image, [[30, 40]], max_radius_px=0)
    with pytest.raises(DataError, match="positions"):
        voronoi_cross_sections(image, [30, 40], max_radius_px=5)
