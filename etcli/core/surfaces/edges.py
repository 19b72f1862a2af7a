"""Edges of triangulated surfaces, and whether they close."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.surfaces.grey_surface import Surface


def edges_of(faces: NDArray[np.int64], n_vertices: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the edges of triangles.

    Parameters
    ----------
    faces : ndarray of shape (m, 3), int64
        Numbers of the vertices of each triangle.
    n_vertices : int

    Returns
    -------
    edges : ndarray of shape (n, 2), int64
        Numbers of both ends of each edge, the smaller one first.
    n_faces : ndarray of shape (n,), int64
        Number of triangles at each edge.
    """
    key = np.empty((3, len(faces)), np.int64)
    for side, (one, other) in zip(key, ((0, 1), (1, 2), (2, 0)), strict=True):
        np.minimum(faces[:, one], faces[:, other], out=side)
        side *= n_vertices
        side += np.maximum(faces[:, one], faces[:, other])
    edges, n_faces = np.unique(key, return_counts=True)
    return np.stack([edges // n_vertices, edges % n_vertices], axis=1), n_faces


def merged(surface: Surface) -> Surface:
    """Return the surface with all vertices at one place merged, as programs that read STL do."""
    vertices, number = np.unique(surface.vertices, axis=0, return_inverse=True)
    return Surface(vertices, number.reshape(-1)[surface.faces])


def count_open_edges(surface: Surface) -> int:
    """Count the edges that do not have exactly two faces; none in a closed surface without branches."""
    _, n_faces = edges_of(surface.faces, len(surface.vertices))
    return int(np.count_nonzero(n_faces != 2))


def with_single_precision(surface: Surface) -> Surface:
    """Return the surface with vertices that float32 holds exactly, each at a place of its own.

    Vertices that rounding would bring to one place are moved apart by the least steps of float32, so that
    programs that merge vertices by place find the same faces and edges.
    """
    places = surface.vertices.astype(np.float32)
    while True:
        _, first = np.unique(places, axis=0, return_index=True)
        if len(first) == len(places):
            return Surface(places.astype(np.float64), surface.faces)
        again = np.ones(len(places), bool)
        again[first] = False
        places[again] = np.nextafter(places[again], np.float32(np.inf))
