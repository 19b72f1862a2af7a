"""Flips, exchanges of axes and turns by 90° of a volume, from file to file."""

from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from etcli.core.grey_scale import GreyScale
from etcli.core.series import Volume
from etcli.core.volume_axes import VolumeAxes
from etcli.io.writers import ProcessingStep, volume_writer
from etcli.pipeline.inputs import read_volume_only
from etcli.pipeline.session import Session
from etcli.pipeline.written_images import ImageSource

BLOCKS = 2
"""Blocks of sections in memory: neighbouring sections may be read by several threads."""


def turn_file(
    session: Session, input: str, output: str, turn: str, *, mode: int = 2, scale: GreyScale | None = None
) -> None:
    """Turn a volume, from file to file.

    Parameters
    ----------
    session : Session
    input, output : str
    turn : str
        Steps; see `VolumeAxes.of_steps`.
    mode : int
        MRC mode.
    scale : GreyScale, optional
        Scaling into the range of an integer mode.

    Raises
    ------
    UsageError
        When a step is unknown.
    DataError
        When the input is a tilt series.
    """
    axes = VolumeAxes.of_steps(turn)
    volume = read_volume_only(session, input, stream=True)
    if axes.is_mirrored:
        session.reporter.warn(
            f"{turn} makes the mirror image of the specimen, of the other hand; turns such as rotx90, or an "
            "even number of reversals and exchanges, keep it"
        )
    turned = volume.turned(axes)
    read = _read_in_blocks(turned, session.memory // 4)
    images = ImageSource(session, read, len(turned), name=volume.name, target=output, mode=mode, scale=scale)
    step = ProcessingStep("stack", ", ".join([f"turned by {turn}", *images.words()]))
    with session.outputs() as outputs:
        opened = volume_writer(
            outputs,
            output,
            turned.shape,
            step=step,
            like=turned,
            pixel_A=turned.pixel_A,
            frame=turned.frame,
            origin_A=turned.origin_A,
            mode=mode,
        )
        images.write(opened, "turning")


def _read_in_blocks(volume: Volume, memory: int) -> Callable[[int], NDArray[np.float32]]:
    """Return a function that reads a section; sections across those of the file are read many at a time."""
    _, ny, nx = volume.shape
    size = max(1, memory // (BLOCKS * 4 * ny * nx))
    lock = Lock()

    @lru_cache(BLOCKS)
    def block(k: int) -> NDArray[np.float32]:
        return volume.sections(k * size, (k + 1) * size)

    def read(z: int) -> NDArray[np.float32]:
        with lock:  # a block is read once, not by every thread that waits for it
            sections = block(z // size)
        return np.asarray(sections[z % size])

    return read
