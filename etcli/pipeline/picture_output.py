"""Pictures as output files of a command."""

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

from etcli.core.errors import UsageError
from etcli.io.outputs import Outputs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")


def check_picture(target: str | None) -> None:
    """Check that a picture has the ending of a known format; raise UsageError otherwise."""
    if target is not None and PurePath(target).suffix.lower() not in FORMATS:
        raise UsageError(
            f"{target}: cannot tell the format of the picture; end its name in {', '.join(FORMATS)}"
        )


def announce_picture(outputs: Outputs, target: str) -> Callable[["Figure"], None]:
    """Reserve the output file of a picture before a long computation; return the function to write it."""
    path = outputs.path(target)

    def write(figure: "Figure") -> None:
        from etcli.plotting.style import save

        save(figure, path, form=PurePath(target).suffix[1:].lower())

    return write


def save_picture(outputs: Outputs, target: str, figure: "Figure") -> None:
    """Write a figure as one of the outputs, in the format given by its ending."""
    announce_picture(outputs, target)(figure)
