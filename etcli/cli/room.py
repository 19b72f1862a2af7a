"""Room for work on a whole volume."""

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from etcli.cli.options import Settings
from etcli.core.errors import UsageError

if TYPE_CHECKING:
    from etcli.core.projectors import Device
    from etcli.core.solvers.total_variation import Zeros


@dataclass(frozen=True)
class WholeArrays:
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
    device: "Device"

    def check(self, settings: Settings) -> None:
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
        if least > settings.memory:
            raise UsageError(
                f"the work takes {ceil(least / (1 << 20))}M of memory, but only {settings.memory >> 20}M are "
                "allowed; allow more, make the volume thinner, or bin the views"
            )
        if needed > settings.memory:
            settings.console.report(
                f"{needed - least >> 20}M of the work are beyond --memory and lie in files of {self.folder}"
            )

    def zeros(self, settings: Settings) -> "Zeros":
        """Return what makes the arrays that may lie on disk."""
        if self.device.free_bytes() is not None:
            return self.device.zeros
        from etcli.core.solvers.total_variation import in_memory
        from etcli.io.scratch import zeros_on_disk

        fits = 4 * (self.volumes + self.others) <= settings.memory
        return in_memory if fits else zeros_on_disk(self.folder)
