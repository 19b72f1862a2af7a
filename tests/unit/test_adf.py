"""Simulated dark-field images of atoms: integrals over pixels, places, counts; crystals and directions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import j1

from etcli.core.atomic_model import Atoms
from etcli.core.errors import DataError, UsageError
from etcli.core.simulate.acquisition import AcquisitionErrors, GroundTruth
from etcli.core.simulate.adf import (
    AiryDisc,
    Signal,
    Sphere,
    atoms_series,
    dark_field_weights,
    places,
    quadrant_volume,
)
from etcli.core.simulate.crystals import ball_of_crystal, cut_to_ball, orientation
from etcli.core.simulate.imaging import project
from etcli.core.simulate.solids import Specimen, ellipsoid
from etcli.io.lattices import CUBIC, OTHERS, read_lattice

SHAPE = (24, 30)
few = settings(max_examples=40, deadline=None)
places_px = st.tuples(st.floats(-6, 6), st.floats(-6, 6))


def centre_of_mass(image: np.ndarray) -> tuple[float, float]:
    """x and y from the middle of the view, in pixels."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    return (image @ x).sum() / image.sum(), (image.T @ y).sum() / image.sum()


def silicon(diameter_A: float, seed: int = 0) -> Atoms:
    cell = read_lattice("diamond:Si:5.431")
    return ball_of_crystal(cell.atoms, cell.box.lattice_A, diameter_A, np.random.default_rng(seed))


def series(atoms: Atoms, tilt_deg: list[float], signal: Signal, **more: object) -> np.ndarray:
    """Views of 40 × 40 pixels of 0.4 Å, without errors."""
    chosen = {
        "weight": np.ones(len(atoms)),
        "shape": (40, 40),
        "pixel_A": 0.4,
        "errors": AcquisitionErrors(),
        "rng": np.random.default_rng(1),
    }
    return atoms_series(atoms, np.array(tilt_deg, float), signal, **(chosen | more))[0]


def by_quadrature(radius: float, x: tuple[float, float], y: tuple[float, float]) -> float:
    """Fraction of a ball above a rectangle: the inner integral in closed form, the outer one numerically."""

    def up_to(eta: float, half: float) -> float:
        eta = np.clip(eta, -half, half)
        return (eta * np.sqrt(max(half**2 - eta**2, 0)) + half**2 * np.arcsin(eta / half)) / 2 if half else 0

    def strip(xi: float) -> float:
        half = np.sqrt(max(radius**2 - xi**2, 0))
        return 2 * (up_to(y[1], half) - up_to(y[0], half))

    low, high = np.clip(x, -radius, radius)
    ends = [np.sqrt(max(radius**2 - edge**2, 0)) for edge in y]
    cuts = sorted({low, high, *(s * end for end in ends for s in (-1, 1) if low < s * end < high)})
    parts = [
        integrate.quad(strip, *pair, epsabs=1e-13, epsrel=1e-12, limit=200)[0] for pair in pairwise(cuts)
    ]
    return sum(parts) / (4 / 3 * np.pi * radius**3)


@few
@given(place=places_px, radius=st.floats(0.05, 3))
def test_a_sphere_is_divided_exactly_among_pixels(place: tuple[float, float], radius: float) -> None:
    image = Sphere(radius).image(np.array([place]), np.ones(1), SHAPE)
    assert image.sum() == pytest.approx(1, rel=1e-12)
    middle = np.array(place) + np.array(SHAPE[::-1]) / 2
    # the pixel of the centre, one at the rim, one that has only a corner of it, one outside
    for offset in ((0, 0), (radius, 0), (0.65 * radius, -0.65 * radius), (radius + 1, 0)):
        x, y = np.floor(middle + offset)
        wanted = by_quadrature(radius, (x - middle[0], x + 1 - middle[0]), (y - middle[1], y + 1 - middle[1]))
        # quadrature has the larger error, where the root at the rim of the ball is integrated
        assert image[int(y), int(x)] == pytest.approx(wanted, rel=1e-9, abs=1e-10)


def test_volumes_of_the_unit_ball() -> None:
    far = np.array([-2.0, 2.0])
    np.testing.assert_allclose(quadrant_volume(far, 2.0), [-np.pi / 6, np.pi / 6], rtol=1e-15)
    # a half of a quarter of the cap of height h: π h² (3 − h) / 3
    height = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    rest = np.pi / 6 - quadrant_volume(1 - height, np.array(1.0))
    np.testing.assert_allclose(rest, np.pi * height**2 * (3 - height) / 12, atol=1e-15)


