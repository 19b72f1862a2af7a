"""Animated GIFs of a volume rotating about the tilt axis, or of any sequence of images."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from etcli.core.errors import UsageError
from etcli.core.geometry import centre
from etcli.plotting.style import contrast

SMALLEST_PX, LARGEST_PX = 384, 768  # longer edge of a frame
LARGEST_ROTATED = 256  # longest edge of a rotated volume, in voxels


def rotating(volume: NDArray[Any], *, n_frames: int = 36) -> Iterator[NDArray[np.float32]]:
    """Yield maximum projections of a volume during one full rotation about the tilt axis.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx)
        Density; a volume larger than 256 voxels is binned first.
    n_frames : int
        Number of frames of the full rotation.

    Yields
    ------
    ndarray of shape (ny, width), float32
        The view at tilt angle 0, then at 360°/n_frames, ...; the point (x, z) is at x cos θ + z sin θ.
        Pixels outside the volume have its minimum.
    """
    small = _binned(volume, -(-max(volume.shape) // LARGEST_ROTATED))
    nz, ny, nx = small.shape
    bordered = np.pad(small.transpose(0, 2, 1), ((1, 1), (1, 1), (0, 0)), constant_values=small.min())
    columns = bordered.reshape(-1, ny)
    width = int(np.ceil(np.hypot(nz, nx)))
    p = np.arange(width) - centre(width)
    for angle in np.arange(n_frames) * 2 * np.pi / n_frames:
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


def movie(
    frames: Iterable[NDArray[Any]],
    target: Path | BinaryIO,
    *,
    fps: float = 10.0,
    limits: tuple[float, float] | None = None,
) -> None:
    """Write images as an endless animated GIF.

    Parameters
    ----------
    frames : iterable of ndarray of shape (ny, nx)
        Images of one size, row 0 at the bottom; read one at a time if the limits are given.
    target : Path or binary file
        File to write; a GIF whatever its name.
    fps : float
        Frames per second, up to 50; a GIF counts in hundredths of a second.
    limits : tuple of float, optional
        Values shown as black and white; by default the `contrast` of all frames.

    Raises
    ------
    UsageError
        When there are no frames or the speed is out of range.
    """
    if not 0.1 <= fps <= 50:
        raise UsageError(f"a GIF cannot show {fps:g} frames a second; use 0.1 to 50")
    if limits is None:
        frames = list(frames)
        limits = contrast(frames) if frames else (0.0, 1.0)
    pictures = (_picture(frame, limits) for frame in frames)
    first = next(pictures, None)
    if first is None:
        raise UsageError("a movie needs at least one frame; widen the selection")
    first.save(
        target, format="GIF", save_all=True, append_images=pictures, duration=round(100 / fps) * 10, loop=0
    )


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


def _picture(frame: NDArray[Any], limits: tuple[float, float]) -> Image.Image:
    """Return an image of 256 greys, top row first, enlarged or reduced to a convenient size."""
    grey = np.clip((frame[::-1] - limits[0]) / (limits[1] - limits[0]), 0, 1) * 255
    picture = Image.fromarray(grey.round().astype(np.uint8))
    edge = max(picture.size)
    if edge < SMALLEST_PX:
        enlarge = -(-SMALLEST_PX // edge)
        return picture.resize((picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST)
    if edge > LARGEST_PX:
        picture.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    return picture
