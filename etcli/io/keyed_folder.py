"""Folder beside an output that keeps arrays of an interrupted run, under a key of all that they depend on."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from etcli.core.errors import DataError

KEY = "key.txt"
SUFFIX = ".npz"


class KeyedFolder:
    """Folder of files of arrays, each of which appears in it complete or not at all.

    Files that were stored under another key are deleted.

    Parameters
    ----------
    folder : path
        Created with the first file.
    key : str
        Text of everything that the arrays depend on.

    Raises
    ------
    DataError
        When the folder holds something else.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        if folder.exists() and not (folder / KEY).is_file():
            raise DataError(f"{folder}: is no folder of kept work, which belongs there; move it elsewhere")
        # outdated files are deleted with the first new one, not earlier: the command may still be rejected
        self._is_outdated = folder.exists() and (folder / KEY).read_text(encoding="utf-8") != key

    def __len__(self) -> int:
        return 0 if self._is_outdated else len(list(self._folder.glob(f"*{SUFFIX}")))

    def holds(self, name: str) -> bool:
        """Check whether a file is stored."""
        return not self._is_outdated and self._path(name).is_file()

    def load(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a stored file; raise DataError if it is damaged."""
        try:
            with self._path(name).open("rb") as file, np.load(file) as kept:
                return dict(kept)
        except (BadZipFile, ValueError, KeyError, EOFError) as error:
            raise self.damaged(name) from error

    def damaged(self, name: str) -> DataError:
        """Return the error of a damaged file."""
        return DataError(f"{self._path(name)}: is damaged; remove it")

    def keep(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Store arrays in a file."""
        if self._is_outdated:
            self.remove()
            self._is_outdated = False
        if not self._folder.exists():
            fresh = self._folder.with_name(f".{self._folder.name}.{os.getpid()}")
            fresh.mkdir()
            (fresh / KEY).write_text(self._key, encoding="utf-8", newline="\n")
            fresh.replace(self._folder)
        part = self._folder / f"{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path(name))
        except BaseException:  # a full disk would stay full
            part.unlink(missing_ok=True)
            raise

    def remove(self) -> None:
        """Delete the folder with all its files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"
