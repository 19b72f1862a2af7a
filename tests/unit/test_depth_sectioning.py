"""Cross-sections that a fit expects, the sign of the defocus, and columns with what is known of them."""

from functools import cache

import numpy as np
import pytest
from scipy.special import erf

from etcli.core.depth.column_counts import CountOptions, count_columns
from etcli.core.depth.column_depths import MeasuredDepths, ProfileOptions, measure_depths
from etcli.core.depth.column_fit import fit_columns
from etcli.core.depth.defocus_sign import SignTest, sign_of_defocus
from etcli.core.depth.expected_cross_sections import SimulatedFit, on_common_library
from etcli.core.depth.focal_images import FocalImages, average_section
from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary, focal_library
from etcli.core.depth.focal_optics import FocalOptics
from etcli.core.depth.focal_profiles import check_library_focus, check_peaks, fit_depths
from etcli.core.depth.sectioning import first_depths, image_variance, known_depths
from etcli.core.depth.sectioning_result import Sectioning
from etcli.core.errors import DataError
from tests.columns import column_image
from tests.focal_particle import FOCUS_A, KIND, PIXEL_A, SIZE, Particle, counted, particle

WIDTH_A = 0.6
HEIGHTS = np.array([0.02, 0.035, 0.045])
"""Of columns of 1, 2 and 3 atoms, whatever the focus."""


def gaussian_library() -> FocalLibrary:
    focus, radius = np.arange(-150.0, 151, 10), np.arange(0, 5.01, 0.05)
    across = np.exp(-(radius**2) / (2 * WIDTH_A**2))
    return FocalLibrary(focus, radius, np.tile(HEIGHTS[:, np.newaxis, np.newaxis] * across, (1, 31, 1)))


def gaussian_images(places: np.ndarray, count: np.ndarray, moved: np.ndarray) -> FocalImages:
    sections = np.stack(
        [
            column_image(places + shift, (40, 40), width_px=WIDTH_A / PIXEL_A, height=HEIGHTS[count - 1])
            for shift in moved
        ]
    )
    return FocalImages(sections.astype(np.float32), np.linspace(-20, 20, len(moved)), PIXEL_A, moved)


@pytest.fixture
def simulated() -> SimulatedFit:
    """Gaussian columns far from each other, in sections that have moved by whole pixels."""
    places = np.array([[10.0, 10.0], [29.0, 11.0], [10.5, 28.25], [28.0, 28.0]])
    moved = np.array([[0.0, 0.0], [1.0, -1.0], [-2.0, 0.0], [0.0, 1.0]])
    images = gaussian_images(places, np.array([1, 2, 3, 2]), moved)
    chosen = np.array([0, 1, 3])
    average = average_section(images.sections[chosen], moved[chosen])
    fit = fit_columns(average, places, background=0.0)
    return SimulatedFit(images, chosen, fit, gaussian_library())


def test_the_fit_of_simulated_sections_finds_their_cross_sections(simulated: SimulatedFit) -> None:
    found = simulated.cross_sections(np.array([3, 1, 2, 1]), np.array([5.0, -8, 0, 30]))
    expected = 2 * np.pi * WIDTH_A**2 * HEIGHTS[[2, 0, 1, 0]]
    # a box of three widths holds less of a sampled Gaussian, and the fit allows for it
    np.testing.assert_allclose(found, expected, rtol=5e-3)


def test_slabs_have_the_same_count_everywhere(simulated: SimulatedFit) -> None:
    slabs = simulated.slabs(np.zeros(4))
    assert slabs.shape == (4, 3)
    np.testing.assert_allclose(slabs, np.tile(2 * np.pi * WIDTH_A**2 * HEIGHTS, (4, 1)), rtol=5e-3)
    np.testing.assert_allclose(slabs[:, 1], simulated.cross_sections(np.full(4, 2), np.zeros(4)))


def test_neighbours_add_to_a_cross_section() -> None:
    places = np.array([[15.0, 20.0], [19.0, 20.0]])  # 1.6 Å, less than three widths
    images = gaussian_images(places, np.array([2, 2]), np.zeros((1, 2)))
    fit = fit_columns(images.sections[0], places, width=WIDTH_A / PIXEL_A, box=1.0, background=0.0)
    simulated = SimulatedFit(images, np.array([0]), fit, gaussian_library())
    few, many = (simulated.cross_sections(np.array([2, n]), np.zeros(2))[0] for n in (1, 3))
    assert many > few * 1.02


