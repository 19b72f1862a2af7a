"""Smoothing, reduction and checks of surfaces; surfaces of labels."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from etcli.core.measurement.label_shapes import Levels, label_shapes
from etcli.core.measurement.label_sums import LabelSums, as_labels, label_sums
from etcli.core.surfaces.edges import count_open_edges, edges_of, merged, with_single_precision
from etcli.core.surfaces.grey_surface import Surface, area, enclosed_volume, grey_surface
from etcli.core.surfaces.label_colours import label_colours
from etcli.core.surfaces.label_surfaces import are_labels, grey_label_surfaces, label_surfaces
from etcli.core.surfaces.mesh import Mesh, pieces
from etcli.core.surfaces.reduction import reduced
from etcli.core.surfaces.smoothing import smoothed, with_volumes
from tests.surfaces import ball


def noisy_ball(radius: float = 10, n: int = 28) -> np.ndarray:
    """Return a ball in noise."""
    return ball(radius, n) + np.random.default_rng(1).normal(0, 0.1, (n, n, n)).astype(np.float32)


@pytest.mark.parametrize("radius", [1, 4, 12])
def test_smoothing_keeps_volume_and_area_of_smooth_bodies(radius: float) -> None:
    """Laplace's smoothing would take 5 to 20 % of the volume."""
    surface = grey_surface(ball(radius), 0.5)
    after = smoothed(surface, 10)
    assert enclosed_volume(after) == pytest.approx(enclosed_volume(surface), rel=1e-4)
    assert abs(area(after) / area(surface) - 1) < 0.005
    assert (after.vertices != surface.vertices).any()


def test_smoothing_keeps_the_volume_of_every_piece() -> None:
    """A cavity, two bodies of other sizes, and one of a single voxel."""
    volume = ball(12, 32) - ball(5, 32)
    volume = np.pad(volume, ((0, 0), (0, 0), (0, 30)))
    volume[:24, :24, 34:58] += ball(7, 24)
    volume[2, 2, 2] = 1
    surface = grey_surface(volume, 0.5)
    after = smoothed(surface, 10)
    n, piece = pieces(surface)
    assert n == 4
    for k in range(n):
        part, before = (
            Surface(one.vertices, one.faces[piece[one.faces[:, 0]] == k]) for one in (after, surface)
        )
        assert enclosed_volume(part) == pytest.approx(enclosed_volume(before), rel=1e-4)


def sums_of(labels: np.ndarray) -> LabelSums:
    """Return what label surfaces are found from."""
    return label_sums(as_labels(labels))


def test_smoothing_takes_the_steps_of_voxels() -> None:
    """A mask has 8 % too much area, its smoothed surface 1 %."""
    ((number, surface, n_voxels),) = label_surfaces(sums_of(3 * (ball(12) > 0.5)))
    true_area = 4 * np.pi * 12**2
    assert (number, n_voxels) == (3, np.count_nonzero(ball(12) > 0.5))
    assert 0.07 < area(surface) / true_area - 1 < 0.1
    assert 0 < area(smoothed(surface, 10)) / true_area - 1 < 0.02


@pytest.mark.parametrize(("radius", "loss", "most"), [(1, 0.44, 0.2), (3, 0.05, 0.03), (6, 0.013, 0.02)])
def test_surfaces_get_the_volume_of_their_voxels(radius: float, loss: float, most: float) -> None:
    """Two balls: the volumes of both are right, and so are the areas, also of a ball of 8 voxels."""
    body = ball(radius, 20) > 0.5
    (found,) = label_surfaces(sums_of(body))
    vertices, faces = found.surface.vertices, found.surface.faces
    assert enclosed_volume(found.surface) / body.sum() == pytest.approx(1 - loss, abs=0.01)
    both = Surface(np.concatenate([vertices, vertices + 50]), np.concatenate([faces, faces + len(vertices)]))
    owner = np.repeat([0, 1], len(vertices))
    after = with_volumes(smoothed(both, 10), owner, np.array([1.0, 1.1]) * body.sum())
    for k, factor in enumerate([1.0, 1.1]):
        part = Surface(after.vertices, after.faces[owner[after.faces[:, 0]] == k])
        assert enclosed_volume(part) == pytest.approx(factor * body.sum(), rel=1e-3)
        true_area = (36 * np.pi * (factor * body.sum()) ** 2) ** (1 / 3)
        assert abs(area(part) / true_area - 1) < most


def test_grey_surfaces_of_labels_are_those_measured() -> None:
    """Bodies of other levels that touch, in a background: each has its own surface, with its area."""
    volume = np.maximum(ball(8, 40, 0.3), 0.4 * np.roll(ball(6, 40, 0.3), 12, 2)) + 2
    labels = np.zeros(volume.shape, int)
    labels[..., :28], labels[..., 28:] = 3, 8
    labels[volume < 2.15] = 0
    sums = sums_of(labels)
    levels = Levels(np.full(2, 2.0), np.array([3.0, 2.4]), np.array([2.5, 2.2]))
    found = list(grey_label_surfaces(volume, sums, levels))
    shapes = list(label_shapes(volume, sums, levels))
    assert [part.label for part in found] == [3, 8]
    areas = [shape.surface for shape in shapes]
    assert [area(part.surface) for part in found] == pytest.approx(areas, rel=1e-6)
    assert [part.n_voxels for part in found] == [shape.level_volume for shape in shapes]
    for part, radius in zip(found, (8, 6), strict=True):
        assert -0.08 < enclosed_volume(part.surface) / (4 / 3 * np.pi * radius**3) - 1 < 0  # they overlap
        assert count_open_edges(merged(part.surface)) == 0


