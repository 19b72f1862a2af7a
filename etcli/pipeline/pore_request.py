"""Request for measures of pores and networks: which of them, and of which kind."""

from dataclasses import dataclass

from etcli.core.arguments import check_choice
from etcli.core.errors import UsageError
from etcli.core.lengths import Length

AXES = ("z", "y", "x")


@dataclass(frozen=True)
class PoreRequest:
    """What is measured of the space between labels, and of labels as a network.

    Parameters
    ----------
    pores : bool
        Closed pores, and the pieces, loops and chords of the solid.
    envelope : Length, optional
        Radius of the ball that closes the mouths of open pores.
    thickness : bool
        Local thickness.
    tortuosity : {"z", "y", "x"}, optional
        Axis of the tortuosity.
    """

    pores: bool = False
    envelope: Length | None = None
    thickness: bool = False
    tortuosity: str | None = None

    def __bool__(self) -> bool:
        return self.pores or self.thickness or self.tortuosity is not None

    @property
    def copies(self) -> int:
        """Arrays of the size of the volume that the work needs."""
        return 10 if self.tortuosity else 4 if self else 0

    def check(self) -> None:
        """Find contradictions; raise UsageError."""
        if self.envelope is not None:
            if not self.pores:
                raise UsageError("--envelope is for --pores; give both")
            if self.envelope.value <= 0:
                raise UsageError("--envelope must be more than 0: the radius of a ball")
        if self.tortuosity is not None:
            check_choice("axis", self.tortuosity, AXES)


NO_PORES = PoreRequest()
