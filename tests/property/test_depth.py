"""Depth sectioning: what must not change, or change in a known way, with the numbers that are put in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcli.core.depth.focal_library import CoreProfiles, FocalLibrary, blur_in_radius
from etcli.core.depth.focal_optics import FocalOptics
from etcli.core.depth.focal_profiles import fit_depths
from etcli.core.depth.lattice_match import match_lattice
from etcli.core.depth.superposition import superposed_sections
from etcli.core.depth.zone_lattice import zone_lattice
from tests.crystals import crystal

FOCUS_A = np.arange(-160.0, 161.0, 10.0)
RADIUS_A = np.arange(0, 3.01, 0.12)
PROFILE = np.exp(-((FOCUS_A - 4) ** 2) / 3200) * (1 + 0.2 * np.tanh(FOCUS_A / 50))
CORE = CoreProfiles(FOCUS_A, 0.05 * np.stack([PROFILE, 1.7 * PROFILE]))
LIBRARY = FocalLibrary(
    FOCUS_A, RADIUS_A, CORE.intensity[..., np.newaxis] * np.exp(-(RADIUS_A**2) / 0.4)
)  # fmt: skip
FCC_100 = zone_lattice(*crystal("fcc", 4.08), (1, 0, 0))

small = settings(max_examples=15, deadline=None)


@small
@given(
    shift_A=st.floats(-1e4, 1e4),
    scale=st.floats(1e-3, 1e6),
    level=st.floats(0, 10),
    method=st.sampled_from(["template", "gaussian"]),
)
def test_depths_follow_the_focus_and_ignore_scale_and_background(
    shift_A: float, scale: float, level: float, method: str
) -> None:
    foci, count, depth = np.arange(-100.0, 101.0, 10.0), np.array([1, 2, 2]), np.array([-12.0, 3.3, 15.0])
    profile = np.stack([CORE.at(int(k), foci - z) for k, z in zip(count, depth, strict=True)], axis=1)
    fit = fit_depths(scale * (profile + level), foci + shift_A, count, CORE, method=method)
    np.testing.assert_allclose(fit.depth_A - shift_A, depth, atol=2e-3)


@small
@given(
    place=st.tuples(st.floats(-4, 25), st.floats(-4, 25)),
    drift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    depth_A=st.floats(-30, 30),
)
def test_a_column_that_moves_with_the_drift_stays(
    place: tuple[float, float], drift: tuple[float, float], depth_A: float
) -> None:
    given = {"focus_A": np.array([-20.0, 10.0]), "shape": (20, 20), "pixel_A": 0.4}
    count, depth = np.array([2]), np.array([depth_A])
    still = superposed_sections(np.array([place]), count, depth, LIBRARY, **given)
    moved = superposed_sections(
        np.array([place]) - drift, count, depth, LIBRARY, displacement_px=np.tile(drift, (2, 1)), **given
    )
    np.testing.assert_allclose(moved, still, atol=1e-6)
    deeper = superposed_sections(
        np.array([place]), count, depth + 7, LIBRARY, **(given | {"focus_A": np.array([-13.0, 17.0])})
    )
    np.testing.assert_allclose(deeper, still, atol=1e-6)


@small
@given(sigma_A=st.floats(0.05, 0.6), width_A=st.floats(0.3, 0.8))
def test_a_blur_keeps_the_integral(sigma_A: float, width_A: float) -> None:
    radius = np.arange(0, 8.01, 0.12)
    image = np.exp(-(radius**2) / (2 * width_A**2))
    weight = radius.copy()
    assert (blur_in_radius(radius, sigma_A) @ image) @ weight == pytest.approx(image @ weight, rel=2e-2)


@small
@given(inner=st.floats(21, 100), width=st.floats(1, 100), n=st.integers(20, 400))
def test_shares_of_a_detector_add_up_to_its_width(inner: float, width: float, n: int) -> None:
    optics = FocalOptics(detector_mrad=(inner, inner + width))
    frequency = np.linspace(0.02, 14, n)
    band = np.diff(np.concatenate([[0.0], (frequency[1:] + frequency[:-1]) / 2, [np.nan]]))
    share = optics.detected_share(frequency)
    assert ((share >= 0) & (share <= 1)).all()
    wavelength = 0.0196875
    assert share[:-1] @ band[:-1] == pytest.approx(1e-3 * width / wavelength, rel=1e-4)


@settings(max_examples=5, deadline=None)
@given(
    angle_deg=st.floats(0, 360),
    scale=st.floats(0.95, 1.05),
    shift_A=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
)
def test_a_lattice_is_found_in_any_direction(
    angle_deg: float, scale: float, shift_A: tuple[float, float]
) -> None:
    i, j = (axis.ravel() for axis in np.mgrid[-5:6, -5:6])
    height = (i + j) % 2 * 2.04
    angle = np.deg2rad(angle_deg)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matches = match_lattice(2.04 * np.column_stack([i, j]) @ turn.T + shift_A, FCC_100)
    assert len(matches) == 1 and matches[0].matched.all()
    assert matches[0].scale == pytest.approx(scale, rel=1e-6)
    difference = (matches[0].height_A - height) / 4.08
    difference -= difference[0]
    np.testing.assert_allclose(difference, np.rint(difference), atol=1e-6)
