"""Images of a focal series: the sharpest ones, their average, and saturated pixels."""

import numpy as np
import pytest

from etcli.core.depth.focal_images import (
    FocalImages,
    average_section,
    check_sections,
    saturated_pixels,
    sharpest_sections,
)
from etcli.core.errors import DataError
from tests.columns import column_image, square_lattice


def defocused(widths_px: list[float], focus_A: list[float] | None = None) -> FocalImages:
    """Columns of the same cross-section and different widths."""
    places = square_lattice(3, step=8.0)
    sections = np.stack(
        [column_image(places, (32, 32), width_px=width, height=1 / width**2) for width in widths_px]
    ).astype(np.float32)
    focus = np.full(len(widths_px), np.nan) if focus_A is None else np.array(focus_A, float)
    return FocalImages(sections, focus, 0.4, np.zeros((len(widths_px), 2)))


def test_the_sharpest_sections_are_those_with_the_narrowest_columns() -> None:
    images = defocused([3.0, 2.6, 2.0, 1.2, 1.1, 1.3, 2.1, 2.8])
    assert sharpest_sections(images, 3).tolist() == [3, 4, 5]
    assert sharpest_sections(images, 1).tolist() == [4]
    assert sharpest_sections(images, 99).tolist() == list(range(8))


def test_sections_are_neighbours_in_focus_not_in_the_file() -> None:
    images = defocused([1.2, 3.0, 1.1, 2.6, 1.3, 2.0], [0, 60, 10, -40, 20, -20])
    assert sharpest_sections(images, 3).tolist() == [0, 2, 4]


@pytest.mark.parametrize("moved", [(0, 0), (3, 0), (-2, 4), (1, -5)])
def test_whole_pixels_are_moved_back_exactly(moved: tuple[int, int]) -> None:
    still = np.random.default_rng(0).normal(size=(24, 30)).astype(np.float32)
    dx, dy = moved
    sections = np.stack([still, np.roll(still, (dy, dx), axis=(0, 1))])
    average = average_section(sections, np.array([(0, 0), moved], float))
    inner = (slice(6, -6), slice(6, -6))
    np.testing.assert_allclose(average[inner], still[inner], atol=1e-6)


def test_parts_of_pixels_are_moved_back_as_a_smooth_image_is() -> None:
    places, shifts = square_lattice(3, step=8.0), np.array([[0.3, -0.6], [-1.25, 0.5], [0.0, 0.0]])
    sections = np.stack([column_image(places + shift, (32, 32), width_px=1.8) for shift in shifts])
    average = average_section(sections.astype(np.float32), shifts)
    expected = column_image(places, (32, 32), width_px=1.8)
    np.testing.assert_allclose(average[4:-4, 4:-4], expected[4:-4, 4:-4], atol=2e-3)


def test_the_average_is_of_equal_weights() -> None:
    sections = np.stack([np.full((4, 5), value, np.float32) for value in (1, 2, 6)])
    np.testing.assert_allclose(average_section(sections, np.zeros((3, 2))), 3)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_clipped_pixels_are_saturated(kind: type) -> None:
    images = defocused([1.2, 1.1, 1.3]).sections
    clipped = np.random.default_rng(1).poisson(5000 * images).clip(max=3000).astype(kind)
    expected = clipped == 3000
    assert expected.sum() > 10 and expected[0].sum() < 10  # few in a section
    np.testing.assert_array_equal(saturated_pixels(clipped.astype(np.float32)), expected)


@pytest.mark.parametrize("electrons", [0.02, 0.1, 1, 30, 5000])
def test_counts_of_any_dose_are_not_saturated(electrons: float) -> None:
    for seed in range(5):
        counts = np.random.default_rng(seed).poisson(electrons, (9, 64, 64)).astype(np.float32)
        assert not saturated_pixels(counts).any()


def test_values_that_are_all_different_are_not_saturated() -> None:
    assert not saturated_pixels(np.random.default_rng(0).random((5, 20, 20)).astype(np.float32)).any()


def test_a_constant_section_is_named_as_it_counts() -> None:
    sections = np.random.default_rng(0).random((3, 4, 4)).astype(np.float32)
    check_sections(sections)
    sections[1] = 2.5
    with pytest.raises(DataError, match="all pixels of section 2 have the same value"):
        check_sections(sections)


def test_electrons_in_a_pixel() -> None:
    images = defocused([1.0, 1.1])
    assert images.electrons is None and len(images) == 2 and images.shape == (32, 32)
    dosed = FocalImages(images.sections, images.focus_A, 0.4, images.displacement_px, 1000.0)
    assert dosed.electrons == pytest.approx(160)
