"""Pieces, splitting, thresholds and local levels against SciPy and bodies with known volumes."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy import ndimage

from etcli.core.errors import DataError, UsageError
from etcli.core.segmentation.densities import two_densities
from etcli.core.segmentation.local_half import local_half
from etcli.core.segmentation.local_levels import local_levels
from etcli.core.segmentation.pieces import border_labels, by_volume, components, holes_of, voxel_counts
from etcli.core.segmentation.splitting import cuts, split
from etcli.core.segmentation.thresholds import (
    dense,
    global_threshold,
    histogram_of,
    hysteresis,
    mixture,
    multi_otsu,
    otsu,
    plateau,
)

GRID = np.mgrid[:40, :44, :60].astype(np.float32)


def ball(centre: tuple[float, float, float], radius: float, *, blur: float = 1.0) -> np.ndarray:
    """Ball whose edge falls from 1 to 0 over `blur` voxels: half at its surface."""
    far = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(GRID, centre, strict=True)))
    return np.clip((radius - far) / blur + 0.5, 0, 1).astype(np.float32)


def noise(sigma: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, GRID[0].shape).astype(np.float32)


@pytest.mark.parametrize("faces", [False, True])
def test_components_are_those_of_scipy(faces: bool) -> None:
    mask = np.random.default_rng(1).random((17, 23, 31)) < 0.25
    found, count = components(mask, faces=faces)
    expected, n = ndimage.label(mask, ndimage.generate_binary_structure(3, 1 if faces else 3))
    assert count == n
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == n + 1  # one to one, the background included


def test_components_of_labels_do_not_cross_from_one_label_to_another() -> None:
    labels = np.array([[[1, 1, 2, 2, 0, 1]]], np.int32)
    assert components(labels)[0].tolist() == [[[1, 1, 2, 2, 0, 3]]]


def test_labels_go_by_falling_volume_and_small_ones_are_counted() -> None:
    labels = np.array([[[3, 0, 5, 5, 0, 7, 7, 7]]], np.int32)
    labels, dropped = by_volume(labels, least=2)
    assert labels.tolist() == [[[0, 0, 2, 2, 0, 1, 1, 1]]]
    assert dropped == 1
    assert voxel_counts(labels).tolist() == [3, 3, 2]
    assert border_labels(labels).tolist() == [1, 2]


def test_holes_are_what_no_path_through_faces_joins_to_the_outside() -> None:
    solid = np.zeros((7, 7, 7), bool)
    solid[1:6, 1:6, 1:6] = True
    solid[3, 3, 3] = False
    assert np.argwhere(holes_of(solid)).tolist() == [[3, 3, 3]]
    solid[2, 2, 2] = solid[1, 1, 1] = False  # only corners: still closed
    assert holes_of(solid).sum() == 2
    solid[3, 3, :3] = False
    assert holes_of(solid).sum() == 1


@pytest.mark.parametrize(("gap", "bodies"), [(0.0, 2), (-2.0, 2), (-8.0, 1)])
def test_overlapping_balls_are_parted_at_their_neck(gap: float, bodies: int) -> None:
    near, far = (20.0, 22.0, 20.0), (20.0, 22.0, 20.0 + 16 + gap)
    labels, distance = split((ball(near, 8) + ball(far, 8)) > 0.5, 0.75)
    assert labels.max() == bodies
    if gap == -2:
        neck = math.sqrt(8**2 - 7**2)
        assert cuts(labels, distance).saddle_px[0] == pytest.approx(neck, abs=0.8)
        assert cuts(labels, distance).ratio[0] == pytest.approx(neck / 8, abs=0.1)


def test_a_rough_ball_and_a_rod_stay_whole() -> None:
    rough = ndimage.gaussian_filter(ball((20, 22, 30), 11) + noise(0.7), 0.8) > 0.5
    largest = by_volume(components(rough)[0])[0] == 1
    assert split(largest, 0.75)[0].max() == 1
    assert split(ball((20.4, 22.3, 30.2), 9.3) > 0.5, 0.0)[0].max() >= 1
    rod = (np.hypot(GRID[0] - 20.3, GRID[1] - 22.1) < 6) & (np.abs(GRID[2] - 30) < 24)
    assert split(rod, 0.75)[0].max() == 1


def test_splitting_leaves_no_voxel_out_and_no_piece_without_a_label() -> None:
    mask = np.random.default_rng(3).random((12, 13, 14)) < 0.3
    labels, _ = split(mask, 5.0)
    assert ((labels > 0) == mask).all()
    assert labels.max() == components(mask)[1]
    assert (split(np.ones((4, 4, 4), bool), 0.75)[0] == 1).all()


def test_rules_find_the_surface_of_a_ball() -> None:
    volume = 2 * ball((20, 22, 30), 12, blur=3) + noise(0.05)
    true = 4 / 3 * math.pi * 12**3
    for rule, within in (("edge", 0.01), ("otsu", 0.05)):
        (threshold,) = global_threshold(volume, rule)
        assert (volume > threshold).sum() == pytest.approx(true, rel=within), rule
    assert plateau(histogram_of(volume)) == pytest.approx(2, abs=0.06)


def test_edge_does_not_depend_on_scale_level_and_threads() -> None:
    volume = ball((20, 22, 30), 12, blur=3) + noise(0.05)
    (threshold,) = global_threshold(volume)
    assert global_threshold(5 * volume - 7, threads=2)[0] == pytest.approx(5 * threshold - 7, abs=0.02)


def test_a_body_that_fills_less_than_half_a_percent_has_an_edge() -> None:
    volume = ball((20, 22, 30), 4, blur=2)
    assert (volume > 0.5).mean() < 0.005
    assert global_threshold(volume)[0] == pytest.approx(0.5, abs=0.06)


def test_otsu_and_its_three_classes_are_those_of_brute_force() -> None:
    volume = (ball((15, 15, 15), 9) + 0.4 * ball((25, 28, 42), 13) + noise(0.04)).astype(np.float32)
    histogram = histogram_of(volume).coarse()
    weights, levels = histogram.counts / histogram.counts.sum(), histogram.centres

    def within(*edges: int) -> float:
        parts = np.split(np.arange(len(levels)), [edge + 1 for edge in edges])
        return sum(
            weights[part] @ (levels[part] - np.average(levels[part], weights=weights[part])) ** 2
            for part in parts
            if weights[part].sum() > 0
        )

    best = min(range(255), key=within)
    assert otsu(histogram) == pytest.approx(levels[best])
    some = range(0, 255, 3)
    lower, upper = multi_otsu(histogram_of(volume))
    found = within(int(np.abs(levels - lower).argmin()), int(np.abs(levels - upper).argmin()))
    assert found <= min(within(a, b) for a in some for b in some if a < b) + 1e-12


def test_mixture_parts_two_normal_distributions_where_they_are_equally_likely() -> None:
    rng = np.random.default_rng(4)
    levels = np.concatenate([rng.normal(1, 0.1, 40000), rng.normal(2, 0.1, 40000), np.zeros(120000)])
    volume = levels.astype(np.float32).reshape(20, 100, 100)
    assert mixture(histogram_of(volume)) == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize("radius", [1.5, 5.0])
def test_dense_parts_metal_from_its_support_however_little_it_is(radius: float) -> None:
    """Three classes of Otsu cut the blurred surface of the support where metal is rare."""
    metal = ball((20, 22, 30), radius)
    volume = (ball((20, 22, 30), 17, blur=4) * (1 - metal) + 4 * metal + noise(0.04)).astype(np.float32)
    histogram = histogram_of(volume)
    assert 1.2 < dense(histogram) < 3.2
    lighter, denser = two_densities(histogram) or (0, 0)
    assert lighter == pytest.approx(1, rel=0.1)
    assert 2.5 < denser < 4.2  # of a ball of 1.5 voxels most voxels are partly support
    assert (multi_otsu(histogram)[1] < 1) == (radius < 2)


@pytest.mark.parametrize("sigma", [0.001, 0.1, 0.3])
def test_noise_is_no_second_density(sigma: float) -> None:
    assert two_densities(histogram_of(ball((20, 22, 30), 17, blur=4) + noise(sigma))) is None


def test_hysteresis_keeps_what_touches_the_bright() -> None:
    volume = np.array([[[0, 0.4, 0.9, 0.4, 0, 0.4, 0.4, 0]]], np.float32)
    assert hysteresis(volume, 0.3, 0.8).astype(int).tolist() == [[[0, 1, 1, 1, 0, 0, 0, 0]]]


def test_a_constant_volume_and_an_unknown_rule_are_refused() -> None:
    with pytest.raises(DataError, match="all voxels have the value 3"):
        global_threshold(np.full((3, 4, 5), 3, np.float32))
    with pytest.raises(UsageError, match="no threshold rule named 'li'"):
        global_threshold(noise(1), "li")


def test_levels_of_labels_are_those_of_core_and_surroundings() -> None:
    volume = 0.1 + 1.0 * ball((20, 14, 14), 8, blur=3) + 0.5 * ball((20, 30, 44), 9, blur=3)
    labels = np.zeros(volume.shape, np.int32)
    labels[:, :, :30][volume[:, :, :30] > 0.3], labels[:, :, 30:][volume[:, :, 30:] > 0.3] = 1, 4
    levels = local_levels(volume.astype(np.float32), labels)
    np.testing.assert_allclose(levels.plateau[[1, 4]], [1.1, 0.6], atol=0.01)
    np.testing.assert_allclose(levels.background[[1, 4]], 0.1, atol=0.01)
    np.testing.assert_allclose(levels.threshold[[1, 4]], [0.6, 0.35], atol=0.01)
    assert np.isnan(levels.threshold[[0, 2, 3]]).all()


def test_local_half_mends_what_one_threshold_does_to_two_densities() -> None:
    bodies = ball((20, 14, 14), 8, blur=4), 0.5 * ball((20, 30, 44), 9, blur=4)
    volume = bodies[0] + bodies[1] + noise(0.02)
    labels, count = components(volume > 0.35)
    labels, _ = by_volume(labels, least=20)
    assert count >= 2
    new, _ = local_half(volume, labels)
    for label, body, radius in ((1, bodies[1], 9), (2, bodies[0], 8)):
        true = 4 / 3 * math.pi * radius**3
        label = int(labels[body > 0.49 * body.max()].max()) if label else 0
        assert (new == label).sum() == pytest.approx(true, rel=0.03)
        assert abs((labels == label).sum() / true - 1) > 0.06


def test_cuts_of_many_labels_are_listed_in_little_memory() -> None:
    """Labels that fill a volume touch at more places than there are voxels."""
    z, y, x = np.mgrid[:48, :48, :48] // 4
    labels = (1 + x + 12 * (y + 12 * z)).astype(np.int32)
    distance = np.ones(labels.shape, np.float32)
    cuts(labels, distance)
    tracemalloc.start()
    found = cuts(labels, distance)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.labels) == (34**3 - 12**3) // 2  # 26 neighbours, fewer at the borders
    assert peak < 12 * labels.nbytes
