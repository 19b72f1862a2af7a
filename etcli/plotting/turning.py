"""Maximum projections of a volume that turns about the tilt axis."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.geometry import centre
from etcli.plotting.look import Look

DARK = 0.2
"""Part of the greys that is dark: what is not brighter in a maximum projection is taken for vacuum."""
LARGEST_PX = 256
"""Longest edge of a volume that is turned, in voxels; larger ones are binned."""


def turning_factor(shape: tuple[int, ...]) -> int:
    """Return the factor by which `rotating` bins a volume of this shape."""
    return -(-max(shape) // LARGEST_PX)


def turning_angles(step_deg: float) -> NDArray[np.float64]:
    """Return the tilt angles in degrees of one full rotation, in equal steps close to that given."""
    n_frames = max(1, round(360 / step_deg))
    return np.arange(n_frames) * 360.0 / n_frames


def turning_levels(volume: NDArray[Any], look: Look) -> tuple[float, float]:
    """Return the black and the white level for the maximum projections of a volume.

    Black is what the projection shows at its emptiest side, if that is dark: less would show the sides of the
    volume as they turn. The minimum of a volume is far below its vacuum.
    """
    image = volume.max(axis=0)
    black, white = look.levels(image)
    if look.limits is not None:
        return black, white
    sides = image[0], image[-1], image[:, 0], image[:, -1]
    vacuum = min(float(np.median(side)) for side in sides)
    return (vacuum if black < vacuum < black + DARK * (white - black) else black), white


def has_corners(volume: NDArray[Any], limits: tuple[float, float]) -> bool:
    """Whether a volume shows anything outside the cylinder about the tilt axis that fits into it."""
    outside = volume.max(axis=1)[~_in_cylinder(volume.shape)]
    return bool(outside.size) and float(outside.max()) > limits[0] + DARK * (limits[1] - limits[0])


def _in_cylinder(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the (z, x) in a cylinder about the tilt axis that is as wide as the longer side."""
    nz, _, nx = shape
    z, x = np.arange(nz)[:, None] - centre(nz), np.arange(nx) - centre(nx)
    return np.asarray(np.hypot(z, x) <= max(nz, nx) / 2)


def rotating(
    volume: NDArray[Any], *, step_deg: float = 10.0, corners: bool = True
) -> Iterator[NDArray[np.float32]]:
    """Yield maximum projections of a volume during one full rotation about the tilt axis.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Density; a volume larger than 256 voxels is binned first.
    step_deg : float
        Angle between two frames, rounded so that the rotation is closed.
    corners : bool
        Whether to show what is outside the cylinder about the tilt axis that fits into the volume. Without
        it the frame is as wide as the cylinder, so that no side of the volume turns in it.

    Yields
    ------
    ndarray of shape (ny, width), float32
        The view at tilt angle 0, then one step further, ...; the point (x, z) is at x cos θ + z sin θ.
        Pixels outside the volume have its minimum.
    """
    small = _binned(volume, turning_factor(volume.shape))
    small = np.where(np.isfinite(small), small, np.min(small, initial=np.inf, where=np.isfinite(small)))
    nz, ny, nx = small.shape
    if not corners:
        small = np.where(_in_cylinder(small.shape)[:, None], small, small.min())
    bordered = np.pad(small.transpose(0, 2, 1), ((1, 1), (1, 1), (0, 0)), constant_values=small.min())
    columns = bordered.reshape(-1, ny)
    width = int(np.ceil(np.hypot(nz, nx))) if corners else max(nz, nx)
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
