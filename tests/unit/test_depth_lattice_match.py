"""Columns of an image are found on their lattice, however it is turned, scaled, noisy and incomplete."""

from itertools import product

import numpy as np
import pytest

from etcli.core.depth.lattice_match import (
    LatticeMatch,
    lattice_depths,
    lattice_log_prior,
    match_lattice,
)
from etcli.core.depth.zone_lattice import ZoneLattice, zone_lattice
from etcli.core.errors import DataError
from tests.crystals import crystal

FCC_100 = zone_lattice(*crystal("fcc", 4.08), (1, 0, 0))
FCC_110 = zone_lattice(*crystal("fcc", 4.08), (1, 1, 0))
FCC_111 = zone_lattice(*crystal("fcc", 4.08), (1, 1, 1))
BCC_111 = zone_lattice(*crystal("bcc", 3.2), (1, 1, 1))
DIAMOND_110 = zone_lattice(*crystal("diamond", 5.43), (1, 1, 0))
HCP_001 = zone_lattice(*crystal("hcp", 2.95), (0, 0, 1))
LATTICES = {
    "fcc100": FCC_100,
    "fcc110": FCC_110,
    "fcc111": FCC_111,
    "bcc111": BCC_111,
    "diamond110": DIAMOND_110,
    "hcp001": HCP_001,
}


