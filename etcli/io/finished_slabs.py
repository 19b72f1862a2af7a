"""Store of finished slabs in a folder beside the output, from which an interrupted run is resumed."""

from etcli.core.reconstruction.slab_by_slab import FinishedSlab
from etcli.core.reconstruction.slab_plan import Slab
from etcli.io.keyed_folder import KeyedFolder


class FinishedSlabs:
    """Store of finished slabs for `etcli.core.reconstruction.slab_by_slab.reconstruct`.

    Parameters
    ----------
    folder : KeyedFolder
        Holds one file per slab.
    """

    def __init__(self, folder: KeyedFolder) -> None:
        self._files = folder

    def holds(self, slab: Slab) -> bool:
        """Check whether a finished slab is stored."""
        return self._files.holds(_name(slab))

    def load(self, slab: Slab) -> FinishedSlab:
        """Return a stored slab; raise DataError if its file is damaged."""
        kept = self._files.load(_name(slab))
        try:
            norms = zip(kept["iterations"].tolist(), kept["norms"].tolist(), strict=True)
            return FinishedSlab(kept["block"], list(norms))
        except (ValueError, KeyError) as error:
            raise self._files.damaged(_name(slab)) from error

    def keep(self, slab: Slab, finished: FinishedSlab) -> None:
        """Store a finished slab."""
        iterations, norms = zip(*finished.norms, strict=True)
        self._files.keep(_name(slab), {"block": finished.block, "iterations": iterations, "norms": norms})


def _name(slab: Slab) -> str:
    """Return the name of the file of a slab."""
    return "{:06d}-{:06d}".format(*slab)