def test_what_a_sphere_does_not_touch_is_zero() -> None:
    image = Sphere(2.3).image(np.array([[0.2, 0.1]]), np.ones(1), SHAPE)
    # of the point of each pixel that is nearest to the centre
    x = np.maximum(np.abs(np.arange(SHAPE[1]) - 14.5 - 0.2) - 0.5, 0)
    y = np.maximum(np.abs(np.arange(SHAPE[0]) - 11.5 - 0.1) - 0.5, 0)
    np.testing.assert_array_equal(image > 0, np.hypot(x, y[:, None]) < 2.3)


def test_a_point_is_in_one_pixel() -> None:
    image = Sphere(0).image(
        np.array([[0.2, 0.1], [0.9, 0.3], [-14.9, 11.9], [0.0, -1.0]]), np.arange(1.0, 5), SHAPE
    )
    wanted = np.zeros(SHAPE)
    wanted[12, 15], wanted[23, 0], wanted[11, 15] = 3, 3, 4
    np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("place", [(0.0, 0.0), (3.3, -7.8), (-20.3, 31.1)])
@pytest.mark.parametrize("resolution_px", [3.95, 1.2])
def test_an_airy_disc_has_its_analytic_profile(place: tuple[float, float], resolution_px: float) -> None:
    n, order = 120, 12
    image = AiryDisc(resolution_px).image(np.array([place]), np.ones(1), (n, n))
    node, weight = np.polynomial.legendre.leggauss(order)
    at = ((np.arange(n) - (n - 1) / 2)[:, None] + node / 2).ravel()
    cut_off = 1.22 / resolution_px
    x = np.pi * cut_off * np.maximum(np.hypot(at - place[0], (at - place[1])[:, None]), 1e-12)
    profile = np.pi * cut_off**2 / 4 * (2 * j1(x) / x) ** 2
    parts = (profile * np.outer(np.tile(weight, n), np.tile(weight, n)) / 4).reshape(n, order, n, order)
    wanted = parts.sum(axis=(1, 3))
    # rings of the next period of the Fourier series, 240 px away
    assert np.abs(image - wanted).max() < 2e-6 * wanted.max()


def test_the_first_dark_ring_is_at_the_resolution() -> None:
    image = AiryDisc(20).image(np.zeros((1, 2)), np.ones(1), (101, 101))
    assert np.argmin(image[50, 50:80]) == 20 and image[50, 70] < 1e-3 * image.max()


@few
@given(place=places_px, signal=st.sampled_from([AiryDisc(4), AiryDisc(1.0), Sphere(0.49), Sphere(2.9)]))
def test_an_atom_is_seen_where_it_is(place: tuple[float, float], signal: Signal) -> None:
    image = signal.image(np.array([place]), np.ones(1), (65, 64))
    other = signal.image(-np.array([place]), np.ones(1), (65, 64))
    np.testing.assert_allclose(image, other[::-1, ::-1], atol=1e-12)
    moved = signal.image(np.array([place]) + np.array([3, -5]), np.ones(1), (65, 64))
    np.testing.assert_allclose(moved[5:55, 10:60], image[10:60, 7:57], atol=1e-5 * image.max())
    middle, (y, x) = np.array(place) + np.array([31.5, 32]), np.unravel_index(image.argmax(), image.shape)
    assert np.abs(middle - (x, y)).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("signal", [AiryDisc(3.95), Sphere(6.3)])
def test_the_centre_of_mass_is_the_position(signal: Signal) -> None:
    rng = np.random.default_rng(3)
    for place in rng.uniform(-2, 2, (5, 2)):
        image = signal.image(place[None], np.ones(1), (401, 401))
        if isinstance(signal, AiryDisc):  # its rings have no end: the square has to be about the atom
            y, x = np.indices(image.shape) - 200.0
            window = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 2 / 30**2)
            image = image * window
        assert centre_of_mass(image) == pytest.approx(tuple(place), abs=1e-3)