def image(
    lattice: ZoneLattice, angle_deg: float, *, scale: float = 1.0, radius_A: float = 12.0, shear: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the columns in a disc, and the heights of their atoms."""
    cells = np.array(list(product(range(-25, 26), repeat=2)))[:, np.newaxis]
    flat = (cells @ lattice.vectors_A + lattice.column_A).reshape(-1, 2)
    height = (cells @ lattice.rise_A + lattice.height_A).ravel()
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inside = np.linalg.norm(flat - [0.4, 0.7], axis=1) < radius_A
    return scale * flat[inside] @ turn.T @ np.array([[1, shear], [0, 1]]) + [31.0, -12.0], height[inside]


def off_by(match: LatticeMatch, height: np.ndarray, spacing: float) -> float:
    """Largest difference of the heights but for a common shift."""
    difference = (match.height_A - height)[match.matched]
    difference = difference - difference[0]
    return float(np.abs(difference - spacing * np.rint(difference / spacing)).max())


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("angle_deg", [0.0, 211.9])
def test_heights_are_found_whatever_the_direction(name: str, angle_deg: float) -> None:
    lattice = LATTICES[name]
    position, height = image(lattice, angle_deg, scale=1.02)
    matches = match_lattice(position, lattice)
    assert min(off_by(match, height, lattice.spacing_A) for match in matches) < 1e-6
    for match in matches:
        assert match.matched.all() and match.residual_A < 1e-6
        assert match.scale == pytest.approx(1.02, abs=1e-6)


@pytest.mark.parametrize("name", ["fcc100", "fcc110", "diamond110", "hcp001"])
def test_noise_distortion_and_missing_and_wrong_columns(name: str) -> None:
    lattice, rng = LATTICES[name], np.random.default_rng(8)
    position, height = image(lattice, 64.0, scale=0.97, shear=0.01)
    kept = rng.random(len(position)) < 0.85
    position, height = position[kept] + rng.normal(scale=0.08, size=(kept.sum(), 2)), height[kept]
    wrong = position[:4] + lattice.column_spacing_A * np.array([0.5, 0.0])
    matches = match_lattice(np.concatenate([position, wrong]), lattice)
    true = len(position)
    best = min(
        matches,
        key=lambda match: off_by(
            LatticeMatch(match.matched[:true], match.height_A[:true], 0, 1, 0), height, lattice.spacing_A
        ),
    )
    assert best.matched[:true].mean() > 0.97
    part = LatticeMatch(best.matched[:true], best.height_A[:true], 0, 1, 0)
    assert off_by(part, height, lattice.spacing_A) < 1e-6
    assert best.residual_A == pytest.approx(0.08 * np.sqrt(2), rel=0.25)
    assert best.scale == pytest.approx(0.97, abs=0.01)
    assert np.isnan(best.height_A[~best.matched]).all()


def test_a_close_packed_plane_has_two_stackings_and_depths_tell_them_apart() -> None:
    lattice, rng = FCC_111, np.random.default_rng(9)
    position, height = image(lattice, 5.0)
    matches = match_lattice(position, lattice)
    assert len(matches) == 2
    count = rng.integers(1, 8, len(position))
    level = 1.3
    true = level + height + (count - 1) * lattice.spacing_A / 2
    sigma = np.full(len(position), 0.8)
    measured = true + sigma * rng.normal(size=len(true))
    everywhere = np.ones(len(true), bool)
    fits = [lattice_depths(measured, sigma, count, match, lattice.spacing_A, everywhere) for match in matches]
    right = int(np.argmin([off_by(match, height, lattice.spacing_A) for match in matches]))
    assert fits[right].residual_A < 0.8 * fits[1 - right].residual_A


def test_another_lattice_is_refused() -> None:
    position, _ = image(FCC_110, 12.0)
    with pytest.raises(DataError, match=r"columns lie on the lattice .* check the structure, the zone axis"):
        match_lattice(position, FCC_100)
    for other in (FCC_100, FCC_111, BCC_111):  # they can be sheared into each other
        with pytest.raises(DataError, match="columns lie on the lattice"):
            match_lattice(image(other, 40.0)[0], FCC_110)
    with pytest.raises(DataError, match="3 columns are too few"):
        match_lattice(position[:3], FCC_110)
    scattered = np.random.default_rng(1).uniform(0, 40, (150, 2))
    with pytest.raises(DataError, match="columns lie on the lattice"):
        match_lattice(scattered, FCC_100)


@pytest.mark.parametrize("name", ["fcc100", "diamond110", "bcc111"])
def test_depths_go_to_the_lattice(name: str) -> None:
    lattice, rng = LATTICES[name], np.random.default_rng(10)
    position, height = image(lattice, 31.0)
    count = rng.integers(1, 9, len(position))
    level = 0.37 * lattice.spacing_A
    steps = rng.integers(-2, 3, len(position))
    true = level + height + (count - 1) * lattice.spacing_A / 2 + steps * lattice.spacing_A
    sigma = np.full(len(true), 0.1 * lattice.spacing_A)
    measured = true + sigma * rng.normal(size=len(true))
    measured[:3] += 0.4 * lattice.spacing_A  # wrong, and known to be
    trusted = np.arange(len(true)) >= 3
    match = LatticeMatch(np.ones(len(true), bool), np.mod(height, lattice.spacing_A), 0.0, 1.0, 0.0)
    found = lattice_depths(measured, sigma, count, match, lattice.spacing_A, trusted)
    assert found.level_A == pytest.approx(level, abs=0.05 * lattice.spacing_A)
    np.testing.assert_allclose(found.depth_A[trusted], true[trusted], atol=0.05 * lattice.spacing_A)
    assert found.residual_A < 0.1 * lattice.spacing_A
    with pytest.raises(DataError, match="no column with a trusted depth"):
        lattice_depths(measured, sigma, count, match, lattice.spacing_A, np.zeros(len(true), bool))


def test_a_depth_tells_odd_counts_from_even() -> None:
    spacing = 4.08
    match = LatticeMatch(np.array([True, True, True, False]), np.array([0.0, 2.04, 0.0, np.nan]), 0, 1, 0)
    depth, sigma = np.array([0.5, 0.5, np.nan, 0.5]), np.array([0.5, 0.5, 0.5, 0.5])
    depth = np.repeat(depth[:, np.newaxis], 7, axis=1)  # the same for every count
    prior = lattice_log_prior(depth, sigma, match, 0.5, spacing)
    assert prior.shape == (4, 7)
    odd = np.arange(7) % 2 == 1
    assert (prior[0, odd] > prior[0, ~odd].max() + 5).all()
    assert (prior[1, ~odd] > prior[1, odd].max() + 5).all()
    assert not prior[2:].any()
    wide = lattice_log_prior(depth, np.full(4, 30.0), match, 0.5, spacing)
    assert np.ptp(wide[0]) < 0.1
