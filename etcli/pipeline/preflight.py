"""Finding out before long work whether its outputs can be written."""

from collections.abc import Iterable
from contextlib import suppress

from etcli.core.series import TiltSeries
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.session import Session


class _EnoughError(Exception):
    """Ends the trial, so that nothing stays of it."""


def check_series_output(
    session: Session, output: str, like: TiltSeries, *, sides: Iterable[str | None] = ()
) -> None:
    """Refuse a series, or files beside it, that could not be written.

    For work that knows only at its end what the labels of its output say, and so opens it then.
    """
    with (
        suppress(_EnoughError),
        session.outputs() as outputs,
        series_writer(outputs, output, like, step=ProcessingStep("", "")),
    ):
        for side in sides:
            if side is not None:
                outputs.path(side)
        raise _EnoughError
