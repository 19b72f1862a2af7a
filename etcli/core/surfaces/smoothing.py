"""Smoothing of surfaces that keeps their volume."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from etcli.core.surfaces.edges import edges_of
from etcli.core.surfaces.grey_surface import Surface

SHRINK, GROW = 0.5, -0.53
"""Steps towards and away from the mean of the neighbours; together a low-pass filter with gain 1 at 0."""
SMALL_CHANGE, LARGEST_REST = 0.05, 0.01
"""Changes of the volume that steps along the normals undo, and that may be left of it."""
MOST_STEPS, SMALL_REST = 12, 1e-4
"""Steps along the normals towards a volume, and the part of it that may be left."""

Doubles = NDArray[np.float64]


def smoothed(surface: Surface, iterations: int) -> Surface:
    """Smooth a surface: move its vertices towards the mean of their neighbours, then back a little further.

    Parameters
    ----------
    surface : Surface
    iterations : int
        Number of pairs of steps. Vertices at the edge of an open surface stay.

    Returns
    -------
    Surface
        With the same faces. Each closed piece has the volume that it had: a change that the steps leave, such
        as 1 % for balls with a radius of 5 edges, is undone along the normals. Pieces of so few vertices that
        this is not possible stay as they are.

    References
    ----------
    Taubin, Proc. SIGGRAPH 95, 351 (1995), doi:10.1145/218380.218473: both steps.
    """
    n = len(surface.vertices)
    if not n or not iterations:
        return surface
    edges, n_faces = edges_of(surface.faces, n)
    is_fixed = np.zeros(n, bool)
    is_fixed[edges[n_faces == 1].ravel()] = True
    ends = np.concatenate([edges, edges[:, ::-1]]).astype(np.int32)
    del edges, n_faces
    neighbours = csr_array((np.ones(len(ends), np.float32), (ends[:, 0], ends[:, 1])), shape=(n, n))
    del ends
    _, piece = connected_components(neighbours, directed=False)
    weight = 1 / np.maximum(neighbours.sum(axis=1, dtype=np.float64), 1)[:, None]
    vertices = surface.vertices
    for _ in range(iterations):
        for step in (SHRINK, GROW):
            moved = vertices + step * (weight * (neighbours @ vertices) - vertices)
            vertices = np.where(is_fixed[:, None], vertices, moved)
    is_open = np.bincount(piece, is_fixed) > 0
    return replace(surface, vertices=_with_volumes(surface, vertices, piece, is_open))


def _with_volumes(
    before: Surface, vertices: Doubles, piece: NDArray[np.int32], is_open: NDArray[np.bool_]
) -> Doubles:
    """Return the vertices after each closed piece has been given the volume it had before."""
    n_vertices = np.bincount(piece)[:, None]
    middle = _sums(piece, before.vertices) / n_vertices
    start = before.vertices - middle[piece]
    vertices = vertices - middle[piece]
    target, _ = volumes_and_slopes(start, before.faces, piece)
    volume, _ = volumes_and_slopes(vertices, before.faces, piece)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.cbrt(target / volume)
    keep = is_open | ~(np.abs(scale**3 - 1) > SMALL_CHANGE)
    vertices *= np.where(keep | ~np.isfinite(scale), 1.0, scale)[piece, None]
    for _ in range(2):
        volume, slope = volumes_and_slopes(vertices, before.faces, piece)
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        total = np.bincount(piece, length[:, 0])
        step = np.divide(target - volume, total, out=np.zeros_like(total), where=~is_open & (total > 0))
        vertices += step[piece, None] * np.divide(slope, length, out=np.zeros_like(slope), where=length > 0)
    volume, _ = volumes_and_slopes(vertices, before.faces, piece)
    is_kept = is_open | (np.abs(volume - target) <= LARGEST_REST * np.abs(target))
    return np.where(is_kept[piece, None], vertices, start) + middle[piece]


def volumes_and_slopes(
    vertices: Doubles, faces: NDArray[np.integer], piece: NDArray[np.integer], n_pieces: int = 0
) -> tuple[Doubles, Doubles]:
    """Return the volume of each piece (n,), and its gradient by the place of each vertex (n_vertices, 3)."""
    a, b, c = (vertices[corner, ::-1] for corner in faces.T)
    normal = np.cross(b - a, c - a)
    under = np.einsum("ij,ij->i", a, normal) / 6
    volume = np.asarray(np.bincount(piece[faces[:, 0]], under, n_pieces or piece.max() + 1), np.float64)
    slope = np.zeros_like(vertices)
    for corner in faces.T:
        slope += _sums(corner, normal[:, ::-1], len(vertices))
    return volume, slope / 6


def with_volumes(surface: Surface, owner: NDArray[np.integer], target: Doubles) -> Surface:
    """Move closed surfaces along their normals until they enclose given volumes.

    Half-way between the voxels of a ball, or at half of its grey level, lies a surface with less volume than
    it has voxels, as its cells cut what is convex.

    Parameters
    ----------
    surface : Surface
        Bodies that share no vertices.
    owner : ndarray of shape (n_vertices,), int
        Number of the body of each vertex.
    target : ndarray of shape (n,), float64
        Volume of each body.

    Returns
    -------
    Surface
        Bodies for which this is not possible stay as they are.
    """
    if not len(surface):
        return surface
    n_vertices = np.maximum(np.bincount(owner, minlength=len(target)), 1)[:, None]
    middle = _sums(owner, surface.vertices, len(target)) / n_vertices
    start = surface.vertices - middle[owner]
    vertices = start
    for _ in range(MOST_STEPS):
        volume, slope = volumes_and_slopes(vertices, surface.faces, owner, len(target))
        if (np.abs(volume - target) <= SMALL_REST * target).all():
            break
        length = np.linalg.norm(slope, axis=1, keepdims=True)
        total = np.bincount(owner, length[:, 0], len(target))
        step = np.divide(target - volume, total, out=np.zeros_like(total), where=total > 0)
        vertices = vertices + step[owner, None] * np.divide(
            slope, length, out=np.zeros_like(slope), where=length > 0
        )
    volume, _ = volumes_and_slopes(vertices, surface.faces, owner, len(target))
    is_reached = np.abs(volume - target) <= LARGEST_REST * target
    return replace(surface, vertices=np.where(is_reached[owner, None], vertices, start) + middle[owner])


def _sums(number: NDArray[np.integer], rows: Doubles, n: int = 0) -> Doubles:
    """Return the sums of the rows of each number."""
    return np.stack([np.bincount(number, column, minlength=n) for column in rows.T], axis=1)
