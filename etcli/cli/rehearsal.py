"""Finding out before long work whether its outputs can be written."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from etcli.cli.options import Settings

if TYPE_CHECKING:
    from etcli.io.stack import Stack


class _Enough(Exception):
    """Ends the rehearsal, so that nothing stays of it."""


def check_series(settings: Settings, output: str, like: "Stack", *, sides: Iterable[str | None] = ()) -> None:
    """Refuse a series, or files beside it, that could not be written.

    For commands that know only after the work what the labels of their output say, and so open it then.
    """
    from etcli.io.save import Step, series_writer

    with (
        suppress(_Enough),
        settings.outputs() as outputs,
        series_writer(outputs, output, like, step=Step("", "")),
    ):
        for side in sides:
            if side is not None:
                outputs.path(side)
        raise _Enough
