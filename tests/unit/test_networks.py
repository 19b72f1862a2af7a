"""Chords, Euler number and tortuosity of bodies with known answers."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number

from etcli.core.measurement.chords import mean_chords
from etcli.core.measurement.connectivity import connectivity
from etcli.core.measurement.tortuosity import tortuosity


def noise(shape: tuple[int, ...] = (24, 25, 26), seed: int = 0, width: float = 1.2) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), width)


def test_chords_of_plates_are_their_thickness() -> None:
    plates = np.zeros((60, 10, 10), bool)
    for first in (5, 20, 40):
        plates[first : first + 7] = True
    z, y, x = mean_chords(plates)
    assert z == pytest.approx(7, rel=0.02)  # 59 steps between 60 voxels
    assert np.isinf([y, x]).all()


def test_chords_of_balls_are_two_thirds_of_their_diameter() -> None:
    axis = np.arange(50) - 24.7
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 20**2
    assert mean_chords(ball) == pytest.approx(4 / 3 * 20, rel=0.03)


def test_chords_cut_by_the_region_are_not_shorter() -> None:
    body = noise((80, 80, 80), seed=2, width=2) > 0
    region = np.zeros(body.shape, bool)
    region[20:50, 20:50, 20:50] = True
    assert mean_chords(body, region) == pytest.approx(mean_chords(body), rel=0.1)
    inside = body[20:50, 20:50, 20:50]
    assert mean_chords(body, region) == pytest.approx(mean_chords(inside))


def test_stretched_bodies_have_longer_chords() -> None:
    body = noise((40, 40, 40), seed=3, width=2) > 0.02
    z, _, x = mean_chords(np.repeat(body, 3, axis=0))
    assert z / x == pytest.approx(3 * mean_chords(body)[0] / mean_chords(body)[2], rel=0.05)


@pytest.mark.parametrize("level", [-0.05, 0.0, 0.08])
def test_the_euler_number_is_that_of_scikit_image(level: float) -> None:
    body = noise() > level
    assert connectivity(body, least=1).euler_number == euler_number(body, connectivity=3)


def test_a_torus_has_a_loop_and_a_hollow_ball_a_cavity() -> None:
    axis = np.arange(40) - 19.5
    z, y, x = axis[:, None, None], axis[:, None], axis
    torus = (np.hypot(y, x) - 12) ** 2 + z**2 < 16
    hollow = (z**2 + y**2 + x**2 < 18**2) & (z**2 + y**2 + x**2 > 8**2)
    ring, shell = connectivity(torus), connectivity(hollow)
    assert (ring.pieces, ring.cavities, ring.loops, ring.euler_number) == (1, 0, 1, 0)
    assert (shell.pieces, shell.cavities, shell.loops, shell.euler_number) == (1, 1, 0, 2)


def test_specks_and_pinholes_are_left_out() -> None:
    body = np.zeros((30, 30, 30), bool)
    body[5:15, 5:25, 5:25] = True
    body[10, 10, 10] = body[8, 20, 20:22] = False
    body[25, 25, 25] = True
    found = connectivity(body)
    assert (found.pieces, found.cavities, found.euler_number, found.n_small) == (1, 0, 1, 3)
    assert found.largest_share == 1


def test_nothing_has_no_pieces() -> None:
    found = connectivity(np.zeros((5, 5, 5), bool))
    assert (found.pieces, found.euler_number) == (0, 0)
    assert np.isnan(found.largest_share)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_straight_channels_have_a_tortuosity_of_one(axis: int) -> None:
    channels = noise((21, 20), seed=4) > 0
    body = np.moveaxis(np.broadcast_to(channels, (17, 21, 20)), 0, axis)
    assert tortuosity(body, axis) == pytest.approx(1, rel=1e-6)


def test_oblique_channels_are_longer() -> None:
    # the flow is along the channel, and its ends are as far apart as the layers: tau = 1 / cos² of the angle
    z, y = np.arange(120)[:, None], np.arange(60)
    wave = 10 * np.sin(2 * np.pi * z / 120)
    channel = np.abs(y - 29.5 - wave) < 6
    body = np.broadcast_to(channel[..., None], (120, 60, 3))
    slope = 2 * np.pi * 10 / 120 * np.cos(2 * np.pi * np.arange(120) / 120)
    width = 12 / np.sqrt(1 + slope**2)  # across the flow
    conductance = 1 / (np.sqrt(1 + slope**2) / width).sum()
    expected = body.mean() * (60 / 120) / conductance
    assert tortuosity(body, 0) == pytest.approx(expected, rel=0.05)
    assert expected > 1.1


def test_a_prism_is_measured_like_a_box() -> None:
    axis = np.arange(30) - 14.5
    prism = np.broadcast_to(axis[:, None] ** 2 + axis**2 < 13**2, (20, 30, 30))
    layers = noise((20, 30, 30), seed=6, width=1.5) > -0.06
    inside = layers & prism
    assert tortuosity(prism, 0, prism) == pytest.approx(1, rel=1e-6)
    assert tortuosity(layers, 0, prism) == pytest.approx(tortuosity(inside, 0), rel=1e-6)
    assert tortuosity(layers, 0, np.ones_like(prism)) == pytest.approx(tortuosity(layers, 0))


def test_the_potential_solves_the_laplace_equation() -> None:
    body = noise((9, 8, 7), seed=7, width=1) > -0.1
    pieces, _ = ndimage.label(body)
    joined = np.isin(pieces, np.intersect1d(pieces[0], pieces[-1])) & body
    sites = np.flatnonzero(joined)
    place = np.stack(np.unravel_index(sites, body.shape), axis=-1)
    near = (np.abs(place[:, None] - place).sum(axis=-1) == 1).astype(float)
    ends = 2.0 * (place[:, 0] == 0), 2.0 * (place[:, 0] == 8)
    matrix = np.diag(near.sum(axis=1) + ends[0] + ends[1]) - near
    flux = (ends[0] * (1 - np.linalg.solve(matrix, ends[0]))).sum()
    assert tortuosity(body, 0) == pytest.approx(body.mean() * 56 / 9 / flux, rel=1e-5)


def test_a_wall_stops_all() -> None:
    body = np.ones((10, 8, 8), bool)
    body[5] = False
    assert np.isinf(tortuosity(body, 0))
    assert tortuosity(body, 1) == pytest.approx(1, rel=1e-6)
