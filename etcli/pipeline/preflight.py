"""Preflight check before a long computation: whether its outputs can be written."""

from collections.abc import Iterable
from contextlib import suppress

from etcli.core.series import TiltSeries
from etcli.io.writers import ProcessingStep, series_writer
from etcli.pipeline.session import Session


class _CheckedError(Exception):
    """Error raised at the end of the check, so that the trial outputs are removed."""


def check_series_output(
    session: Session, output: str, like: TiltSeries, *, sides: Iterable[str | None] = ()
) -> None:
    """Check that a series, and files beside it, can be written; raise UsageError or DataError otherwise.

    For commands that open their outputs at the end, when the labels of these are known.
    """
    with (
        suppress(_CheckedError),
        session.outputs() as outputs,
        series_writer(outputs, output, like, step=ProcessingStep("", "")),
    ):
        for side in sides:
            if side is not None:
                outputs.path(side)
        raise _CheckedError
