"""Arrays on disk, for computations beyond the memory budget."""

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
        Folder with enough space; a full disk raises an error when an array is created, not later.

    Returns
    -------
    callable
        ``zeros(shape)``. The files vanish with the arrays, or with the process.
    """

    def zeros(shape: tuple[int, ...]) -> Array:
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file, 4 * int(np.prod(shape)))
            file.truncate(4 * int(np.prod(shape)))
            return np.memmap(file, np.float32, "r+", shape=shape)

    return zeros
