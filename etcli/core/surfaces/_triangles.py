"""Kernel that renders triangles."""

from math import ceil, floor
from typing import Any

from etcli.core.jit import jit


@jit
def render(place: Any, faces: Any, normals: Any, colours: Any, depth: Any, normal: Any, colour: Any) -> None:
    """Write for every pixel the height of the nearest triangle, its normal and its colour.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        Column, row and height of the vertices in pixels; the largest height is the nearest to the viewer.
    faces : ndarray of shape (m, 3), int64
        Numbers of the vertices of each triangle.
    normals, colours : ndarray of shape (n, 3), float64
        Those of the vertices, between which they are interpolated.
    depth : ndarray of shape (ny, nx), float32
        Heights so far, changed; -inf where there is nothing.
    normal, colour : ndarray of shape (ny, nx, 3), float32
        What is seen so far, changed.
    """
    ny, nx = depth.shape
    for face in range(len(faces)):
        a, b, c = faces[face]
        ax, ay, az = place[a]
        bx, by, bz = place[b]
        cx, cy, cz = place[c]
        twice = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if twice == 0:
            continue
        first, last = max(ceil(min(ay, by, cy)), 0), min(floor(max(ay, by, cy)), ny - 1)
        left, right = max(ceil(min(ax, bx, cx)), 0), min(floor(max(ax, bx, cx)), nx - 1)
        for row in range(first, last + 1):
            for column in range(left, right + 1):
                u = ((bx - column) * (cy - row) - (cx - column) * (by - row)) / twice
                v = ((cx - column) * (ay - row) - (ax - column) * (cy - row)) / twice
                w = 1 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                height = u * az + v * bz + w * cz
                if height > depth[row, column]:
                    depth[row, column] = height
                    for k in range(3):
                        normal[row, column, k] = u * normals[a, k] + v * normals[b, k] + w * normals[c, k]
                        colour[row, column, k] = u * colours[a, k] + v * colours[b, k] + w * colours[c, k]
