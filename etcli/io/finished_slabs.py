"""Store of finished slabs in a folder beside the output, from which an interrupted run is resumed."""

import os
import shutil
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from etcli.core.errors import DataError
from etcli.core.reconstruction.slab_by_slab import FinishedSlab
from etcli.core.reconstruction.slab_plan import Slab

KEY = "key.txt"


class FinishedSlabs:
    """Folder of finished slabs, a store for `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    A slab appears in it complete or not at all. Slabs that were stored under another key are deleted.

    Parameters
    ----------
    folder : path
        Created with the first slab.
    key : str
        Text of everything that the slabs depend on.

    Raises
    ------
    DataError
        When the folder holds something else.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        if folder.exists() and not (folder / KEY).is_file():
            raise DataError(f"{folder}: is no folder of slabs, which would be kept there; move it elsewhere")
        # outdated slabs are deleted with the first new one, not earlier: the command may still be rejected
        self._is_outdated = folder.exists() and (folder / KEY).read_text(encoding="utf-8") != key

    def __len__(self) -> int:
        return 0 if self._is_outdated else len(list(self._folder.glob("*.npz")))

    def holds(self, slab: Slab) -> bool:
        """Check whether a finished slab is stored."""
        return not self._is_outdated and self._path(slab).is_file()

    def load(self, slab: Slab) -> FinishedSlab:
        """Return a stored slab; raise DataError if its file is damaged."""
        try:
            with self._path(slab).open("rb") as file, np.load(file) as kept:
                norms = zip(kept["iterations"].tolist(), kept["norms"].tolist(), strict=True)
                return FinishedSlab(kept["block"], list(norms))
        except (BadZipFile, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{self._path(slab)}: is damaged; remove it") from error

    def keep(self, slab: Slab, finished: FinishedSlab) -> None:
        """Store a finished slab."""
        if self._is_outdated:
            self.remove()
            self._is_outdated = False
        if not self._folder.exists():
            fresh = self._folder.with_name(f".{self._folder.name}.{os.getpid()}")
            fresh.mkdir()
            (fresh / KEY).write_text(self._key, encoding="utf-8")
            fresh.replace(self._folder)
        iterations, norms = zip(*finished.norms, strict=True)
        part = self._folder / f"{os.getpid()}.part"
        with part.open("wb") as file:
            np.savez(file, block=finished.block, iterations=iterations, norms=norms)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path(slab))

    def remove(self) -> None:
        """Delete the folder with all its slabs."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, slab: Slab) -> Path:
        return self._folder / "{:06d}-{:06d}.npz".format(*slab)