def test_a_value_keeps_its_place_between_the_counts() -> None:
    expected = np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [1.5, 3.0, 6.0]])
    values = np.array([3.0, 6.0, 0.75])  # half-way from 2 to 3, the same, and half-way from 0 to 1
    converted, library = on_common_library(values, expected)
    np.testing.assert_allclose(library, [1.5, 3, 6])
    np.testing.assert_allclose(converted, [4.5, 4.5, 0.75])
    # beyond the longest count in proportion, so that it is seen to be beyond
    np.testing.assert_allclose(on_common_library(np.array([8.0, 8.0, 9.0]), expected)[0], [12, 6, 9])


LIBRARY = cache(focal_library)


def simulated_depths(
    gold: Particle, electrons: float, *, reverse: bool
) -> tuple[FocalImages, MeasuredDepths, CoreProfiles, FocalLibrary]:
    library = LIBRARY(
        KIND, FocalOptics(), most_atoms=int(gold.count.max()), focus_range_A=140.0, radius_A=5.0
    )
    dose = electrons / PIXEL_A**2
    data = counted(gold.sections(), dose).astype(np.float32) / np.float32(electrons)
    focus = -FOCUS_A if reverse else FOCUS_A
    images = FocalImages(data, focus, PIXEL_A, np.zeros((len(focus), 2)), dose)
    profiles = library.core_profiles(0.5)
    measured = measure_depths(images, gold.place_px, gold.count, profiles, ProfileOptions(), library=library)
    return images, measured, profiles, library


def sign(gold: Particle, electrons: float, *, reverse: bool, method: str = "template") -> SignTest:
    images, measured, profiles, library = simulated_depths(gold, electrons, reverse=reverse)
    return sign_of_defocus(
        images,
        gold.place_px,
        gold.count,
        measured,
        profiles,
        ProfileOptions(method=method),
        library=library,
        scale=1.0,
        used=np.ones(len(gold.count), bool),
    )


def test_the_sign_of_the_defocus_of_a_thick_crystal() -> None:
    gold = particle(2, least=13, most=14)
    right, wrong = (sign(gold, 100_000, reverse=reverse) for reverse in (False, True))
    assert right.has_power and not right.wrong and right.advantage > 0
    assert wrong.has_power and wrong.wrong and wrong.advantage < 0
    # a wrong sign is not hidden by its own misfit
    assert wrong.advantage == pytest.approx(-right.advantage, rel=0.3)
    assert wrong.expected == pytest.approx(right.expected, rel=0.1)


def test_the_sign_of_the_defocus_of_a_thin_crystal_cannot_be_told() -> None:
    gold = particle(2, least=2, most=4)
    for reverse in (False, True):
        found = sign(gold, 20_000, reverse=reverse)
        assert not found.has_power and not found.wrong


def test_noise_takes_the_power_from_the_test_of_the_sign() -> None:
    gold = particle(2, least=13, most=14)
    assert not sign(gold, 500, reverse=True).wrong


def library_of(first_A: float, last_A: float) -> CoreProfiles:
    focus = np.arange(first_A, last_A + 1, 5)
    return CoreProfiles(focus, 0.1 * np.exp(-(focus**2) / 1800)[np.newaxis])


@pytest.mark.parametrize(
    ("first_A", "last_A", "window_A", "enough"),
    [
        (-100, 100, 100, True),
        (-200, 200, 100, True),
        (-95, 95, 100, True),  # half a step is harmless
        (-80, 100, 100, False),
        (-100, 80, 100, False),
        (-50, 50, 50, True),
        (-50, 50, 60, False),
    ],
)
def test_a_library_must_have_the_foci_of_the_sections(
    first_A: float, last_A: float, window_A: float, enough: bool
) -> None:
    focus, peak = np.arange(-150.0, 151, 10), np.array([-10.0, 0, 0, 10, 140])
    library = library_of(first_A, last_A)
    if enough:
        check_library_focus(library, focus, peak, window_A=window_A)
    else:
        with pytest.raises(DataError, match=rf"from {first_A} to {last_A} Å from the centre"):
            check_library_focus(library, focus, peak, window_A=window_A)


