"""Focal series of isolated columns, intensities of their cores, and depths fitted to them."""

from typing import Any

import numpy as np
import pytest

from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary
from etcli.core.depth.focal_profiles import DepthFit, core_intensities, core_noise, fit_depths
from etcli.core.depth.superposition import superposed_sections
from etcli.core.errors import DataError, UsageError

RADIUS_A = np.arange(0, 6.01, 0.12)
LIBRARY_FOCUS_A = np.arange(-260.0, 261.0, 10.0)
EVEN_A = np.arange(-200, 201, 10.0)
UNEVEN_A = np.array([-200, -150, -110, -70, -52, -31, -20, -4, 9, 23, 35, 64, 95, 130, 190, 210.0])


def skew_profiles() -> np.ndarray:
    """Profiles of three counts that are not Gaussian and peak off the centre."""
    focus = LIBRARY_FOCUS_A
    tables = [
        amplitude * np.exp(-((focus - peak) ** 2) / (2 * width**2)) * (1 + 0.3 * np.tanh(focus / 60))
        for amplitude, peak, width in ((0.03, 0.0, 38.0), (0.06, -4.0, 41.0), (0.08, 7.0, 45.0))
    ]
    return np.array(tables)


@pytest.fixture(scope="module")
def library() -> FocalLibrary:
    across = np.exp(-(RADIUS_A**2) / (2 * 0.5**2))
    return FocalLibrary(LIBRARY_FOCUS_A, RADIUS_A, skew_profiles()[..., np.newaxis] * across)


@pytest.fixture(scope="module")
def core() -> CoreProfiles:
    return CoreProfiles(LIBRARY_FOCUS_A, skew_profiles())


def sections(library: FocalLibrary, columns: np.ndarray, **changed: Any) -> np.ndarray:
    given: dict[str, Any] = {
        "count": np.array([1, 3]),
        "depth_A": np.array([-10.0, 14.0]),
        "focus_A": np.array([-30.0, 0.0, 17.0]),
        "shape": (24, 30),
        "pixel_A": 0.4,
        "libraries": library,
    }
    given |= changed
    return superposed_sections(columns, **given)


COLUMNS_PX = np.array([[9.3, 11.0], [18.7, 12.45]])


def test_every_pixel_is_that_of_the_library(library: FocalLibrary) -> None:
    found = sections(library, COLUMNS_PX)
    y, x = np.mgrid[:24, :30]
    for place, focus in enumerate((-30.0, 0.0, 17.0)):
        expected = sum(
            library.at(n_atoms, np.full(x.shape, focus - depth), 0.4 * np.hypot(x - at[0], y - at[1]))
            for at, n_atoms, depth in zip(COLUMNS_PX, (1, 3), (-10.0, 14.0), strict=True)
        )
        np.testing.assert_allclose(found[place], expected, atol=2e-5)


def test_columns_add_up_and_may_have_their_own_libraries(library: FocalLibrary) -> None:
    double = FocalLibrary(library.focus_A, library.radius_A, 2 * library.intensity)
    one, other = (
        sections(
            library, COLUMNS_PX[at : at + 1], count=np.array([n_atoms]), depth_A=np.array([depth])
        )
        for at, n_atoms, depth in ((0, 1, -10.0), (1, 3, 14.0))
    )  # fmt: skip
    np.testing.assert_allclose(sections(library, COLUMNS_PX), one + other, atol=1e-8)
    own = sections(library, COLUMNS_PX, libraries=[library, double])
    np.testing.assert_allclose(own, one + 2 * other, atol=1e-8)


def test_drift_moves_the_content(library: FocalLibrary) -> None:
    drift = np.array([[0.0, 0.0], [2.0, -1.0], [-3.0, 4.0]])
    still, moved = sections(library, COLUMNS_PX), sections(library, COLUMNS_PX, displacement_px=drift)
    for place, (dx, dy) in enumerate(drift.astype(int)):
        expected = np.roll(still[place], (dy, dx), axis=(0, 1))
        np.testing.assert_allclose(moved[place][5:-5, 5:-5], expected[5:-5, 5:-5], atol=1e-7)
    shifted = sections(library, COLUMNS_PX + np.array([0.3, 0.6]))
    by_drift = sections(library, COLUMNS_PX, displacement_px=np.tile([0.3, 0.6], (3, 1)))
    np.testing.assert_allclose(by_drift, shifted, atol=1e-7)


