"""The memory that work on a whole volume takes, and what lies on disk where it is not there."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path

from etcli.core.errors import UsageError
from etcli.core.projectors import Device
from etcli.core.solvers.total_variation import Zeros, in_memory
from etcli.io.scratch import zeros_on_disk
from etcli.pipeline.session import Session


@dataclass(frozen=True)
class MemoryBudget:
    """The arrays of work on a whole volume.

    Parameters
    ----------
    volumes : int
        Numbers in arrays that may lie on disk.
    others : int
        Numbers in others.
    folder : Path
        Where those on disk would be.
    device : Device
        Where the work is done; on a GPU nothing lies on disk.
    """

    volumes: int
    others: int
    folder: Path
    device: Device

    def check(self, session: Session) -> None:
        """Refuse what does not fit into the memory, and tell what goes to the disk."""
        needed, least = 4 * (self.volumes + self.others), 4 * self.others
        free = self.device.free_bytes()
        if free is not None:
            if needed > free:
                raise UsageError(
                    f"the work takes {ceil(needed / (1 << 20))}M of the GPU's memory, of which {free >> 20}M "
                    "are free; use --device cpu, make the volume thinner, or bin the views"
                )
            return
        if least > session.memory:
            raise UsageError(
                f"the work takes {ceil(least / (1 << 20))}M of memory, but only {session.memory >> 20}M are "
                "allowed; allow more, make the volume thinner, or bin the views"
            )
        if needed > session.memory:
            session.reporter.report(
                f"{needed - least >> 20}M of the work are beyond --memory and lie in files of {self.folder}"
            )

    def zeros(self, session: Session) -> Zeros:
        """Return what makes the arrays that may lie on disk."""
        if self.device.free_bytes() is not None:
            return self.device.zeros
        fits = 4 * (self.volumes + self.others) <= session.memory
        return in_memory if fits else zeros_on_disk(self.folder)