def test_smoothing_leaves_the_rim_of_an_open_surface() -> None:
    """The surface of a rod still ends where the volume does."""
    rod = np.repeat(ball(6, 20)[10:11], 12, axis=0)
    surface = grey_surface(rod, 0.5, closed=False)
    edges, n_faces = edges_of(surface.faces, len(surface.vertices))
    rim = np.unique(edges[n_faces == 1])
    assert set(surface.vertices[rim, 0]) == {0, 11}
    after = reduced(smoothed(surface, 10), 0.3)
    assert np.isclose(after.vertices[:, 0], 0).sum() == (surface.vertices[rim, 0] == 0).sum()
    assert count_open_edges(after) == len(rim) == count_open_edges(surface)


@pytest.mark.parametrize("fraction", [0.5, 0.2, 0.05])
def test_reduction_keeps_volume_and_closedness(fraction: float) -> None:
    """A twentieth of the faces still has the volume, and nearly the area."""
    surface = smoothed(grey_surface(ball(12), 0.5), 10)
    fewer = reduced(surface, fraction)
    assert abs(len(fewer) / len(surface) - fraction) < 0.002
    assert count_open_edges(merged(with_single_precision(fewer))) == 0
    assert enclosed_volume(fewer) == pytest.approx(enclosed_volume(surface), rel=1e-9)
    assert -0.002 < area(fewer) / area(surface) - 1 < 0.01
    distance = np.linalg.norm(fewer.vertices - 15.8, axis=1)
    assert abs(distance - 12).max() < 0.5


def test_reduction_of_flat_sides_changes_little() -> None:
    """The sides of a box need few triangles."""
    box = np.pad(np.ones((9, 9, 9), np.float32), 2)
    surface = grey_surface(box, 0.5)
    fewer = reduced(surface, 0.2)
    assert area(fewer) == pytest.approx(area(surface), rel=2e-3)


def test_reduction_of_noise_stays_closed_and_stops() -> None:
    """What is noisy, and what cannot be reduced further, keeps its topology."""
    surface = grey_surface(noisy_ball(), 0.3)
    least = reduced(surface, 1e-6)
    before, after = Mesh(surface), Mesh(least)
    assert (after.open_edges, after.n_pieces) == (0, before.n_pieces)
    assert len(least) < len(surface) / 2
    euler = [len(m.surface.vertices) - len(m.surface) / 2 for m in (before, after)]
    assert euler[0] == euler[1]


def test_vertices_that_rounding_merges_are_parted() -> None:
    """Far from the origin float32 has few places; none is used twice."""
    surface = grey_surface(ball(3, 10), 0.5)
    shrunk = Surface(surface.vertices * 1e-3 + 1e4, surface.faces)
    assert count_open_edges(merged(Surface(shrunk.vertices.astype(np.float32), shrunk.faces)))
    assert count_open_edges(merged(with_single_precision(shrunk))) == 0


def test_labels_are_told_from_grey_values() -> None:
    """Masks, bodies and grains of all sizes are labels."""
    body = ball(8, 24) > 0.5
    assert are_labels(body.astype(np.float32))
    assert are_labels((body * 40000).astype(np.uint16))
    grains = (np.arange(64).reshape(4, 4, 4) + 1).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    assert are_labels(np.pad(grains, 6))
    specks = np.zeros((12, 12, 12), np.uint16)
    specks[::3, ::3, ::3] = np.arange(64).reshape(4, 4, 4)
    assert are_labels(specks)
    assert are_labels(specks * 400_000.0)


@pytest.mark.parametrize("sigma", [0, 1, 2])
@pytest.mark.parametrize("levels", [9, 255])
def test_volumes_of_whole_numbers_are_grey(sigma: float, levels: int) -> None:
    """Sharp and smooth bodies in black vacuum, with few or many levels, with noise and without."""
    body = levels * gaussian_filter(np.maximum(ball(10, 40), np.roll(ball(5, 40), 17, (1, 2))), sigma)
    assert not are_labels(np.rint(body).astype(np.uint8))
    noise = np.random.default_rng(0).normal(0, levels / 20, body.shape)
    assert not are_labels(np.rint((body + noise).clip(0, levels)).astype(np.uint8))
    assert not are_labels(np.rint(body + 60000))


def test_what_cannot_be_labels() -> None:
    """Counts, negative numbers, and constants."""
    assert not are_labels(np.random.default_rng(0).poisson(50, (24, 24, 24)).astype(np.int16))
    assert not are_labels(-(ball(8, 24) > 0.5).astype(np.int16))
    assert not are_labels(ball(8, 24))
    assert not are_labels(np.zeros((4, 4, 4)))


def test_touching_labels_at_borders_and_single_voxels_are_closed() -> None:
    """Every label has a closed surface of its own, also at the border; numbers may be left out."""
    labels = np.zeros((6, 6, 6), np.int64)
    labels[:3], labels[3:] = 2, 5
    labels[5, 5, 5] = 7
    found = {part.label: part.surface for part in label_surfaces(sums_of(labels))}
    assert list(found) == [2, 5, 7]
    assert [count_open_edges(merged(surface)) for surface in found.values()] == [0, 0, 0]
    assert 90 < enclosed_volume(found[2]) < 108
    np.testing.assert_allclose(found[7].vertices.mean(axis=0), 5, atol=0.01)
    assert enclosed_volume(found[7]) == pytest.approx(1 / 6, rel=0.01)  # an octahedron
    assert count_open_edges(next(label_surfaces(sums_of(labels), closed=False)).surface) > 0


def test_colours_of_neighbouring_labels_differ() -> None:
    """All are colours, as bright as each other."""
    colours = label_colours(np.arange(1, 200))
    assert colours.shape == (199, 3)
    assert 0 <= colours.min() <= colours.max() <= 1
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 0.2
