"""Shaded pictures of surfaces against what is known of a ball."""

import numpy as np

from etcli.core.surfaces.grey_surface import grey_surface
from etcli.core.surfaces.mesh import Mesh
from etcli.core.surfaces.shading import SurfaceScene, shaded_surface
from tests.surfaces import ball


def scene() -> SurfaceScene:
    """Return a ball of radius 8 at the origin."""
    surface = grey_surface(ball(8, 20, 0), 0.5)
    return SurfaceScene.of(Mesh(type(surface)(surface.vertices - 9.5, surface.faces), "px"))


def test_ball_covers_a_disc_and_is_lit_from_the_upper_left() -> None:
    """The area of what is not white is that of the disc."""
    picture = shaded_surface(scene(), shape=(80, 100), pixel=0.25)
    covered = (picture.min(axis=2) < 0.98).sum() * 0.25**2
    assert abs(covered / (np.pi * 8**2) - 1) < 0.04
    grey = picture.mean(axis=2)
    assert grey[52:56, 36:40].mean() > grey[24:28, 60:64].mean() + 0.2  # row 0 is the bottom


def test_normals_point_outwards() -> None:
    """Those of a ball are its radii."""
    found = scene()
    radii = found.position / np.linalg.norm(found.position, axis=1, keepdims=True)
    assert (found.normal * radii).sum(axis=1).min() > 0.95


def test_what_is_in_front_hides_what_is_behind() -> None:
    """Of two balls along z the nearer one is seen, from both sides, and the farther one is paler."""
    one = scene()
    red, blue = (
        np.tile([0.8, 0.1, 0.1], (len(one.position), 1)),
        np.tile([0.1, 0.1, 0.8], (len(one.position), 1)),
    )
    both = SurfaceScene(
        np.concatenate([one.position + np.array([0, 0, 20]), 1.4 * one.position - [0, 0, 20]]),
        np.concatenate([one.faces, one.faces + len(one.position)]),
        np.concatenate([one.normal, one.normal]),
        np.concatenate([red, blue]),
    )
    front = shaded_surface(both, shape=(60, 60), pixel=0.5)[30, 30]
    back = shaded_surface(both.turned(np.diag([-1.0, 1.0, -1.0])), shape=(60, 60), pixel=0.5)[30, 30]
    assert front[0] > front[2] + 0.2
    assert back[2] > back[0] + 0.2
