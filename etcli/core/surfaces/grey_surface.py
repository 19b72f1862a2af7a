"""Triangulated surface at one grey level of a volume."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUDGE = 1e-3
"""Least distance of a voxel from the level, relative to the contrast.

A voxel exactly at the level would give several vertices at one place. Programs that merge vertices by place,
as readers of STL must, would then find degenerate faces and holes.
"""

TIE = np.float32(1e-4)
"""Relative scatter given to the values. Where four voxels of a mask are alike in pairs, it decides which two
belong together, in both cells that share them. Vertices move by less than 0.0001 voxels.
"""


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles in space.

    Parameters
    ----------
    vertices : ndarray of shape (n, 3), float64
        Places z, y, x; in voxels of the volume, whose first voxel is about (0, 0, 0), or in any other unit.
    faces : ndarray of shape (m, 3), int64
        Numbers of the three vertices of each triangle, counter-clockwise in a right-handed frame x, y, z for
        an observer outside the solid.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.faces)


def grey_surface(
    volume: NDArray[Any], level: float, *, background: float | None = None, closed: bool = True
) -> Surface:
    """Find the surface of what is brighter than a level, by marching cubes.

    Values are interpolated linearly along the edges between voxels. Values closer to the level than 0.001 of
    the contrast, the mean above minus the mean below, are moved to that distance.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Finite values of any real type.
    level : float
        Value of the surface.
    background : float, optional
        Value around the volume, below the level. By default, the surface closes half a voxel outside the
        centres of the outermost voxels, which is where their cubes end.
    closed : bool
        Whether the surface closes at the border of the volume. Otherwise it ends at the centres of the
        outermost voxels.

    Returns
    -------
    Surface
        In voxels; without faces where nothing or, unless closed, everything is brighter than the level.

    References
    ----------
    Lewiner, Lopes, Vieira & Tavares, J. Graph. Tools 8, 1 (2003): marching cubes without ambiguous cases.
    """
    contrast = _contrast(volume, level)
    field = _scaled_field(volume, level, contrast, border=int(closed))
    if closed:
        _close(field, None if background is None else -abs(background - level) / contrast)
    if field.min(initial=1.0) > 0 or field.max(initial=-1.0) < 0 or min(field.shape) < 2:
        return Surface(np.empty((0, 3)), np.empty((0, 3), np.int64))
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(field, 0.0)
    del field
    return Surface(vertices.astype(np.float64) - closed, faces.astype(np.int64))


def corners(surface: Surface) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the three corners (x, y, z) of every face, three arrays of shape (m, 3)."""
    xyz = surface.vertices[:, ::-1]
    first, second, third = surface.faces.T
    return xyz[first], xyz[second], xyz[third]


def area(surface: Surface) -> float:
    """Return the sum of the areas of all faces, in the square of the unit of the vertices."""
    a, b, c = corners(surface)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def enclosed_volume(surface: Surface) -> float:
    """Return the volume inside a closed surface, cavities excluded, in the cube of the vertices' unit."""
    if not len(surface):
        return 0.0
    middle = surface.vertices.mean(axis=0)[::-1]  # sums of small numbers have small errors
    a, b, c = (corner - middle for corner in corners(surface))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _contrast(volume: NDArray[Any], level: float) -> float:
    """Return the mean above the level minus the mean below it, or another positive scale without either."""
    above = volume > level
    n_above = int(np.count_nonzero(above))
    if 0 < n_above < above.size:
        total, bright = float(volume.sum(dtype=np.float64)), float(volume.sum(dtype=np.float64, where=above))
        return bright / n_above - (total - bright) / (above.size - n_above)
    return float(np.abs(np.asarray(volume, np.float64) - level).max(initial=0.0)) or 1.0


def _scaled_field(volume: NDArray[Any], level: float, contrast: float, *, border: int) -> NDArray[np.float32]:
    """Return values minus the level in units of the contrast, none of them close to 0, inside a border."""
    field = np.empty([n + 2 * border for n in volume.shape], np.float32)
    inside = field[(slice(border, -border or None),) * 3]
    random = np.random.default_rng(0)  # the same at every call
    for section, values in zip(inside, volume, strict=True):
        section[:] = (values - np.float64(level)) / contrast
        close = np.abs(section) < NUDGE
        section[close] = np.where(section[close] > 0, NUDGE, -NUDGE)
        section *= 1 + TIE * random.random(section.shape, np.float32)
    return field


def _close(field: NDArray[np.float32], around: float | None) -> None:
    """Fill the border of one voxel: with a constant, or with the outermost values mirrored."""
    for axis in range(3):
        sides = np.moveaxis(field, axis, 0)
        inner = tuple(slice(None) if done < axis else slice(1, -1) for done in range(3) if done != axis)
        for end, beside in ((0, 1), (-1, -2)):
            if around is None:
                sides[end][inner] = -np.abs(sides[beside][inner])
            else:
                sides[end] = min(around, -NUDGE)
