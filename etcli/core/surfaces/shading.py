"""Shaded pictures of surfaces."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from etcli.core.atoms.spheres import AMBIENT, DIFFUSE, LIGHT, SHININESS, SPECULAR
from etcli.core.geometry import centre
from etcli.core.surfaces._triangles import render
from etcli.core.surfaces.grey_surface import corners
from etcli.core.surfaces.label_colours import label_colours
from etcli.core.surfaces.mesh import Mesh

Doubles = NDArray[np.float64]

PLAIN = (0.60, 0.71, 0.84)
"""Red, green and blue of a surface without labels."""
SUPERSAMPLING = 2
FOG = 0.35
"""Share of white in the colour of what is farthest from the viewer."""
SHADOWS = ((0.006, 0.5), (0.03, 0.5))
"""Widths of the surroundings whose depth darkens what lies behind them, relative to the picture; how much."""


@dataclass(frozen=True)
class SurfaceScene:
    """Triangles to draw.

    Parameters
    ----------
    position : ndarray of shape (n, 3), float64
        Vertices x, y, z; z points to the viewer.
    faces : ndarray of shape (m, 3), int64
        Numbers of the vertices of each triangle.
    normal, colour : ndarray of shape (n, 3), float64
        Direction away from the solid, and red, green and blue from 0 to 1, at each vertex.
    """

    position: Doubles
    faces: NDArray[np.int64]
    normal: Doubles
    colour: Doubles

    @classmethod
    def of(cls, mesh: Mesh) -> "SurfaceScene":
        """Return the surface, each label in a colour of its own."""
        surface, n = mesh.surface, len(mesh.surface.vertices)
        a, b, c = corners(surface)
        across = np.cross(b - a, c - a)
        normal, colour = np.zeros((n, 3)), np.empty((n, 3))
        for corner in surface.faces.T:
            normal += np.stack([np.bincount(corner, part, minlength=n) for part in across.T], axis=1)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        colour[:] = PLAIN
        if mesh.labels is not None:
            colour[surface.faces] = label_colours(mesh.labels)[:, None]
        return cls(surface.vertices[:, ::-1], surface.faces, normal / np.where(length > 0, length, 1), colour)

    def turned(self, matrix: Doubles) -> "SurfaceScene":
        """Return the surface after a rotation about the origin."""
        return replace(self, position=self.position @ matrix.T, normal=self.normal @ matrix.T)


def shaded_surface(
    scene: SurfaceScene,
    *,
    shape: tuple[int, int],
    pixel: float,
    middle: tuple[float, float] = (0.0, 0.0),
    depth: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Draw a surface on white, seen along z from infinitely far, with light from the upper left.

    Parameters
    ----------
    scene : SurfaceScene
    shape : (ny, nx)
        Pixels of the picture.
    pixel : float
        Size of a pixel in the unit of the surface.
    middle : (x, y)
        Point in the middle of the picture.
    depth : (float, float), optional
        Farthest and nearest z, for the fog; by default those of the surface.

    Returns
    -------
    ndarray of shape (ny, nx, 3), float32
        Red, green and blue from 0 to 1, row 0 at the bottom.

    Notes
    -----
    Each pixel is the mean of 2 × 2, shaded as by `etcli.core.atoms.spheres.shaded`. What lies behind its
    surroundings, as the ground of a pore does, is darker by how far it does.

    References
    ----------
    Luft, Colditz & Deussen, ACM Trans. Graph. 25, 1206 (2006), doi:10.1145/1141911.1142016: the shadows.
    """
    fine = pixel / SUPERSAMPLING
    ny, nx = (n * SUPERSAMPLING for n in shape)
    place = (scene.position - [*middle, 0.0]) / fine + [centre(nx), centre(ny), 0.0]
    height = np.full((ny, nx), -np.inf, np.float32)
    normal, colour = np.zeros((ny, nx, 3), np.float32), np.ones((ny, nx, 3), np.float32)
    render(place, scene.faces, scene.normal, scene.colour, height, normal, colour)
    seen = np.isfinite(height)
    if seen.any():
        far, near = (z / fine for z in depth) if depth else (place[:, 2].min(), place[:, 2].max())
        lit = _lit(colour[seen], normal[seen]) * _shadow(height, seen, far)[seen, None]
        fog = FOG * np.clip((near - height[seen]) / max(near - far, 1e-9), 0, 1)[:, None]
        colour[seen] = np.clip(lit + fog * (1 - lit), 0, 1)
    small: NDArray[np.float32] = colour.reshape(shape[0], SUPERSAMPLING, shape[1], SUPERSAMPLING, 3).mean(
        axis=(1, 3), dtype=np.float32
    )
    return small


def _lit(colour: NDArray[np.float32], normal: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the colours in the light; a surface that is open is as bright from behind."""
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    normal *= np.where(normal[:, 2:] < 0, -1, 1)
    light = LIGHT / np.linalg.norm(LIGHT)
    halfway = light + np.array([0.0, 0.0, 1.0])
    brightness = AMBIENT + DIFFUSE * np.clip(normal @ light, 0, None)
    gloss = SPECULAR * np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, None) ** SHININESS
    return np.asarray(colour * brightness[:, None] + gloss[:, None], np.float32)


def _shadow(height: NDArray[np.float32], seen: NDArray[np.bool_], far: float) -> NDArray[np.float32]:
    """Return by which factor each pixel is darker for being behind its surroundings."""
    filled = np.where(seen, height, np.float32(far))
    factor = np.ones_like(filled)
    for width, strength in SHADOWS:
        sigma = width * max(height.shape)
        behind = np.clip(gaussian_filter(filled, sigma) - filled, 0, None)
        factor *= 1 - strength * (1 - np.exp(-behind / (2 * sigma)))
    return factor
