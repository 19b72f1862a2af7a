"""Focal library, blur by the source, areas of squares, and bounds of depths, against closed forms."""

import numpy as np
import pytest

from etcli.core.depth.focal_library import (
    CoreProfiles,
    FocalLibrary,
    blur_in_radius,
    check_counts,
    focal_library,
)
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.isolated_column import column_intensities
from etcli.core.depth.precision import atom_depth_bounds, column_depth_bounds, square_areas
from etcli.core.errors import DataError, UsageError

GOLD = ColumnKind("Au", 4.08, 0.63)
RADIUS_A = np.arange(0, 6.01, 0.12)
FOCUS_A = np.arange(-120.0, 120.1, 5.0)


def gaussian_library(width_A: float = 0.5, depth_of_field_A: float = 40.0) -> FocalLibrary:
    """Gaussians in radius and focus, with amplitude and peak that depend on the atom count."""
    peak = np.array([0.0, -3.0, 8.0])
    along = np.exp(-((FOCUS_A - peak[:, np.newaxis]) ** 2) / (2 * depth_of_field_A**2))
    across = np.exp(-(RADIUS_A**2) / (2 * width_A**2))
    amplitude = np.array([0.04, 0.08, 0.11])[:, np.newaxis, np.newaxis]
    return FocalLibrary(FOCUS_A, RADIUS_A, amplitude * along[..., np.newaxis] * across)


@pytest.mark.parametrize("sigma_A", [0.1, 0.3, 0.8])
def test_the_blur_of_a_gaussian(sigma_A: float) -> None:
    width = 0.4
    image = np.exp(-(RADIUS_A**2) / (2 * width**2))
    wide = width**2 + sigma_A**2
    expected = width**2 / wide * np.exp(-(RADIUS_A**2) / (2 * wide))
    np.testing.assert_allclose(blur_in_radius(RADIUS_A, sigma_A) @ image, expected, atol=2e-4)


def test_the_blur_of_flat_images_and_by_a_point() -> None:
    flat = blur_in_radius(RADIUS_A, 0.3) @ np.ones(len(RADIUS_A))
    np.testing.assert_allclose(flat[RADIUS_A < 4], 1, atol=1e-6)
    np.testing.assert_array_equal(blur_in_radius(RADIUS_A, 0.0), np.eye(len(RADIUS_A)))


@pytest.mark.parametrize("half_A", [0.5, 2.0, 3.0, 4.2])
def test_areas_of_a_square(half_A: float) -> None:
    radius = np.arange(0, 6.2, 0.12)
    area = square_areas(radius, half_A)
    assert area.sum() == pytest.approx(4 * half_A**2, rel=2e-3)
    if half_A >= 2:  # ∫ r² over the square
        assert area @ radius**2 == pytest.approx(8 / 3 * half_A**4, rel=5e-3)
    with pytest.raises(UsageError, match="does not fit in the simulated radius"):
        square_areas(radius, 6.5)


def test_a_library_between_its_values() -> None:
    library = gaussian_library()
    focus, radius = np.array([-33.3, 1.7, 62.2]), np.array([0.05, 0.4, 1.33])
    for n_atoms, peak, amplitude in ((1, 0.0, 0.04), (3, 8.0, 0.11)):
        expected = amplitude * np.exp(-((focus - peak) ** 2) / 3200 - radius**2 / 0.5)
        np.testing.assert_allclose(library.at(n_atoms, focus, radius), expected, atol=2e-5)
    assert library.at(1, np.zeros(1), np.array([6.5]))[0] == 0
    np.testing.assert_allclose(
        library.at(2, np.array([500.0]), np.zeros(1)), library.at(2, np.array([120.0]), np.zeros(1))
    )


def test_core_profiles() -> None:
    library = gaussian_library()
    core = library.core_profiles(0.5)
    mean = 2 * 0.5**2 / 0.5**2 * (1 - np.exp(-(0.5**2) / (2 * 0.5**2)))
    np.testing.assert_allclose(core.intensity, library.intensity[..., 0] * mean, rtol=1e-4)
    np.testing.assert_allclose(core.peak_A, [0, -3, 8], atol=0.01)
    at, step = np.array([-41.0, 12.0]), 1e-4
    slope = (core.at(2, at + step) - core.at(2, at - step)) / (2 * step)
    np.testing.assert_allclose(core.slope_at(2, at), slope, rtol=1e-5)
    assert core.slope_at(2, np.array([130.0]))[0] == 0
    assert core.at(2, np.array([130.0])) == pytest.approx(core.intensity[1, -1])
    with pytest.raises(UsageError, match="does not lie in the library"):
        library.core_profiles(7.0)