@pytest.mark.parametrize("signal", [AiryDisc(3.0), Sphere(1.3), Sphere(0)])
def test_atoms_add_up_by_weight(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    place, weight = rng.uniform(-8, 8, (50, 2)), rng.uniform(0.5, 2, 50)
    alone = [w * signal.image(p[None], np.ones(1), SHAPE) for p, w in zip(place, weight, strict=True)]
    whole = signal.image(place, weight, SHAPE)
    np.testing.assert_allclose(whole, np.sum(alone, axis=0), atol=1e-12)
    monkeypatch.setattr("etcli.core.simulate.adf.VALUES_AT_ONCE", 500)  # a few atoms at a time
    np.testing.assert_allclose(signal.image(place, weight, SHAPE), whole, atol=1e-12)


def test_places_are_those_of_the_other_simulations() -> None:
    atoms = Atoms(np.array([[1.1, 2.3, -3.2]]), np.array(["Si"]))
    truth = GroundTruth(np.array([35.0]), np.array([[0.7, -1.2]]), 20.0, 1.5)
    ((x, y),) = places(atoms, truth, 0, 0.4)
    ball = Specimen((ellipsoid(atoms.position_A[0] / 0.4, 3.0),))
    image = project(
        ball, 35.0, shape=(60, 64), shift_px=(0.7, -1.2), axis_deg=20.0, axis_offset_px=1.5, oversampling=9
    )
    assert centre_of_mass(image.astype(float)) == pytest.approx((x, y), abs=2e-3)
    plain = GroundTruth(np.array([35.0]), np.zeros((1, 2)))
    cos, sin = np.cos(np.deg2rad(35)), np.sin(np.deg2rad(35))
    assert places(atoms, plain, 0, 1.0)[0] == pytest.approx((1.1 * cos - 3.2 * sin, 2.3))


def test_counts_are_poisson_distributed_about_the_exact_ones() -> None:
    atoms, tilts = silicon(12), [12.0] * 200
    exact = series(atoms, tilts[:1], AiryDisc(4), counts=2e5, noise=False)[0].astype(float)
    noisy = series(atoms, tilts, AiryDisc(4), counts=2e5).astype(float)
    assert exact.sum() == pytest.approx(2e5, rel=1e-6)
    np.testing.assert_array_equal(noisy, np.round(noisy))
    totals = noisy.sum(axis=(1, 2))
    assert totals.mean() == pytest.approx(2e5, abs=5 * np.sqrt(2e5 / 200))
    some = exact > 5
    mean, variance = noisy.mean(axis=0)[some], noisy.var(axis=0, ddof=1)[some]
    n = some.sum()
    assert ((mean - exact[some]) ** 2 / exact[some]).mean() * 200 == pytest.approx(1, abs=5 * np.sqrt(2 / n))
    assert (variance / exact[some]).mean() == pytest.approx(1, abs=5 * np.sqrt(2 / 199 / n))


@pytest.mark.parametrize("signal", [AiryDisc(4), Sphere(0.5), Sphere(0)])
def test_without_counts_views_sum_to_the_atoms(signal: Signal) -> None:
    atoms = silicon(13)
    assert series(atoms, [0, 40, 90], signal).sum(axis=(1, 2)) == pytest.approx(len(atoms), rel=1e-6)


@settings(max_examples=15, deadline=None)
@given(turn=st.integers(0, 999), axis=st.tuples(*[st.floats(-1, 1)] * 3), tilt=st.floats(-90, 90))
def test_turning_model_and_directions_together_changes_nothing(
    turn: int, axis: tuple[float, float, float], tilt: float
) -> None:
    if np.linalg.norm(np.cross(axis, (0.3, 0.2, 0.9))) < 0.01:
        return
    atoms, matrix = silicon(11), Rotation.random(random_state=turn).as_matrix()
    directions = np.array([axis, (0.3, 0.2, 0.9)])
    images = []
    for q in (np.eye(3), matrix):
        rotation = orientation(*(directions @ q.T))
        model = Atoms(atoms.position_A @ q.T @ rotation.T, atoms.species)
        images.append(series(model, [tilt], AiryDisc(4)))
    np.testing.assert_allclose(*images, atol=1e-5)


def test_directions_go_to_the_axis_and_the_beam() -> None:
    np.testing.assert_array_equal(orientation((0, 2, 0), (0, 0, 3)), np.eye(3))
    rotation = orientation((0, 0, 1), (0, 1, 5))
    np.testing.assert_allclose(rotation @ (0, 0, 1), (0, 1, 0))
    np.testing.assert_allclose(rotation @ (0, 1, 0), (0, 0, 1))
    assert np.linalg.det(rotation) == pytest.approx(1)
    for axis, beam, words in (
        ((0, 0, 0), (0, 0, 1), "--axis-direction must be a direction"),
        ((0, 1, 0), (0, np.nan, 1), "--beam must be a direction"),
        ((1, 1, 0), (-2, -2, 0), "--beam is parallel"),
    ):
        with pytest.raises(UsageError, match=words):
            orientation(axis, beam)


@pytest.mark.parametrize(
    ("name", "neighbour_A", "n_neighbours"),
    [
        ("diamond:Si:5.431", 5.431 * np.sqrt(3) / 4, 4),
        ("fcc:Au:4.08", 4.08 / np.sqrt(2), 12),
        ("bcc:Fe:2.87", 2.87 * np.sqrt(3) / 2, 8),
        ("rocksalt:NaCl:5.64", 2.82, 6),
        ("hcp:Ti:2.95:4.8173", 2.95, 12),  # nearly the ideal ratio of axes
        ("wurtzite:ZnO:3.25:5.3072", 3.25 * np.sqrt(3 / 8), 4),
    ],
)
def test_a_ball_of_crystal_has_its_density_and_neighbours(
    name: str, neighbour_A: float, n_neighbours: int
) -> None:
    cell = read_lattice(name)
    ball = ball_of_crystal(cell.atoms, cell.box.lattice_A, 44.0, np.random.default_rng(7))
    distance = np.linalg.norm(ball.position_A, axis=1)
    assert distance.max() <= 22 and len(np.unique(ball.position_A.round(4), axis=0)) == len(ball)
    density = len(cell.atoms) / abs(np.linalg.det(cell.box.lattice_A))
    assert len(ball) == pytest.approx(density * np.pi / 6 * 44**3, rel=0.01)
    tree = cKDTree(ball.position_A)
    inside = ball.position_A[distance < 15]
    near = tree.query(inside, k=n_neighbours + 2)[0][:, 1:]
    np.testing.assert_allclose(near[:, :n_neighbours], neighbour_A, rtol=2e-3)
    assert near[:, n_neighbours].min() > 1.1 * neighbour_A
    kinds = [np.count_nonzero(ball.species == symbol) for symbol in set(cell.atoms.species)]
    assert max(kinds) - min(kinds) <= 0.02 * len(ball)


@pytest.mark.parametrize("structure", [*CUBIC, *OTHERS])
def test_every_structure_can_be_built(structure: str) -> None:
    names = {"zincblende": "GaAs:5.65", "rocksalt": "NaCl:5.64", "cesiumchloride": "CsCl:4.1"}
    names |= {
        "fluorite": "CaF2:5.46",
        "wurtzite": "ZnO:3.2:5.2",
        "bct": "In",
        "hcp": "Ti",
        "rhombohedral": "Bi",
    }
    names |= {"sc": "Po", "diamond": "C", "bcc": "Fe", "fcc": "Au"}
    cell = read_lattice(f"{structure}:{names[structure]}")
    assert len(cell.atoms) >= 1 and abs(np.linalg.det(cell.box.lattice_A)) > 10
    assert structure in OTHERS or np.ptp(np.diag(cell.box.lattice_A)) == 0


def test_balls_differ_by_the_seed_and_end_somewhere() -> None:
    assert not np.array_equal(silicon(10, 0).position_A[:5], silicon(10, 1).position_A[:5])
    assert len(silicon(1e-3)) == 0
    ball = silicon(20)
    assert len(cut_to_ball(ball, 10)) == np.count_nonzero(np.linalg.norm(ball.position_A, axis=1) <= 5)
    for diameter_A, words in ((-1.0, "holds nothing"), (1e5, "too many")):
        with pytest.raises(UsageError, match=words):
            silicon(diameter_A)


def test_weights_follow_the_atomic_number() -> None:
    weight = dark_field_weights(np.array(["Si", "Au", "Si"]))
    assert weight.mean() == pytest.approx(1) and weight[1] / weight[0] == pytest.approx((79 / 14) ** 1.64)
    np.testing.assert_array_equal(dark_field_weights(np.array(["X", "X"])), 1)
    with pytest.raises(DataError, match="element of atom 2 is not known"):
        dark_field_weights(np.array(["Si", "X"]))


def test_the_size_asked_for_is_enough() -> None:
    atoms = Atoms(np.array([[0.0, 0.0, 0.0], [3.0, -8.2, 0.0]]), np.array(["Si", "Si"]))
    for signal, size in ((AiryDisc(4), 42), (Sphere(1.6), 46)):
        with pytest.raises(UsageError, match=f"outside view 1; give --size {size} or more"):
            series(atoms, [0.0], signal)
        assert series(atoms, [0.0], signal, shape=(size, size)).sum() == pytest.approx(2, rel=1e-6)
        with pytest.raises(UsageError, match="outside"):
            series(atoms, [0.0], signal, shape=(size - 2, size - 2))
