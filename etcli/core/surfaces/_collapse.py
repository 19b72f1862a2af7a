"""Kernels that collapse edges of triangulated surfaces."""

from typing import Any

import numpy as np

from etcli.core.jit import jit

HOLD = 1e-6
"""Weight of the distance from the middle of the edge, relative to the quadric, for places on flat ground."""
LEAST_COS = 0.2
"""Cosine of the angle by which a face may turn."""
MOST_VALENCE = 24
"""Faces around a vertex, beyond which it takes in no others."""


@jit
def add_quadrics(vertices: Any, faces: Any, quadrics: Any) -> None:
    """Add to each vertex the sums n n', n d, d² of its faces' planes n·x = d, weighted with their areas."""
    for face in range(len(faces)):
        a, b, c = faces[face]
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
        n = np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])
        twice = np.sqrt((n * n).sum())
        if twice == 0:
            continue
        n /= twice
        d = (n * vertices[a]).sum()
        weight = twice / 6
        for vertex in (a, b, c):
            quadrics[vertex, 0] += weight * n[0] * n[0]
            quadrics[vertex, 1] += weight * n[0] * n[1]
            quadrics[vertex, 2] += weight * n[0] * n[2]
            quadrics[vertex, 3] += weight * n[1] * n[1]
            quadrics[vertex, 4] += weight * n[1] * n[2]
            quadrics[vertex, 5] += weight * n[2] * n[2]
            quadrics[vertex, 6] += weight * n[0] * d
            quadrics[vertex, 7] += weight * n[1] * d
            quadrics[vertex, 8] += weight * n[2] * d
            quadrics[vertex, 9] += weight * d * d


@jit
def _volume_plane(vertices: Any, faces: Any, around_a: Any, around_b: Any, a: int, b: int) -> Any:
    """Return g and d of the plane g·x = d of places x that keep the volume when they replace an edge."""
    plane = np.zeros(4)
    for which in range(2):
        end, other = (a, b) if which == 0 else (b, a)
        for face in around_a if which == 0 else around_b:
            i, j, k = faces[face]
            while i != end:
                i, j, k = j, k, i
            p, q, r = vertices[i] - vertices[a], vertices[j] - vertices[a], vertices[k] - vertices[a]
            gx, gy, gz = q[1] * r[2] - q[2] * r[1], q[2] * r[0] - q[0] * r[2], q[0] * r[1] - q[1] * r[0]
            if j == other or k == other:
                continue  # both ends: from a, there is no volume under this face
            plane[0] += gx
            plane[1] += gy
            plane[2] += gz
            plane[3] += p[0] * gx + p[1] * gy + p[2] * gz
    plane[3] += (plane[:3] * vertices[a]).sum()
    return plane


@jit
def best_places(
    vertices: Any,
    faces: Any,
    quadrics: Any,
    edges: Any,
    start: Any,
    incident: Any,
    locked: Any,
    places: Any,
    costs: Any,
) -> None:
    """Find the place for the vertex that replaces each edge, and what it costs.

    It is where the sum of squared distances from the planes is least among the places that keep the volume.
    """
    for edge in range(len(edges)):
        a, b = edges[edge]
        if locked[a] or locked[b]:
            costs[edge] = np.inf
            continue
        q = quadrics[a] + quadrics[b]
        hold = HOLD * (q[0] + q[3] + q[5])
        m = (vertices[a] + vertices[b]) / 2
        xx, yy, zz = q[0] + hold, q[3] + hold, q[5] + hold
        xy, xz, yz = q[1], q[2], q[4]
        # the inverse of a symmetric matrix by its cofactors
        cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        det = xx * cxx + xy * cxy + xz * cxz
        x = m
        if det > 0:
            inverse = np.array([[cxx, cxy, cxz], [cxy, cyy, cyz], [cxz, cyz, czz]]) / det
            x = _times(inverse, q[6:9] + hold * m)
            around_a, around_b = incident[start[a] : start[a + 1]], incident[start[b] : start[b + 1]]
            plane = _volume_plane(vertices, faces, around_a, around_b, a, b)
            step = _times(inverse, plane[:3])
            along = (step * plane[:3]).sum()
            if along > 0:
                x = x + step * ((plane[3] - (plane[:3] * x).sum()) / along)
        places[edge] = x
        squares = q[0] * x[0] ** 2 + q[3] * x[1] ** 2 + q[5] * x[2] ** 2
        squares += 2 * (q[1] * x[0] * x[1] + q[2] * x[0] * x[2] + q[4] * x[1] * x[2])
        costs[edge] = squares - 2 * (q[6:9] * x).sum() + q[9] + hold * ((x - m) ** 2).sum()


