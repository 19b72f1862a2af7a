"""Slabs that are finished, kept in a folder beside the output until all are."""

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
    """A folder of slabs, for `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    A slab appears in it whole or not at all. What was kept under another key is thrown away.

    Parameters
    ----------
    folder : path
        It is made when the first slab comes.
    key : str
        Everything the slabs depend on.

    Raises
    ------
    DataError
        When the folder holds something else.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        if folder.exists() and not (folder / KEY).is_file():
            raise DataError(f"{folder}: is in the way; slabs would be kept there, so move it elsewhere")
        # others go when the first of ours comes, and not before: until then the command may be refused
        self._others = folder.exists() and (folder / KEY).read_text(encoding="utf-8") != key

    def __len__(self) -> int:
        return 0 if self._others else len(list(self._folder.glob("*.npz")))

    def holds(self, slab: Slab) -> bool:
        """Tell whether a slab was finished before."""
        return not self._others and self._path(slab).is_file()

    def load(self, slab: Slab) -> FinishedSlab:
        """Return a slab that was finished before; a DataError where its file is damaged."""
        try:
            with self._path(slab).open("rb") as file, np.load(file) as kept:
                norms = zip(kept["iterations"].tolist(), kept["norms"].tolist(), strict=True)
                return FinishedSlab(kept["block"], list(norms))
        except (BadZipFile, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{self._path(slab)}: is damaged; remove it") from error

    def keep(self, slab: Slab, finished: FinishedSlab) -> None:
        """Keep a slab."""
        if self._others:
            self.remove()
            self._others = False
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
        """Throw all of it away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, slab: Slab) -> Path:
        return self._folder / "{:06d}-{:06d}.npz".format(*slab)
