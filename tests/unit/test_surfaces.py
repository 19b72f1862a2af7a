"""Smoothing, reduction and checks of surfaces; surfaces of labels."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.core.surfaces.edges import count_open_edges, edges_of, merged, with_single_precision
from etcli.core.surfaces.grey_surface import Surface, area, enclosed_volume, grey_surface
from etcli.core.surfaces.label_colours import label_colours
from etcli.core.surfaces.label_surfaces import are_labels, checked_labels, label_surfaces
from etcli.core.surfaces.mesh import Mesh, pieces
from etcli.core.surfaces.reduction import reduced
from etcli.core.surfaces.smoothing import smoothed
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


def test_smoothing_takes_the_steps_of_voxels() -> None:
    """A mask has 8 % too much area, its smoothed surface 1 %, and both have the volume of the ball."""
    ((number, surface),) = label_surfaces(3 * (ball(12) > 0.5).astype(np.int64))
    true_area, true_volume = 4 * np.pi * 12**2, 4 / 3 * np.pi * 12**3
    assert number == 3
    assert 0.07 < area(surface) / true_area - 1 < 0.1
    assert 0 < area(smoothed(surface, 10)) / true_area - 1 < 0.02
    assert -0.01 < enclosed_volume(surface) / true_volume - 1 < 0
    assert -0.01 < enclosed_volume(smoothed(surface, 10)) / true_volume - 1 < 0


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
    """Masks and labels are whole and alike in neighbours, counts of a detector are not."""
    body = ball(8, 24) > 0.5
    assert are_labels(body.astype(np.float32))
    assert are_labels((body * 40000).astype(np.uint16))
    assert not are_labels(ball(8, 24))
    assert not are_labels(np.random.default_rng(0).poisson(50, (24, 24, 24)).astype(np.int16))
    assert not are_labels(-body.astype(np.int16))
    assert not are_labels(np.zeros((4, 4, 4)))


def test_labels_must_be_whole() -> None:
    """Other values are an error that says what labels are."""
    with pytest.raises(DataError, match="whole numbers from 0"):
        checked_labels(ball(4, 12))


def test_touching_labels_at_borders_and_single_voxels_are_closed() -> None:
    """Every label has a closed surface of its own, also at the border; numbers may be left out."""
    labels = np.zeros((6, 6, 6), np.int64)
    labels[:3], labels[3:] = 2, 5
    labels[5, 5, 5] = 7
    found = dict(label_surfaces(labels))
    assert list(found) == [2, 5, 7]
    assert [count_open_edges(merged(surface)) for surface in found.values()] == [0, 0, 0]
    assert 90 < enclosed_volume(found[2]) < 108
    np.testing.assert_allclose(found[7].vertices.mean(axis=0), 5, atol=0.01)
    assert enclosed_volume(found[7]) == pytest.approx(1 / 6, rel=0.01)  # an octahedron
    assert count_open_edges(next(label_surfaces(labels, closed=False))[1]) > 0


def test_colours_of_neighbouring_labels_differ() -> None:
    """All are colours, as bright as each other."""
    colours = label_colours(np.arange(1, 200))
    assert colours.shape == (199, 3)
    assert 0 <= colours.min() <= colours.max() <= 1
    assert np.linalg.norm(np.diff(colours, axis=0), axis=1).min() > 0.2
