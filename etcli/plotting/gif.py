"""Animated GIFs, written frame by frame."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

COLOURS = 256
ENDLESS = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"
CONTROL, END = b"!\xf9\x04\x00", b";"


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
    delay, before = round(100 / fps), None
    for picture in pictures:
        indices = np.asarray(picture)
        if before is None:
            target.write(_header(picture))
        box = _changed(before, indices)
        target.write(CONTROL + delay.to_bytes(2, "little") + b"\x00\x00")
        target.write(b"," + _two_bytes(box[:2]) + _encoded(picture.crop(box)))
        before = indices
    target.write(END)


def _header(first: Image.Image) -> bytes:
    """Return the beginning of the file: size, colours of all frames, and that it is endless."""
    grey = np.repeat(np.arange(COLOURS, dtype=np.uint8), 3).tobytes()
    colours = bytes(first.getpalette() or b"") if first.mode == "P" else grey
    # a table of 2 ** (7 + 1) colours, the first of which is the background
    return (
        b"GIF89a" + _two_bytes(first.size) + b"\xf7\x00\x00" + colours.ljust(3 * COLOURS, b"\x00") + ENDLESS
    )


def _two_bytes(numbers: Iterable[int]) -> bytes:
    return b"".join(number.to_bytes(2, "little") for number in numbers)


def _encoded(picture: Image.Image) -> bytes:
    """Return the size and the compressed pixels of a picture: what Pillow writes after its place."""
    stream = BytesIO()
    picture.save(stream, "GIF", optimize=False)
    data = stream.getvalue()
    # a header of 13 bytes, its colours, and, as nothing else is told of the picture, its image
    image = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    return data[image + 5 : -len(END)]


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
