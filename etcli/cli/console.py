"""Console: messages and progress on stderr, data on stdout."""

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
    """Reporter of a command on the terminal, and printer of its results.

    Parameters
    ----------
    command : str
        Name of the command, for messages.
    verbosity : int
        -1 quiet, 0 normal, 1 and more: also notes on details.
    """

    def __init__(self, command: str = "etcli", verbosity: int = 0) -> None:
        self.command = command
        self.verbosity = verbosity

    def note(self, text: str) -> None:
        """Print a detail, such as an automatic choice, with ``-v`` only."""
        if self.verbosity > 0:
            self._print(text, dim=True)

    def report(self, text: str) -> None:
        """Print a result of interest to every user."""
        if self.verbosity >= 0:
            self._print(text)

    def warn(self, text: str) -> None:
        """Warn of input that is accepted but may not be what the user meant."""
        if self.verbosity >= 0:
            self._print(f"WARNING: {self.command} - {text}", fg="yellow")

    def error(self, text: str) -> None:
        """Print in one line why the command failed."""
        self._print(f"ERROR: {self.command} - {' '.join(text.split())}", fg="red")

    def data(self, values: Mapping[str, Any] | list[Any]) -> None:
        """Print one JSON object (or list) on stdout."""
        # the code page of a Windows console lacks letters, which JSON can write in ASCII
        is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
        self.text(json.dumps(_for_json(values), ensure_ascii=not is_unicode, allow_nan=False))

    def text(self, text: str) -> None:
        """Print the result of the command on stdout."""
        with to_stdout():
            click.echo(text)

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """Show the progress of a long computation.

        A bar on a terminal; elsewhere nothing, or with ``-v`` a line every 10 %.

        Parameters
        ----------
        total : int
            Total number of steps.
        what : str
            Name of the computation, such as "reconstructing".

        Yields
        ------
        callable
            Function to call with the number of steps just done.
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

    def _print(self, text: str, **style: Any) -> None:
        # click omits colours if stderr is no terminal, but does not know NO_COLOR
        click.secho(text, err=True, color=False if os.environ.get("NO_COLOR") else None, **style)


@contextmanager
def to_stdout() -> Iterator[None]:
    """Name the standard output in errors of writing, except where its reader is gone."""
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


def _for_json(value: Any) -> Any:
    """Convert NumPy types to those of JSON; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: _for_json(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_for_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
