"""Check of HDF5 files: the library of that format can hang or crash on a damaged one."""

import faulthandler
import importlib
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from etcli.core.errors import DataError

MAGIC = b"\x89HDF\r\n\x1a\n"
SECONDS = 3
"""Processor time that the structure of a whole file takes by far."""
SMALL = 1 << 16
"""Size up to which the values of a data set are part of the structure."""


def check_hdf5(path: Path) -> None:
    """Read the structure of an HDF5 file in a process of its own; do nothing with other files.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        When that process does not come to an end, or crashes. Errors that it reports are left to the reader.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return
    try:
        import resource

        h5py = importlib.import_module("h5py")
    except ImportError:  # no such processes (on Windows), or no reader
        return
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()  # a crash is reported by the error below
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            with suppress(Exception), h5py.File(path) as tree:
                _read_attributes(tree)
                tree.visititems(lambda name, item: _read_attributes(item))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise DataError(f"{path}: HDF5 cannot read its structure, as the file is damaged; copy it again")


def _read_attributes(item: Any) -> None:
    """Read the attributes of a group or a data set, and a small data set itself."""
    with suppress(Exception):
        dict(item.attrs)
        if getattr(item, "nbytes", SMALL) < SMALL:
            item[()]