@pytest.mark.parametrize(("outside", "usable"), [(2, True), (3, False)])
def test_columns_out_of_focus(outside: int, usable: bool) -> None:
    focus = np.arange(-100.0, 101, 10)
    depth = np.where(np.arange(10) < outside, 135.0, 10.0)
    profile = 0.01 + 0.1 * np.exp(-((focus[:, np.newaxis] - depth) ** 2) / 1800)
    fit = fit_depths(profile, focus, np.ones(10, np.int64), library_of(-200, 200))
    if usable:
        check_peaks(fit, focus)
    else:
        with pytest.raises(DataError, match=r"3 of 10 columns .* \(-100 to 100 Å\).*--defocus-sign"):
            check_peaks(fit, focus)


@pytest.fixture
def sectioning() -> Sectioning:
    gold = particle(3, seed=6)
    images = FocalImages(gold.sections(), FOCUS_A, PIXEL_A, np.zeros((len(FOCUS_A), 2)))
    chosen = np.arange(3, 9)
    average = average_section(images.sections[chosen], images.displacement_px[chosen])
    return Sectioning(images, chosen, average, fit_columns(average, gold.place_px), given_count=gold.count)


def test_first_depths_are_the_peaks(sectioning: Sectioning) -> None:
    gold = particle(3, seed=6)
    depth = first_depths(sectioning, ProfileOptions())
    assert np.abs(depth - gold.depth_A).max() < 6  # channelling moves them
    assert np.corrcoef(depth, gold.depth_A)[0, 1] > 0.95
    with pytest.raises(ValueError, match="not been measured"):
        known_depths(sectioning)


def test_columns_before_their_depths_are_known(sectioning: Sectioning) -> None:
    assert not sectioning.edge.any() and not sectioning.measurable.any() and not sectioning.trusted.any()
    assert sectioning.scale == 1 and sectioning.count is sectioning.given_count
    np.testing.assert_allclose(sectioning.columns_px, particle(3, seed=6).place_px, atol=0.2)
    height, width = sectioning.fit.height, sectioning.fit.width_px * PIXEL_A
    np.testing.assert_allclose(sectioning.cross_section_A2, 2 * np.pi * height * width**2)
    np.testing.assert_array_less(0, sectioning.cross_section_error_A2)


def test_the_noise_of_an_average() -> None:
    gold = particle(2)
    data = gold.sections()
    images = FocalImages(data, FOCUS_A, PIXEL_A, np.zeros((len(FOCUS_A), 2)), 1000.0)
    average = data[:4].mean(axis=0)
    variance = image_variance(images, average, 4)
    assert variance is not None and variance.shape == (SIZE, SIZE)
    drawn = [
        np.mean([counted(data[k], 1000.0, seed=10 * k + seed) for k in range(4)], axis=0) / 160
        for seed in range(400, 1400, 10)
    ]
    inner = average > 0.02
    assert np.var(drawn, axis=0)[inner].mean() == pytest.approx(variance[inner].mean(), rel=0.05)
    assert image_variance(FocalImages(data, FOCUS_A, PIXEL_A, np.zeros((11, 2))), average, 4) is None


@pytest.mark.parametrize("method", ["library", "hybrid", "icl"])
def test_ways_of_counting(method: str) -> None:
    library = 0.02 * np.arange(1, 7) ** 0.95
    count = np.repeat([1, 2, 3, 4], 20)
    noise = np.random.default_rng(0).normal(0, 0.001, len(count))
    options = CountOptions(method, components=4 if method == "icl" else None)
    counts, mixtures = count_columns(library[count - 1] + noise, None, library, options)
    np.testing.assert_array_equal(counts.count, count)
    assert bool(mixtures) == (method == "icl")
    # half the distance of the means in standard deviations: hardly any is wrong
    assert counts.expected_errors < len(count) * (1 - erf(0.009 / 0.001 / np.sqrt(2))) + 0.1