def test_a_peak_at_the_end_of_the_range() -> None:
    focus = np.linspace(-50, 50, 11)
    assert CoreProfiles(focus, focus[np.newaxis]).peak_A == pytest.approx([50])


def test_counts_outside_a_library() -> None:
    check_counts(np.array([1, 3]), 3)
    for wrong in (0, 4):
        with pytest.raises(DataError, match=f"{wrong} atoms is not in the library, which holds 1 to 3"):
            check_counts(np.array([2, wrong]), 3)


@pytest.mark.parametrize("semi_angle_mrad", [21.0, 40.0])
def test_the_simulated_library_is_the_column_itself(semi_angle_mrad: float) -> None:
    optics = FocalOptics(semi_angle_mrad=semi_angle_mrad, source_fwhm_A=0.0)
    library = focal_library(GOLD, optics, most_atoms=5, focus_range_A=60.0, radius_A=1.5)
    assert library.focus_A[0] == -60 and library.focus_A[-1] == 60 and np.ptp(np.diff(library.focus_A)) < 1e-9
    focus, radius = np.array([-47.0, -3.0, 16.0]), np.array([0.0, 0.45, 1.3])
    for n_atoms in (2, 5):
        depth = (np.arange(n_atoms) - (n_atoms - 1) / 2) * GOLD.spacing_A
        expected = column_intensities(GOLD, optics, depth, focus, radius)[-1]
        found = library.at(n_atoms, *np.broadcast_arrays(focus[:, np.newaxis], radius))
        np.testing.assert_allclose(found, expected, atol=2e-3 * library.intensity[n_atoms - 1].max())


def test_the_simulated_source() -> None:
    library, blurred = (
        focal_library(GOLD, FocalOptics(source_fwhm_A=size), most_atoms=1, focus_range_A=60.0, radius_A=3.0)
        for size in (0.0, 0.7)
    )
    assert blurred.intensity[0].max() < 0.8 * library.intensity[0].max()
    assert blurred.radius_A[-1] >= 3.0 > blurred.radius_A[-2]
    with pytest.raises(UsageError, match="holds no column"):
        focal_library(GOLD, FocalOptics(), most_atoms=0, focus_range_A=60.0)


def test_column_bounds_of_gaussians_in_closed_form() -> None:
    """Of I = A exp(−f²/2s²) exp(−r²/2w²), ∫∫ (∂I/∂f)² / I d²r is f²/s⁴ A exp(−f²/2s²) 2πw²."""
    library, focus = gaussian_library(), np.arange(-100, 101, 10.0)
    dose = 5000.0
    expected = []
    for peak, amplitude in ((0.0, 0.04), (-3.0, 0.08), (8.0, 0.11)):
        away = focus - peak
        information = (away**2 / 40**4 * amplitude * np.exp(-(away**2) / 3200)).sum() * 2 * np.pi * 0.25
        expected.append(1 / np.sqrt(dose * information))
    found = column_depth_bounds(library, focus, dose_e_A2=dose)
    np.testing.assert_allclose(found, expected, rtol=3e-3)
    np.testing.assert_allclose(column_depth_bounds(library, focus, dose_e_A2=dose / 4), 2 * found)
    with pytest.raises(UsageError, match="reach beyond the library"):
        column_depth_bounds(library, focus * 2, dose_e_A2=dose)
    with pytest.raises(UsageError, match="dose_e_A2"):
        column_depth_bounds(library, focus, dose_e_A2=0)


def test_the_bound_of_one_atom_is_that_of_its_column() -> None:
    focus = np.arange(-100, 101, 10.0)
    library = focal_library(GOLD, FocalOptics(), most_atoms=1, focus_range_A=120.0, radius_A=3.0)
    whole = column_depth_bounds(library, focus, dose_e_A2=9612, half_region_A=2.0)[0]
    single = atom_depth_bounds(
        GOLD, FocalOptics(), n_atoms=1, focus_A=focus, dose_e_A2=9612, half_region_A=2.0
    )
    assert single.sigma_A == pytest.approx([whole], rel=0.01)
    assert single.trusted and single.condition == pytest.approx(1)
    with pytest.raises(UsageError, match="has no bound"):
        atom_depth_bounds(GOLD, FocalOptics(), n_atoms=0, focus_A=focus, dose_e_A2=9612)
