"""Gaussian blobs: their views and their volume in closed form, and where a volume has them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIGMA_PX = 1.6
Point = tuple[float, float, float]


def _bell(n: int, at: ArrayLike) -> NDArray[np.float64]:
    """Gaussian along n pixels about their centre (n - 1) / 2."""
    distance = np.arange(n) - (n - 1) / 2 - np.asarray(at)[..., None]
    return np.exp(-(distance**2) / (2 * SIGMA_PX**2))


def blob_views(
    points: Sequence[Point],
    tilt_deg: ArrayLike,
    shape: tuple[int, int],
    *,
    shift_px: ArrayLike = 0.0,
) -> NDArray[np.float32]:
    """Views (view, y, x) of blobs of height 1 at points (x, y, z) from the centre, moved along x."""
    tilt = np.deg2rad(tilt_deg)
    views = np.zeros((tilt.size, *shape))
    for x, y, z in points:
        p = x * np.cos(tilt) + z * np.sin(tilt) + np.broadcast_to(shift_px, tilt.shape)
        views += _bell(shape[0], y)[:, None] * _bell(shape[1], p)[:, None, :]
    return (views * SIGMA_PX * np.sqrt(2 * np.pi)).astype(np.float32)


def blob_volume(points: Sequence[Point], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Volume (z, y, x) of the same blobs."""
    volume = np.zeros(shape)
    for x, y, z in points:
        nz, ny, nx = shape
        volume += _bell(nz, z)[:, None, None] * _bell(ny, y)[:, None] * _bell(nx, x)
    return volume.astype(np.float32)


def blob_near(volume: NDArray[np.floating], point: Point, *, reach: int = 3) -> NDArray[np.float64]:
    """Find the maximum (x, y, z) of a volume (z, y, x) near a point, exactly where it is a Gaussian."""
    centre = (np.array(volume.shape) - 1) / 2
    start = np.rint(np.array(point[::-1]) + centre).astype(int)
    near = tuple(slice(max(i - reach, 0), i + reach + 1) for i in start)
    local = np.unravel_index(volume[near].argmax(), volume[near].shape)
    top = np.array([index + part.start for index, part in zip(local, near, strict=True)])
    found = []
    for axis in range(3):
        along = np.moveaxis(volume, axis, -1)[tuple(np.delete(top, axis))]
        below, at, above = np.log(along[top[axis] - 1 : top[axis] + 2].astype(np.float64))
        found.append(top[axis] + (above - below) / (2 * (2 * at - below - above)))
    return (np.array(found) - centre)[::-1]
