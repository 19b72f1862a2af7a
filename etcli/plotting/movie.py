"""Movies: sequences of images with a scale bar and a label."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from etcli.core.errors import UsageError
from etcli.plotting.ffmpeg import write_mp4
from etcli.plotting.gif import write_gif
from etcli.plotting.look import GREY, Look
from etcli.plotting.style import PixelScale, bar_length

SMALLEST_PX, LARGEST_PX = 384, 768
"""Longer edge of a frame."""
TEXT, LEAST_TEXT_PX = 0.042, 13
"""Height of the text relative to the longer edge of a frame, and the least."""
GREYS = 16
"""Colours of a GIF that are kept for the text and its outline."""


class Frame(NamedTuple):
    """Image of a movie, row 0 at the bottom, and its label.

    The image has the shape (ny, nx) and any values, or (ny, nx, 3) and colours from 0 to 1. The scale bar may
    be in Å, however long it is, as the positions of atoms are everywhere.
    """

    image: NDArray[Any]
    label: str = ""
    in_A: bool = False


def movie(
    frames: Iterable[Frame],
    target: Path | BinaryIO,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
    look: Look = GREY,
    pixel_A: float | None = None,
    fps: float = 10.0,
    form: str = "gif",
    samples: Iterable[Frame] = (),
) -> None:
    """Write an endless animated GIF, or an MP4.

    Parameters
    ----------
    frames : iterable of Frame
        Images of one size; read one at a time.
    target : Path or binary file
        File to write, for an MP4 a path.
    limits : tuple of float
        Values shown as black and white.
    look : Look
        Colours and gamma; its limits are not used.
    pixel_A : float, optional
        Pixel size in Å, for a scale bar.
    fps : float
        Frames per second; a GIF counts in hundredths of a second.
    form : {"gif", "mp4"}
        Format.
    samples : iterable of Frame
        Some more frames that show all colours, where frames have colours of their own: a GIF has 256.

    Raises
    ------
    UsageError
        When there are no frames, or ffmpeg, which an MP4 needs, is missing.
    DataError
        When ffmpeg fails.
    """
    pictures = (_picture(frame, limits, look, pixel_A) for frame in frames)
    first = next(pictures, None)
    if first is None:
        raise UsageError("a movie needs at least one frame; widen the selection")
    if form == "mp4":
        write_mp4(chain((first,), pictures), Path(str(target)), fps=fps)
        return
    shown = [first, *(_picture(frame, limits, look, pixel_A) for frame in samples)]
    write_gif(_indexed(chain((first,), pictures), _palette(shown, look)), target, fps=fps)


def _picture(frame: Frame, limits: tuple[float, float], look: Look, pixel_A: float | None) -> Image.Image:
    """Return a frame as greys or colours, top row first, of a convenient size, with label and scale bar."""
    image = frame.image[::-1]
    if image.ndim == 3:
        picture = Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8))
    else:
        level = np.clip((image - limits[0]) / (limits[1] - limits[0]), 0, 1) ** look.gamma
        picture = Image.fromarray((level * 255).round().astype(np.uint8))
    width_px = picture.width
    edge = max(picture.size)
    if edge < SMALLEST_PX:
        enlarge = -(-SMALLEST_PX // edge)
        picture = picture.resize(
            (picture.width * enlarge, picture.height * enlarge), Image.Resampling.NEAREST
        )
    elif edge > LARGEST_PX:
        picture.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    if image.ndim == 2 and look.cmap != "gray":
        colours = (matplotlib.colormaps[look.cmap](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
        picture = Image.fromarray(colours[np.asarray(picture)])
    _annotate(picture, frame, width_px, pixel_A, on_white=image.ndim == 3)
    return picture


def _annotate(
    picture: Image.Image, frame: Frame, width_px: int, pixel_A: float | None, *, on_white: bool
) -> None:
    """Write the label at the upper left, and draw a scale bar at the lower right."""
    size = max(LEAST_TEXT_PX, round(TEXT * max(picture.size)))
    pen, font, margin = ImageDraw.Draw(picture), _font(size), size // 2
    white, black = ((255,) * 3, (0,) * 3) if picture.mode == "RGB" else (255, 0)
    white, black = (black, white) if on_white else (white, black)
    outline: dict[str, Any] = {
        "font": font,
        "fill": white,
        "stroke_width": max(1, size // 12),
        "stroke_fill": black,
    }
    if frame.label:
        pen.text((margin, margin), frame.label, anchor="lt", **outline)
    scale = PixelScale.of(width_px, pixel_A)
    if frame.in_A and pixel_A:
        scale = PixelScale(pixel_A, "Å")
    if scale.unit == "px":
        return
    length = bar_length(width_px * scale.step)
    bar_px = length / scale.step * picture.width / width_px
    right, bottom, thick = picture.width - margin, picture.height - margin, max(2, size // 5)
    pen.rectangle((right - bar_px, bottom - thick, right - 1, bottom - 1), fill=white, outline=black)
    pen.text((right, bottom - thick - size // 3), f"{length:g} {scale.unit}", anchor="rb", **outline)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings along and uses in pictures."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)


def _palette(shown: Sequence[Image.Image], look: Look) -> Image.Image | None:
    """Return the colours of a GIF: those of the colour map and greys, or those of some of its frames."""
    first = shown[0]
    if first.mode == "L":
        return None
    if look.cmap == "gray":  # frames that have colours of their own
        together = Image.new("RGB", (first.width, first.height * len(shown)))
        for k, picture in enumerate(shown):
            together.paste(picture, (0, k * first.height))
        return together.quantize(256, method=Image.Quantize.FASTOCTREE)
    colours = matplotlib.colormaps[look.cmap](np.linspace(0, 1, 256 - GREYS))[:, :3]
    greys = np.repeat(np.linspace(0, 1, GREYS)[:, None], 3, axis=1)
    palette = Image.new("P", (1, 1))
    palette.putpalette((np.concatenate([colours, greys]) * 255).round().astype(np.uint8).tobytes())
    return palette


def _indexed(pictures: Iterable[Image.Image], palette: Image.Image | None) -> Iterator[Image.Image]:
    """Yield pictures with the colours of the palette."""
    for picture in pictures:
        if palette is None:
            yield picture
        else:
            yield picture.quantize(palette=palette, dither=Image.Dither.NONE)
