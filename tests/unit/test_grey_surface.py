"""Surfaces of digitised bodies against closed forms, with the known biases of marching cubes."""

import numpy as np
import pytest

from etcli.core.surfaces.grey_surface import area, enclosed_volume, grey_surface
from tests.surfaces import ball


@pytest.mark.parametrize(
    ("radius", "low", "high"), [(3, -0.055, -0.015), (6, -0.012, 0), (12, -0.003, 0.003)]
)
def test_area_of_a_ball(radius: float, low: float, high: float) -> None:
    """Small balls lose area, as the edge is one voxel wide; the tolerance has two sides."""
    assert low < area(grey_surface(ball(radius), 0.5)) / (4 * np.pi * radius**2) - 1 < high


@pytest.mark.parametrize(
    ("radius", "low", "high"), [(3, -0.1, -0.04), (6, -0.025, -0.01), (12, -0.006, -0.001)]
)
def test_volume_of_a_ball(radius: float, low: float, high: float) -> None:
    """The polyhedron inside the ball is smaller than the ball."""
    assert low < enclosed_volume(grey_surface(ball(radius), 0.5)) / (4 / 3 * np.pi * radius**3) - 1 < high


def test_surface_is_where_the_ball_is() -> None:
    """Vertices are in z, y, x from the first voxel, and the normals point outwards."""
    volume = np.pad(ball(5, 16, 0), ((0, 0), (4, 0), (9, 0)))
    surface = grey_surface(volume, 0.5)
    np.testing.assert_allclose(surface.vertices.mean(axis=0), (7.5, 11.5, 16.5), atol=0.05)
    assert enclosed_volume(surface) > 0


def test_border_closes_where_the_cubes_of_voxels_end() -> None:
    """A full volume is a box with slightly bevelled edges; the border may also be left open."""
    assert 110 < enclosed_volume(grey_surface(np.ones((4, 5, 6)), 0.5)) < 120
    assert len(grey_surface(np.ones((4, 5, 6)), 0.5, closed=False)) == 0
    assert len(grey_surface(np.zeros((4, 5, 6)), 0.5)) == 0


def test_scale_of_the_values_does_not_matter() -> None:
    """Volumes in volts or in counts have the same surface."""
    expected = grey_surface(ball(4, 12), 0.4)
    for scale, offset in ((1e-8, 0), (1e6, 3e7)):
        found = grey_surface(ball(4, 12).astype(np.float64) * scale + offset, 0.4 * scale + offset)
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=2e-4)
