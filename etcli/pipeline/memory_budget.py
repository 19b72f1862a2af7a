"""Memory budget of computations on a whole volume, whose arrays may be placed on disk."""

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
    """Size of the arrays of a computation on a whole volume.

    Parameters
    ----------
    volumes : int
        Elements of arrays that may be placed on disk.
    resident : int
        Elements of arrays that must be in memory.
    folder : Path
        Folder for arrays on disk.
    device : Device
        Device of the computation; with a GPU no array is placed on disk.
    """

    volumes: int
    resident: int
    folder: Path
    device: Device

    def check(self, session: Session) -> None:
        """Check that the arrays fit; raise UsageError if they do not, report those placed on disk."""
        needed, least = 4 * (self.volumes + self.resident), 4 * self.resident
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
                f"{needed - least >> 20}M of the work exceed --memory and are placed in files in "
                f"{self.folder}"
            )

    def fits(self, session: Session) -> bool:
        """Whether all arrays fit into the memory, so that none is placed on disk."""
        return 4 * (self.volumes + self.resident) <= session.memory

    def spare_bytes(self, session: Session) -> int:
        """Return how much memory of the device is left besides the arrays that are in it."""
        free = self.device.free_bytes()
        if free is not None:
            return free - 4 * (self.resident + self.volumes)
        return session.memory - 4 * (self.resident + self.volumes * self.fits(session))

    def zeros(self, session: Session) -> Zeros:
        """Return the function that creates the zero-filled arrays that may be placed on disk."""
        if self.device.free_bytes() is not None:
            return self.device.zeros
        return in_memory if self.fits(session) else zeros_on_disk(self.folder)