def test_columns_outside_the_image_and_counts_outside_the_library(library: FocalLibrary) -> None:
    assert not sections(library, np.array([[-200.0, 3.0], [9.0, 900.0]])).any()
    for wrong in (-1, 4):
        with pytest.raises(DataError, match="not in the library"):
            sections(library, COLUMNS_PX, count=np.array([1, wrong]))
    assert not sections(library, COLUMNS_PX, count=np.array([0, 0])).any()


def test_the_core_of_a_smooth_image() -> None:
    """The mean of a quadratic over a disc of radius R is its value at the centre + R²/2 of x² + y²."""
    y, x = np.mgrid[:40, :40].astype(float)
    image = 2 + 0.1 * x - 0.05 * y + 0.01 * ((x - 20) ** 2 + (y - 18) ** 2)
    drift = np.array([[0.0, 0.0], [1.5, -2.25]])
    at = np.array([[19.7, 18.4], [15.2, 22.9]])
    found = core_intensities(
        np.stack([image, image]).astype(np.float32), at, radius_px=2.5, displacement_px=drift
    )
    for place, moved in enumerate(drift):
        px, py = (at + moved).T
        expected = 2 + 0.1 * px - 0.05 * py + 0.01 * ((px - 20) ** 2 + (py - 18) ** 2 + 2.5**2 / 2)
        np.testing.assert_allclose(found[place], expected, rtol=2e-3)
    bowl = ((x - 20) ** 2 + (y - 18) ** 2)[np.newaxis].astype(np.float32)
    at_bottom = core_intensities(bowl, np.array([[20.0, 18.0]]), radius_px=3.0)
    assert at_bottom.item() == pytest.approx(3.0**2 / 2, rel=0.01)
    with pytest.raises(UsageError, match="radius_px"):
        core_intensities(np.zeros((1, 8, 8), np.float32), at, radius_px=0)


@pytest.mark.parametrize("radius_px", [0.8, 1.25, 3.0])
def test_the_noise_of_a_core(radius_px: float) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(1, 120, 120)).astype(np.float32)
    at = rng.uniform(20, 100, (3000, 2))
    found = core_intensities(noise, at, radius_px=radius_px).var()
    assert found == pytest.approx(core_noise(radius_px), rel=0.1)


