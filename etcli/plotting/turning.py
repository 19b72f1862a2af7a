"""Maximum projections of a volume that turns about the tilt axis."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import centre

LARGEST_PX = 256
"""Longest edge of a volume that is turned, in voxels; larger ones are binned."""


def turning_factor(shape: tuple[int, ...]) -> int:
    """Return the factor by which `rotating` bins a volume of this shape."""
    return -(-max(shape) // LARGEST_PX)


def turning_angles(step_deg: float) -> NDArray[np.float64]:
    """Return the tilt angles in degrees of one full rotation, in equal steps close to that given."""
    n_frames = max(1, round(360 / step_deg))
    return np.arange(n_frames) * 360.0 / n_frames


def rotating(volume: NDArray[Any], *, step_deg: float = 10.0) -> Iterator[NDArray[np.float32]]:
    """Yield maximum projections of a volume during one full rotation about the tilt axis.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Density; a volume larger than 256 voxels is binned first.
    step_deg : float
        Angle between two frames, rounded so that the rotation is closed.

    Yields
    ------
    ndarray of shape (ny, width), float32
        The view at tilt angle 0, then one step further, ...; the point (x, z) is at x cos θ + z sin θ.
        Pixels outside the volume have its minimum.
    """
    small = _binned(volume, turning_factor(volume.shape))
    small = np.where(np.isfinite(small), small, np.min(small, initial=np.inf, where=np.isfinite(small)))
    nz, ny, nx = small.shape
    bordered = np.pad(small.transpose(0, 2, 1), ((1, 1), (1, 1), (0, 0)), constant_values=small.min())
    columns = bordered.reshape(-1, ny)
    width = int(np.ceil(np.hypot(nz, nx)))
    p = np.arange(width) - centre(width)
    for angle in np.deg2rad(turning_angles(step_deg)):
        cos, sin = np.cos(angle), np.sin(angle)
        view = np.full((width, ny), small.min())
        for t in p:
            z = np.clip(p * sin + t * cos + centre(nz), -1, nz) + 1
            x = np.clip(p * cos - t * sin + centre(nx), -1, nx) + 1
            row, column = np.minimum(z.astype(int), nz), np.minimum(x.astype(int), nx)
            up, right = (z - row).astype(np.float32)[:, None], (x - column).astype(np.float32)[:, None]
            at = row * (nx + 2) + column
            low = columns[at] * (1 - right) + columns[at + 1] * right
            high = columns[at + nx + 2] * (1 - right) + columns[at + nx + 3] * right
            np.maximum(view, low * (1 - up) + high * up, out=view)
        yield view.T


def _binned(volume: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Return means over cubes of voxels; voxels that do not fill a cube are cropped evenly at both ends."""
    if factor == 1:
        return volume.astype(np.float32)
    starts = [n % factor // 2 for n in volume.shape]
    counts = [n // factor for n in volume.shape]
    cut = volume[tuple(slice(a, a + n * factor) for a, n in zip(starts, counts, strict=True))]
    means: NDArray[np.float32] = cut.reshape(counts[0], factor, counts[1], factor, counts[2], factor).mean(
        axis=(1, 3, 5), dtype=np.float32
    )
    return means
