"""Reduction of the number of faces by collapsing edges."""

import numpy as np
from numpy.typing import NDArray

from etcli.core.surfaces._collapse import add_quadrics, best_places, collapse
from etcli.core.surfaces.edges import edges_of
from etcli.core.surfaces.grey_surface import Surface

TRIED = 0.35
"""Part of the edges, those of the least cost, that each pass tries."""
LEAST_PROGRESS = 1e-3
"""Part of the faces that must vanish in a pass; otherwise what is left cannot be reduced."""


def reduced(surface: Surface, fraction: float) -> Surface:
    """Reduce a surface to a part of its faces, with the least change of its shape.

    Parameters
    ----------
    surface : Surface
    fraction : float
        Part of the faces to keep, above 0 and at most 1. More are kept where fewer would open the surface,
        join its parts, or fold it.

    Returns
    -------
    Surface
        As closed as before. Vertices at the edge of an open surface stay.

    Notes
    -----
    Edges are replaced by vertices in the order of the sum of the squared distances from all planes that a
    vertex stands for, at the place that keeps the volume. The ends of an edge must have exactly the two
    neighbours in common that are opposite to it, and no face may turn by more than 78°.

    References
    ----------
    Garland & Heckbert, Proc. SIGGRAPH 97, 209 (1997), doi:10.1145/258734.258849: quadrics of planes.
    Lindstrom & Turk, Proc. Visualization 98, 279 (1998), doi:10.1109/VISUAL.1998.745314: the volume is kept.
    Dey, Edelsbrunner, Guha & Nekhayev, Publ. Inst. Math. 66, 23 (1999): when a surface keeps its topology.
    """
    middle = surface.vertices.mean(axis=0) if len(surface) else np.zeros(3)
    vertices, faces = surface.vertices - middle, surface.faces.copy()
    goal = round(fraction * len(faces))
    quadrics = np.zeros((len(vertices), 10))
    add_quadrics(vertices, faces, quadrics)
    while len(faces) > goal:
        edges, n_faces = edges_of(faces, len(vertices))
        locked = np.zeros(len(vertices), np.uint8)
        locked[edges[n_faces != 2].ravel()] = 1
        start, incident = _faces_of_vertices(faces, len(vertices))
        places, costs = np.empty((len(edges), 3)), np.empty(len(edges))
        best_places(vertices, faces, quadrics, edges, start, incident, locked, places, costs)
        order = _cheapest(costs)
        most = -(-(len(faces) - goal) // 2)
        n = collapse(vertices, faces, quadrics, edges, places, order, start, incident, locked, most)
        vertices, faces, quadrics = _compacted(vertices, faces, quadrics)
        if n < LEAST_PROGRESS * len(faces) / 2:
            break
    return Surface(vertices + middle, faces)


def _cheapest(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the numbers of the edges to try, in the order of their costs."""
    n = min(len(costs), max(1000, int(TRIED * len(costs))))
    chosen = np.argpartition(costs, n - 1)[:n]
    chosen = chosen[np.isfinite(costs[chosen])]
    return chosen[np.argsort(costs[chosen], kind="stable")].astype(np.int64)


def _faces_of_vertices(
    faces: NDArray[np.int64], n_vertices: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the faces of each vertex start in a list of faces, and that list."""
    order = np.argsort(faces.ravel(), kind="stable")
    counts = np.bincount(faces.ravel(), minlength=n_vertices)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), order // 3


def _compacted(
    vertices: NDArray[np.float64], faces: NDArray[np.int64], quadrics: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Leave out faces with equal vertices, and vertices without faces."""
    first, second, third = faces.T
    faces = faces[(first != second) & (second != third) & (third != first)]
    is_used = np.zeros(len(vertices), bool)
    is_used[faces.ravel()] = True
    number = np.cumsum(is_used) - 1
    return vertices[is_used], number[faces], quadrics[is_used]
