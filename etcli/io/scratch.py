"""Arrays on disk, for work that is larger than the memory."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etcli.io.mrc_writer import reserve

Array = NDArray[np.float32]


def zeros_on_disk(folder: Path) -> Callable[[tuple[int, ...]], Array]:
    """Return a function like `numpy.zeros` for float32 arrays in unnamed files of a folder.

    Parameters
    ----------
    folder : path
        Where there is room; a full disk is met when an array is made, not later.

    Returns
    -------
    callable
        ``zeros(shape)``. The files are gone when the arrays, or the process, are.
    """

    def zeros(shape: tuple[int, ...]) -> Array:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file, 4 * int(np.prod(shape)))
            file.truncate(4 * int(np.prod(shape)))
            return np.memmap(file, np.float32, "r+", shape=shape)

    return zeros
