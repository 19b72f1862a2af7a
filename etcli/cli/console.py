"""What the user sees: messages and progress on stderr, data on stdout."""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import click


class Console:
    """Speaks for one command: the reporter of its session.

    Parameters
    ----------
    command : str
        Name of the command, for messages.
    verbosity : int
        -1 quiet, 0 normal, 1 and more: notes on what was decided.
    """

    def __init__(self, command: str = "etcli", verbosity: int = 0) -> None:
        self.command = command
        self.verbosity = verbosity

    def note(self, text: str) -> None:
        """Tell what was decided, to those who asked with ``-v``."""
        if self.verbosity > 0:
            self._say(text, dim=True)

    def report(self, text: str) -> None:
        """Tell a result that everybody wants to know."""
        if self.verbosity >= 0:
            self._say(text)

    def warn(self, text: str) -> None:
        """Warn of something that was understood but may not be what was meant."""
        if self.verbosity >= 0:
            self._say(f"WARNING: {self.command} - {text}", fg="yellow")

    def error(self, text: str) -> None:
        """Say in one line why the command failed."""
        self._say(f"ERROR: {self.command} - {' '.join(text.split())}", fg="red")

    def data(self, values: Mapping[str, Any] | list[Any]) -> None:
        """Print one JSON object (or list) on stdout."""
        self.text(json.dumps(_plain(values), ensure_ascii=False, allow_nan=False))

    def text(self, text: str) -> None:
        """Print what was asked for on stdout."""
        with to_stdout():
            click.echo(text)

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """Show how much of long work is done.

        A bar on a terminal; nothing elsewhere, or a line every tenth with ``-v``.

        Parameters
        ----------
        total : int
            Steps in all.
        what : str
            What is being done.

        Yields
        ------
        callable
            To be called with the number of steps just done.
        """
        if self.verbosity >= 0 and sys.stderr.isatty():
            with _bar(what) as bar:
                task = bar.add_task(what, total=total)
                yield partial(bar.advance, task)
            return
        done = 0

        def advance(steps: int) -> None:
            nonlocal done
            before, done = done, done + steps
            if 10 * done // total > 10 * before // total:
                self.note(f"{what}: {10 * (10 * done // total)} %")

        yield advance

    def _say(self, text: str, **style: Any) -> None:
        # click drops the colours by itself where stderr is no terminal; NO_COLOR is ours to respect
        click.secho(text, err=True, color=False if os.environ.get("NO_COLOR") else None, **style)


@contextmanager
def to_stdout() -> Iterator[None]:
    """Name the standard output where it cannot be written, unless nobody reads it any more."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def _bar(what: str) -> Any:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=RichConsole(stderr=True), transient=True)


def _plain(value: Any) -> Any:
    """Turn NumPy's types into what JSON knows; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
