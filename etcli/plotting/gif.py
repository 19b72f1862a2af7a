"""Animated GIFs, written frame by frame."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

COLOURS = 256
ENDLESS = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
END = b";"


def write_gif(pictures: Iterable[Image.Image], target: Path | BinaryIO, *, fps: float) -> None:
    """Write pictures of one size and one palette as an endless movie, with one of them at a time in memory.

    Pillow's own writer keeps all frames until the last is known.

    Parameters
    ----------
    pictures : iterable of PIL.Image.Image
        Frames of mode L or P; those of mode P have the palette of the first.
    target : Path or binary file
        File to write.
    fps : float
        Frames per second, counted in hundredths of a second.

    Notes
    -----
    Of a frame only the rectangle is stored in which it differs from the one before.

    References
    ----------
    Graphics Interchange Format, version 89a, CompuServe (1990).
    """
    if isinstance(target, Path):
        with target.open("wb") as file:
            write_gif(pictures, file, fps=fps)
        return
    duration_ms, before = round(100 / fps) * 10, None
    for picture in pictures:
        indices = np.asarray(picture)
        if before is None:
            target.write(_header(picture))
        left, top, right, bottom = _changed(before, indices)
        for block in getdata(
            picture.crop((left, top, right, bottom)), (left, top), duration=duration_ms, optimize=False
        ):
            target.write(block)
        before = indices
    target.write(END)


def _header(first: Image.Image) -> bytes:
    """Return the beginning of the file: size, colours of all frames, and that it is endless."""
    grey = np.repeat(np.arange(COLOURS, dtype=np.uint8), 3).tobytes()
    colours = bytes(first.getpalette() or b"") if first.mode == "P" else grey
    size = b"".join(side.to_bytes(2, "little") for side in first.size)
    # a table of 2 ** (7 + 1) colours, the first of which is the background
    return b"GIF89a" + size + b"\xf7\x00\x00" + colours.ljust(3 * COLOURS, b"\x00") + ENDLESS


def _changed(before: np.ndarray | None, now: np.ndarray) -> tuple[int, int, int, int]:
    """Return the rectangle (left, top, right, bottom) in which two frames differ, at least a pixel."""
    ny, nx = now.shape
    if before is None:
        return 0, 0, nx, ny
    differs = before != now
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not rows.size:
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
