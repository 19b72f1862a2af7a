"""Shaded pictures of atoms as spheres."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms._spheres import render
from etcli.core.geometry import centre

Doubles = NDArray[np.float64]

SUPERSAMPLING = 3
LIGHT = np.array([-0.45, 0.55, 0.70])
"""Direction to the light: from the upper left, in front."""
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.38, 0.62, 0.35, 24.0
FOG = 0.55
"""Share of white in the colour of the sphere that is farthest from the viewer."""
RIM_PX, RIM = 1.0, 0.35
"""Width of the dark line around a sphere that lies in front of another, and its brightness."""
REACH = max(1, round(RIM_PX * SUPERSAMPLING / 2))
"""Distance of the fine pixels whose depth decides whether there is a rim."""
BAND_PIXELS = 1 << 18
"""Fine pixels that are shaded at once, each of which takes some 200 bytes."""


@dataclass(frozen=True)
class Scene:
    """Spheres to draw: places (x, y, z), radii and colours.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
        Centres; z points to the viewer.
    radius_A : ndarray of shape (n,), float64
        Radii.
    colour : ndarray of shape (n, 3), float64
        Red, green and blue from 0 to 1.
    """

    position_A: Doubles
    radius_A: Doubles
    colour: Doubles

    def turned(self, matrix: Doubles) -> "Scene":
        """Return the spheres after a rotation about the origin."""
        return Scene(self.position_A @ matrix.T, self.radius_A, self.colour)


def shaded(
    scene: Scene,
    *,
    shape: tuple[int, int],
    pixel_A: float,
    middle_A: tuple[float, float] = (0.0, 0.0),
    depth_A: tuple[float, float] | None = None,
) -> NDArray[np.float32]:
    """Draw spheres on white, seen along z from infinitely far, with light from the upper left.

    Parameters
    ----------
    scene : Scene
    shape : (ny, nx)
        Pixels of the picture.
    pixel_A : float
        Size of a pixel in Å.
    middle_A : (x, y)
        Point in the middle of the picture.
    depth_A : (float, float), optional
        Farthest and nearest z, for the fog; by default those of the centres.

    Returns
    -------
    ndarray of shape (ny, nx, 3), float32
        Red, green and blue from 0 to 1, row 0 at the bottom.

    Notes
    -----
    Each pixel is the mean of 3 × 3. The colour of a point of a sphere with normal n is, with light from l and
    the viewer at v, ``colour (0.38 + 0.62 n·l) + 0.35 (n·h)²⁴``, where h is the direction between l and v:
    Blinn's model. Far atoms fade into the white background, and atoms in front of others have a dark rim.

    References
    ----------
    J. F. Blinn, Proc. SIGGRAPH 77, 192 (1977), doi:10.1145/563858.563893: the reflection.
    """
    fine_A = pixel_A / SUPERSAMPLING
    ny, nx = (n * SUPERSAMPLING for n in shape)
    offset_A = np.array([*middle_A, 0.0])
    place = (scene.position_A - offset_A) / fine_A + np.array([centre(nx), centre(ny), 0.0])
    order = np.argsort(-place[:, 2], kind="stable")
    radius = scene.radius_A / fine_A
    far, near = depth_A or (float(scene.position_A[:, 2].min()), float(scene.position_A[:, 2].max()))
    fog = FOG * np.clip((near - scene.position_A[:, 2]) / (near - far), 0, 1) if near > far else 0 * radius
    picture = np.empty((*shape, 3), np.float32)
    band = max(1, BAND_PIXELS // (SUPERSAMPLING * nx))  # rows of the picture
    for first in range(0, shape[0], band):
        last = min(first + band, shape[0])
        # with the rows beside it that decide whether a pixel is a rim
        low, high = max(first * SUPERSAMPLING - REACH, 0), min(last * SUPERSAMPLING + REACH, ny)
        shaded_rows = _shade(scene.colour, place - [0, low, 0], radius, order, fog, (high - low, nx))
        kept = shaded_rows[first * SUPERSAMPLING - low : last * SUPERSAMPLING - low]
        fine = kept.reshape(last - first, SUPERSAMPLING, shape[1], SUPERSAMPLING, 3)
        picture[first:last] = fine.mean(axis=(1, 3), dtype=np.float32)
    return picture


def _shade(
    colours: Doubles,
    place: Doubles,
    radius: Doubles,
    order: NDArray[np.int64],
    fog: Doubles,
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Return some rows of the picture, with all of its fine pixels."""
    depth = np.full(shape, -np.inf, np.float32)
    nearest = np.full(shape, -1, np.int32)
    render(place, radius, order, depth, nearest)
    picture = np.ones((*shape, 3), np.float32)
    row, column = np.nonzero(nearest >= 0)
    index = nearest[row, column]
    normal = np.stack([column, row, depth[row, column]], axis=1) - place[index]
    normal /= radius[index, None]
    light = LIGHT / np.linalg.norm(LIGHT)
    halfway = light + np.array([0.0, 0.0, 1.0])
    brightness = AMBIENT + DIFFUSE * np.clip(normal @ light, 0, None)
    gloss = SPECULAR * np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, None) ** SHININESS
    colour = colours[index] * brightness[:, None] + gloss[:, None]
    colour *= np.where(_is_rim(depth, radius.mean())[row, column], RIM, 1.0)[:, None]
    colour += fog[index, None] * (1 - colour)
    picture[row, column] = np.clip(colour, 0, 1)
    return picture


def _is_rim(depth: NDArray[np.float32], radius: float) -> NDArray[np.bool_]:
    """Find the pixels at the edge of a sphere, where what is beside them lies far behind."""
    reach = REACH
    ny, nx = depth.shape
    bordered = np.pad(np.where(np.isfinite(depth), depth, np.float32(-1e30)), reach, mode="edge")
    lowest = depth.copy()
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
        beside = bordered[down * reach : down * reach + ny, across * reach : across * reach + nx]
        np.minimum(lowest, beside, out=lowest)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.bool_] = depth - lowest > max(0.6 * radius, reach)
    return found
