"""Digitised bodies: volumes in which each voxel holds the part of it that is inside."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Inside = Callable[[NDArray, NDArray, NDArray], NDArray]


def digitised(shape: tuple[int, int, int], inside: Inside, *, samples: int = 6) -> NDArray[np.float32]:
    """Return the share of each voxel for which ``inside(z, y, x)`` is true, x and so on in voxels."""
    steps = (np.arange(samples) + 0.5) / samples - 0.5
    volume = np.zeros(shape)
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    for dz in steps:
        for dy in steps:
            for dx in steps:
                volume += inside(z + dz, y + dy, x + dx)
    return (volume / samples**3).astype(np.float32)


def ball(shape: tuple[int, int, int], centre: tuple[float, ...], radius: float) -> NDArray[np.float32]:
    """Return a digitised ball."""
    a, b, c = centre
    return digitised(shape, lambda z, y, x: (z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 < radius**2)


def cube(
    shape: tuple[int, int, int], centre: tuple[float, ...], edge: float, turn: NDArray
) -> NDArray[np.float32]:
    """Return a digitised cube, turned by a matrix."""

    def inside(z: NDArray, y: NDArray, x: NDArray) -> NDArray:
        place = [z - centre[0], y - centre[1], x - centre[2]]
        along = [sum(a * b for a, b in zip(row, place, strict=True)) for row in turn]
        return np.maximum(np.maximum(abs(along[0]), abs(along[1])), abs(along[2])) < edge / 2

    return digitised(shape, inside)