def simulated(
    core: CoreProfiles, focus: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    count, depth = rng.integers(1, 4, n), rng.uniform(-25, 25, n)
    profile = np.stack(
        [1.3 * core.at(int(k), focus - z) + 0.004 for k, z in zip(count, depth, strict=True)], axis=1
    )
    return profile, count, depth


@pytest.mark.parametrize("method", ["template", "gaussian"])
@pytest.mark.parametrize("focus_A", [EVEN_A, UNEVEN_A, UNEVEN_A[::-1]], ids=["even", "uneven", "falling"])
def test_depths_without_noise_are_exact(core: CoreProfiles, method: str, focus_A: np.ndarray) -> None:
    profile, count, depth = simulated(core, focus_A, 60, np.random.default_rng(2))
    for variance in (None, profile / 1000):
        fit = fit_depths(profile, focus_A, count, core, method=method, variance=variance)
        np.testing.assert_allclose(fit.depth_A, depth, atol=1e-3)
        assert not (fit.no_fit | fit.peak_outside | fit.low_contrast).any()
    if method == "template":
        np.testing.assert_allclose(fit.amplitude, 1.3, rtol=1e-6)
        np.testing.assert_allclose(fit.background, 0.004, atol=1e-8)
        np.testing.assert_allclose(fit.model[fit.used], profile[fit.used], atol=1e-8)
        np.testing.assert_allclose(fit.peak_A - fit.depth_A, core.peak_A[count - 1], atol=1e-9)


def test_gaussians_without_a_library_find_the_peak() -> None:
    centre = np.array([-31.0, 3.0, 44.5])
    profile = 0.01 + np.exp(-((EVEN_A[:, np.newaxis] - centre) ** 2) / (2 * 30.0**2))
    fit = fit_depths(profile, EVEN_A, np.ones(3, int), None, method="gaussian")
    np.testing.assert_allclose(fit.depth_A, centre, atol=1e-4)
    np.testing.assert_array_equal(fit.peak_A, fit.depth_A)


@pytest.mark.parametrize("method", ["template", "gaussian"])
@pytest.mark.parametrize("known", [True, False], ids=["variance", "residuals"])
def test_standard_errors_are_those_of_repeated_experiments(
    core: CoreProfiles, method: str, known: bool
) -> None:
    rng = np.random.default_rng(3)
    profile, count, depth = simulated(core, EVEN_A[::2], 500, rng)
    variance = profile / 800 if known else np.full_like(profile, 2e-5)
    noisy = profile + rng.normal(size=profile.shape) * np.sqrt(variance)
    fit = fit_depths(noisy, EVEN_A[::2], count, core, method=method, variance=variance if known else None)
    pull = (fit.depth_A - depth) / fit.sigma_A
    assert np.abs(np.median(pull)) < 0.15
    # half the width of the middle two thirds: robust against single profiles lost in noise
    assert np.diff(np.quantile(pull, [0.159, 0.841])) / 2 == pytest.approx(1, abs=0.2)
    if known:
        assert np.median(fit.chi2) == pytest.approx(1, abs=0.15)


def test_what_cannot_be_trusted_is_flagged(core: CoreProfiles) -> None:
    rng = np.random.default_rng(4)
    inside = 1.3 * core.at(2, EVEN_A - 5) + 0.004
    beyond = 1.3 * core.at(2, EVEN_A - 225) + 0.004
    noise = 0.01 + 1e-3 * rng.normal(size=len(EVEN_A))
    flat, unknown = np.full(len(EVEN_A), 0.01), np.full(len(EVEN_A), np.nan)
    profile = np.stack([inside, beyond, noise, flat, unknown], axis=1)
    for method in ("template", "gaussian"):
        fit: DepthFit = fit_depths(profile, EVEN_A, np.full(5, 2), core, method=method)
        assert not (fit.peak_outside | fit.low_contrast | fit.no_fit)[0]
        assert fit.peak_outside[1]
        assert fit.low_contrast[2] or fit.no_fit[2]
        assert fit.no_fit[3:].all() and np.isnan(fit.depth_A[3:]).all() and np.isnan(fit.amplitude[3:]).all()


@pytest.mark.parametrize(
    ("focus_A", "words"),
    [
        (np.arange(4) * 10.0, "4 sections are too few for depths, which need 5 or more"),
        (np.full(6, 250.0), "all sections have the same defocus, -0.025 µm"),
        (np.array([0, 10, 20, 10, 30, 40.0]), "sections 2 and 4 have the same defocus, -0.001 µm"),
        (np.array([0, 10, 20, np.nan, 30, 40.0]), "the defocus of section 4 is not known"),
    ],
)
def test_foci_that_tell_no_depth(core: CoreProfiles, focus_A: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit_depths(np.ones((len(focus_A), 1)), focus_A, np.ones(1, int), core)


def test_methods_that_cannot_be(core: CoreProfiles) -> None:
    profile = np.ones((len(EVEN_A), 1))
    with pytest.raises(UsageError, match="needs a library"):
        fit_depths(profile, EVEN_A, np.ones(1, int), None)
    with pytest.raises(UsageError, match="no method of depth named 'parabola'"):
        fit_depths(profile, EVEN_A, np.ones(1, int), core, method="parabola")
    with pytest.raises(DataError, match="not in the library"):
        fit_depths(profile, EVEN_A, np.array([4]), core)