@jit
def _times(matrix: Any, vector: Any) -> Any:
    """Return a 3 x 3 matrix times a vector."""
    product = np.empty(3)
    for k in range(3):
        product[k] = matrix[k, 0] * vector[0] + matrix[k, 1] * vector[1] + matrix[k, 2] * vector[2]
    return product


@jit
def _keeps_shape(vertices: Any, faces: Any, around: Any, end: int, other: int, place: Any) -> bool:
    """Check that no face at one end of an edge folds over or degenerates when that end moves to a place."""
    for face in around:
        a, b, c = faces[face]
        if a == other or b == other or c == other:
            continue
        pa, pb, pc = vertices[a], vertices[b], vertices[c]
        u, v = pb - pa, pc - pa
        ox, oy, oz = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
        if a == end:
            pa = place
        elif b == end:
            pb = place
        else:
            pc = place
        u, v = pb - pa, pc - pa
        nx, ny, nz = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
        old, new = np.sqrt(ox * ox + oy * oy + oz * oz), np.sqrt(nx * nx + ny * ny + nz * nz)
        if ox * nx + oy * ny + oz * nz <= LEAST_COS * old * new:
            return False
        w = pc - pb
        longest = max((u * u).sum(), (v * v).sum(), (w * w).sum())
        if new < 0.05 * longest:  # a needle
            return False
    return True


@jit
def _may_collapse(faces: Any, start: Any, incident: Any, mark: Any, a: int, b: int) -> bool:
    """Check that a and b share only the vertices opposite to them, so that the surface stays a manifold."""
    for face in incident[start[a] : start[a + 1]]:
        for vertex in faces[face]:
            mark[vertex] = 1
    shared, thin = 0, False
    for face in incident[start[b] : start[b + 1]]:
        for vertex in faces[face]:
            if vertex != a and vertex != b and mark[vertex] == 1:
                mark[vertex] = 2
                shared += 1
                thin = thin or start[vertex + 1] - start[vertex] <= 3
    for face in incident[start[a] : start[a + 1]]:
        for vertex in faces[face]:
            mark[vertex] = 0
    return shared == 2 and not thin


@jit
def collapse(
    vertices: Any,
    faces: Any,
    quadrics: Any,
    edges: Any,
    places: Any,
    order: Any,
    start: Any,
    incident: Any,
    locked: Any,
    most: int,
) -> int:
    """Replace edges by vertices, those first in the order first, each with surroundings of its own.

    Parameters
    ----------
    vertices, faces, quadrics : ndarray
        Changed in place; faces that vanish have equal vertices.
    edges, places : ndarray
        Ends of each edge, and the place of the vertex that replaces it.
    order : ndarray
        Numbers of the edges to try.
    start, incident : ndarray
        The faces around vertex k are ``incident[start[k] : start[k + 1]]``.
    locked : ndarray
        Nonzero for vertices that must not be moved; those around a new vertex join them.
    most : int
        Number of edges to replace.

    Returns
    -------
    int
        Number of edges replaced.
    """
    mark = np.zeros(len(vertices), np.uint8)
    done = 0
    for edge in order:
        if done == most:
            break
        a, b = edges[edge]
        valence = start[a + 1] - start[a] + start[b + 1] - start[b] - 4
        if locked[a] or locked[b] or valence > MOST_VALENCE:
            continue
        around_a, around_b = incident[start[a] : start[a + 1]], incident[start[b] : start[b + 1]]
        if not _may_collapse(faces, start, incident, mark, a, b):
            continue
        place = places[edge]
        if not _keeps_shape(vertices, faces, around_a, a, b, place):
            continue
        if not _keeps_shape(vertices, faces, around_b, b, a, place):
            continue
        for face in around_a:
            for corner in range(3):
                locked[faces[face, corner]] = 1
        for face in around_b:
            for corner in range(3):
                locked[faces[face, corner]] = 1
                if faces[face, corner] == b:
                    faces[face, corner] = a
        vertices[a] = place
        quadrics[a] += quadrics[b]
        done += 1
    return done
