"""Pictures as output files of a command."""

from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

from etcli.core.errors import UsageError
from etcli.io.outputs import Outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from etcli.plotting.style import Page

FORMATS = (".png", ".pdf", ".svg")


class WritePicture(Protocol):
    """Function that writes the figure drawn for a page."""

    def __call__(self, figure: "Figure", page: "Page | None" = None) -> None:
        """Write the figure."""


def check_picture(target: str | None) -> None:
    """Check that a picture has the ending of a known format; raise UsageError otherwise."""
    if target is not None and PurePath(target).suffix.lower() not in FORMATS:
        raise UsageError(
            f"{target}: cannot tell the format of the picture; end its name in {', '.join(FORMATS)}"
        )


def announce_picture(outputs: Outputs, target: str) -> WritePicture:
    """Reserve the output file of a picture before a long computation; return the function to write it."""
    path = outputs.path(target)

    def write(figure: "Figure", page: "Page | None" = None) -> None:
        from etcli.plotting.style import USUAL, save

        save(figure, path, form=PurePath(target).suffix[1:].lower(), page=page or USUAL)

    return write


def save_picture(outputs: Outputs, target: str, figure: "Figure") -> None:
    """Write a figure as one of the outputs, in the format given by its ending."""
    announce_picture(outputs, target)(figure)
