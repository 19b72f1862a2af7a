"""Measures of digitised bodies against closed forms, with their known biases."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from etcli.core.errors import DataError
from etcli.core.measurement.axes import ellipsoid_axes
from etcli.core.measurement.crofton import crofton_surfaces
from etcli.core.measurement.label_shapes import Levels, Other
from etcli.core.measurement.label_sums import EVERYWHERE, as_labels, label_sums
from etcli.core.measurement.measures import Measures, measure_labels
from etcli.core.measurement.neighbours import nearest_centres, surface_gaps
from etcli.core.segmentation.distance import grown_labels
from tests.bodies import ball, cube, digitised

SHIFT_PX = 0.08


def measured(volume: NDArray, labels: NDArray | None = None, **options: object) -> Measures:
    """Measure bodies of density 1 in a vacuum of 0."""
    labels = (volume > 0.5).astype(np.int32) if labels is None else labels
    sums = label_sums(as_labels(labels), options.get("region", EVERYWHERE))
    n = len(sums)
    levels = Levels(np.zeros(n), np.ones(n), np.full(n, 0.5))
    return measure_labels(volume, sums, levels, shift_px=SHIFT_PX, **options)


@pytest.mark.parametrize(
    ("radius", "count", "grey", "crofton"),
    [(3, -2.5, -4.8, -4), (4, -1.5, -2.7, -2), (6, -0.6, -1.2, -1.3), (12, -0.2, -0.3, -0.8)],
)
def test_biases_of_balls(radius: float, count: float, grey: float, crofton: float) -> None:
    """In percent; the surfaces of binary marching cubes would be 3 to 8 % too large."""
    rng = np.random.default_rng(3)
    n = 2 * radius + 7
    errors = []
    for _ in range(24 if radius < 6 else 6):
        centre = (n - 1) / 2 + rng.uniform(-0.5, 0.5, 3)
        found = measured(ball((n, n, n), tuple(centre), radius))
        volume, surface = 4 / 3 * np.pi * radius**3, 4 * np.pi * radius**2
        errors.append(
            [
                found.volume[0] / volume - 1,
                found.surface[0] / surface - 1,
                found.surface_crofton[0] / surface - 1,
                found.mass_volume[0] / volume - 1,
            ]
        )
        assert np.abs(found.sums.centre[0] - centre).max() < 0.12
        assert np.isnan(found.axes.direction).all() or radius == 3
        assert np.isnan(found.sphericity[0]) == (found.volume[0] < 500)
    bias = 100 * np.mean(errors, axis=0)
    assert (np.abs(bias - [count, grey, crofton, 0]) < [2.0, 0.6, 1.2, 0.2]).all()


@pytest.mark.parametrize(("edge", "grey", "crofton"), [(6.4, -12.5, -13), (9.6, -8, -8), (19.2, -3.2, -4)])
def test_biases_of_cubes(edge: float, grey: float, crofton: float) -> None:
    rng, n = np.random.default_rng(5), int(1.75 * edge) + 7
    errors = []
    for turn in Rotation.random(6 if edge < 10 else 2, random_state=2).as_matrix():
        centre = (n - 1) / 2 + rng.uniform(-0.5, 0.5, 3)
        found = measured(cube((n, n, n), tuple(centre), edge, turn))
        surface = 6 * edge**2
        errors.append([found.surface[0] / surface - 1, found.surface_crofton[0] / surface - 1])
    np.testing.assert_allclose(100 * np.mean(errors, axis=0), [grey, crofton], atol=1.5)


def test_a_block_of_voxels_is_exact() -> None:
    labels = np.zeros((12, 14, 16), np.int32)
    labels[2:6, 3:9, 4:14] = 7
    sums = label_sums(labels)
    assert sums.label.tolist() == [7] and sums.count.tolist() == [240] and not sums.border[0]
    np.testing.assert_allclose(sums.centre, [[3.5, 5.5, 8.5]])
    np.testing.assert_allclose(sums.covariance[0], np.diag([16, 36, 100]) / 12, atol=1e-12)
    assert sums.box(0, 3) == (slice(0, 9), slice(0, 12), slice(1, 16))


def test_axes_of_an_ellipsoid() -> None:
    turn = Rotation.from_euler("zyx", [20, 35, 50], degrees=True).as_matrix()
    half = np.array([9.0, 6.0, 4.5])
    n = 27

    def inside(z: NDArray, y: NDArray, x: NDArray) -> NDArray:
        place = [z - 13, y - 13, x - 13]
        along = [sum(a * b for a, b in zip(row, place, strict=True)) for row in turn]
        return sum((part / size) ** 2 for part, size in zip(along, half, strict=True)) < 1

    found = measured(digitised((n, n, n), inside, samples=4))
    np.testing.assert_allclose(found.axes.length[0], 2 * half, rtol=0.015)
    assert abs(found.axes.direction[0] @ turn[0]) > np.cos(np.radians(1))
    assert found.axes.direction[0, 0] >= 0
    np.testing.assert_allclose(found.axes.angle_z_deg[0], np.degrees(np.arccos(abs(turn[0, 0]))), atol=1)


def test_directions_need_elongation() -> None:
    axes = ellipsoid_axes(np.array([np.diag([1.2, 1.0, 1.0]), np.diag([1.22, 1.0, 1.0])]))
    assert np.isnan(axes.direction[0]).all() and np.isnan(axes.angle_z_deg[0])
    np.testing.assert_allclose(axes.direction[1], [1, 0, 0])
    assert axes.angle_z_deg[1] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, 15])
def test_cut_faces_are_no_surface(axis: int, end: int) -> None:
    """Half a ball is at each end of the volume: the volume ends half a voxel beyond its centres."""
    shape, centre = [25, 25, 25], [12.2, 11.9, 12.1]
    shape[axis], centre[axis] = 16, end + (0.5 if end else -0.5)
    found = measured(ball(tuple(shape), tuple(centre), 9))
    assert found.sums.border.tolist() == [True] and np.isnan(found.sphericity[0])
    np.testing.assert_allclose(found.surface[0], 2 * np.pi * 81, rtol=0.015)
    np.testing.assert_allclose(found.surface_crofton[0], 2 * np.pi * 81, rtol=0.03)
    np.testing.assert_allclose(found.volume[0], 2 / 3 * np.pi * 729, rtol=0.01)


def test_a_region_cuts_like_the_ends() -> None:
    """A rod through the whole volume, in a region of eight sections and in all sixteen."""
    rod = np.repeat(ball((5, 24, 24), (2, 11.6, 11.8), 1e3)[:1], 16, axis=0)
    rod[:] = digitised((1, 24, 24), lambda z, y, x: (y - 11.6) ** 2 + (x - 11.8) ** 2 + 0 * z < 49)
    region = np.zeros(rod.shape, bool)
    region[4:12] = True
    for part, height in ((EVERYWHERE, 16), (region, 8)):
        found = measured(rod, region=part)
        assert found.sums.border[0] and found.volume[0] == height * (rod[0] > 0.5).sum()
        np.testing.assert_allclose(found.surface[0], 14 * np.pi * height, rtol=0.012)
        np.testing.assert_allclose(found.surface_crofton[0], 14 * np.pi * height, rtol=0.03)


def test_weights_are_those_of_the_region() -> None:
    """A ball of 13 voxels in a box of 20 x 22 x 24, wherever that lies."""
    volume = ball((30, 34, 38), (15, 16, 17), 6.4)
    region = np.zeros(volume.shape, bool)
    region[5:25, 6:28, 7:31] = True
    expected = (20 / 7) * (22 / 9) * (24 / 11)
    assert measured(volume, region=region).weight[0] == pytest.approx(expected)
    assert measured(volume).weight[0] == pytest.approx((30 / 17) * (34 / 21) * (38 / 25))


def test_flat_contacts_and_points() -> None:
    labels = np.zeros((20, 30, 40), np.int32)
    labels[4:14, 5:15, 5:15], labels[3:17, 2:18, 15:20] = 1, 2
    labels[17:19, 18:25, 20:30] = 3
    surface, contacts = crofton_surfaces(labels, 3)
    assert contacts.rows.tolist() == [[1, 2], [2, 3]]
    np.testing.assert_allclose(contacts.area[0], 92, atol=4)
    assert 0 < contacts.area[1] < 10
    lone, _ = crofton_surfaces((labels == 1).astype(np.int32), 1)
    np.testing.assert_allclose(surface[0], lone[0])
    found = measured((labels > 0).astype(np.float32), labels)
    assert found.n_contacts.tolist() == [1, 2, 1] and found.gap.tolist() == [0, 0, 0]
    np.testing.assert_allclose(found.solid_surface, found.surface.sum() - 2 * contacts.area[0])


def test_crofton_is_that_of_shifted_copies() -> None:
    """Against the sum over directions as it is written, on noise, away from the ends."""
    labels = np.pad(np.random.default_rng(0).integers(0, 3, (6, 7, 8)), 1).astype(np.int32)
    surface, _ = crofton_surfaces(labels, 2)
    shares = {1: 0.0457779, 2: 0.0369806, 3: 0.0351956}
    for label in (1, 2):
        body, total = labels == label, 0.0
        for step in np.ndindex(3, 3, 3):
            along = np.array(step) - 1
            if along.any():
                crossings = (body != np.roll(body, along, axis=(0, 1, 2))).sum()
                square = int((along**2).sum())
                total += 2 * shares[square] * crossings / np.sqrt(square)
        np.testing.assert_allclose(surface[label - 1], total)
    assert 6 * 2 * shares[1] + 12 * 2 * shares[2] + 8 * 2 * shares[3] == pytest.approx(2, rel=1e-5)


def test_neighbours_do_not_change_a_surface() -> None:
    one, two = ball((27, 27, 44), (13, 13, 13.2), 9), ball((27, 27, 44), (13, 13, 31.3), 9)
    alone = measured(one)
    labels = np.where(one > 0.5, 1, 2 * (two > 0.5))
    both = measured(one + two, labels)
    np.testing.assert_allclose(both.surface[0], alone.surface[0], rtol=0.01)
    assert both.n_contacts.tolist() == [1, 1]


def test_specks_are_no_surface_of_their_neighbour() -> None:
    one = ball((27, 27, 27), (13, 13, 13), 7)
    labels = (one > 0.5).astype(np.int32)
    noisy = one.copy()
    noisy[13, 13, 22] = noisy[4, 13, 13] = 1
    np.testing.assert_allclose(measured(noisy, labels).surface, measured(one, labels).surface)


def test_distances_of_balls() -> None:
    shape = (24, 24, 60)
    bodies = [ball(shape, (12, 12, x), 6) for x in (9, 26.4, 48)]
    labels = sum((k + 1) * (body > 0.5) for k, body in enumerate(bodies))
    found = measured(sum(bodies), labels)
    np.testing.assert_allclose(found.nearest, [17.4, 17.4, 21.6], atol=0.1)
    np.testing.assert_allclose(found.gap, [5.4, 5.4, 9.6], atol=0.15)
    assert np.isnan(measured(bodies[0]).gap[0]) and np.isnan(measured(bodies[0]).nearest[0])


def test_gaps_are_those_of_all_pairs() -> None:
    """Many small surfaces and some that are much larger, so that the nearest centre is not the nearest."""
    rng = np.random.default_rng(1)
    points = []
    for k in range(120):
        size = 30 if k % 40 == 0 else rng.uniform(0.5, 4)
        points.append((rng.uniform(0, 100, 3) + rng.normal(size=(25, 3)) * size).astype(np.float32))
    points.insert(3, np.empty((0, 3), np.float32))
    gaps = surface_gaps(points)
    trees = [cKDTree(each) for each in points if len(each)]
    expected = [
        min(tree.query(each)[0].min() for tree in trees if tree.n and not np.array_equal(tree.data, each))
        for each in points
        if len(each)
    ]
    np.testing.assert_allclose(np.delete(gaps, 3), expected, rtol=1e-5)
    assert np.isnan(gaps[3])
    assert np.isnan(surface_gaps(points[:1])).all()
    place = rng.uniform(0, 10, (50, 3))
    apart = np.linalg.norm(place[:, np.newaxis] - place, axis=2) + 1e9 * np.eye(50)
    np.testing.assert_allclose(nearest_centres(place), apart.min(0))


def test_growth_goes_to_the_nearest_label() -> None:
    labels = np.random.default_rng(4).integers(0, 60, (14, 15, 16)).astype(np.int32)
    labels[labels > 3] = 0
    labels[4:9, 4:9, 4:9] = 0
    sums = label_sums(labels)
    owner = grown_labels(sums.numbers, 3)
    distance = ndimage.distance_transform_edt(sums.numbers == 0)
    near = distance <= 3
    assert np.array_equal(owner > 0, near)
    apart = [ndimage.distance_transform_edt(sums.numbers != k) for k in (1, 2, 3)]
    chosen = np.choose(owner.clip(1) - 1, apart)
    np.testing.assert_allclose(chosen[near], distance[near])


def test_labels_of_any_program() -> None:
    labels = np.zeros((6, 7, 8), np.float32)
    labels[1:3, 1:3, 1:3], labels[4, 5, 6] = 3, 2_000_000_000
    sums = label_sums(as_labels(labels))
    assert sums.label.tolist() == [3, 2_000_000_000] and sums.count.tolist() == [8, 1]
    assert set(np.unique(sums.numbers)) == {0, 1, 2}
    assert sums.label.dtype == np.int64
    full = label_sums(np.full((2, 2, 2), 2_000_000_000, np.int32))
    assert full.count.tolist() == [8] and full.border.all()
    only = np.zeros(labels.shape, bool)
    only[4] = True
    part = label_sums(as_labels(labels), only)
    assert part.label.tolist() == [2_000_000_000] and part.numbers.max() == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "whole"), (-1, "0 or more"), (np.nan, "whole"), (np.inf, "whole"), (3e9, "below")],
)
def test_what_is_no_label(value: float, said: str) -> None:
    with pytest.raises(DataError, match=said):
        as_labels(np.array([[[0.0, 1.0, value]]]))


def test_pores_are_measured_like_bodies() -> None:
    """Labels darker than what is around them, at half of the way down."""
    volume = ball((21, 21, 21), (10.2, 10, 9.9), 6)
    labels = (volume > 0.5).astype(np.int32)
    sums = label_sums(labels)
    one, half = np.ones(1), np.full(1, 0.5)
    bright = measure_labels(volume, sums, Levels(0 * one, one, half), shift_px=SHIFT_PX)
    dark = measure_labels(3 - 2 * volume, sums, Levels(3 * one, one, 2 * one), shift_px=SHIFT_PX)
    np.testing.assert_allclose(dark.surface, bright.surface, rtol=1e-4)
    np.testing.assert_allclose(dark.mass_volume, bright.mass_volume, rtol=1e-5)


def test_one_voxel_at_the_border() -> None:
    volume = np.zeros((5, 5, 5), np.float32)
    volume[0, 2, 2] = volume[3, 3, 2] = 1
    labels = np.zeros(volume.shape, np.int32)
    labels[0, 2, 2], labels[3, 3, 2] = 1, 2
    found = measured(volume, labels)
    assert found.volume.tolist() == [1, 1] and found.sums.border.tolist() == [True, False]
    np.testing.assert_allclose(found.axes.length, np.full((2, 3), 2 * np.sqrt(5 / 12)))
    assert (found.surface > 0).all() and np.isfinite(found.sigma_volume).all()


def test_a_label_darker_than_its_threshold_has_the_counted_surface() -> None:
    volume = ball((15, 15, 15), (7, 7, 7), 4)
    labels = (volume > 0.5).astype(np.int32)
    found = measured(volume * 0.4, labels)
    assert np.isnan(found.surface[0])
    noise = (
        found.surface_crofton * SHIFT_PX
    )  # and as nothing is as bright as half of the core, all is in doubt
    np.testing.assert_allclose(found.sigma_volume, np.hypot(noise, found.volume))


def test_halves_tell_the_noise() -> None:
    """The halves differ by a shift of the surface of 0.2 voxels, and in their scale, which does not count."""
    shape, centre = (21, 21, 21), (10, 10, 10)
    halves = [Other(2 * ball(shape, centre, r), np.array([2.0])) for r in (5.9, 6.1)]
    found = measured(ball(shape, centre, 6), halves=halves)
    expected = 4 / 3 * np.pi * (6.1**3 - 5.9**3) / 2
    np.testing.assert_allclose(found.sigma_half, expected, rtol=0.05)
    np.testing.assert_allclose(found.sigma_volume, np.hypot(expected, 0.08 * found.surface), rtol=0.03)


def test_a_speck_ends_at_its_threshold() -> None:
    """Its core is hardly brighter than the threshold, which is that of larger bodies."""
    volume = np.zeros((11, 11, 11), np.float32)
    volume[4:6, 4:6, 4:6] = 0.52
    sums = label_sums((volume > 0.5).astype(np.int32))
    levels = Levels(np.zeros(1), np.full(1, 0.52), np.full(1, 0.5))
    assert not measure_labels(volume, sums, levels, shift_px=SHIFT_PX).is_off_level[0]
