"""Session: threads, memory, device and reporter of a computation."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from etcli.core.arguments import check_choice
from etcli.core.errors import EtcliWarning
from etcli.pipeline.machine_limits import available_bytes, available_threads

if TYPE_CHECKING:
    from etcli.io.outputs import Outputs

P = ParamSpec("P")
R = TypeVar("R")


def with_one_blas_thread(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that uses etcli's own threads, so that BLAS uses one thread while it runs.

    Several threads of BLAS would wait for each other on matrices as small as a view. The program limits BLAS
    when it starts; in the process of another program the limit lasts as long as the function.
    """

    @wraps(work)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1, user_api="blas"):
            return work(*args, **kwargs)

    return limited


class Reporter(Protocol):
    """Interface of the receivers of messages and progress."""

    def note(self, text: str) -> None:
        """Report a detail, such as an automatic choice."""

    def report(self, text: str) -> None:
        """Report a result of interest to every user."""

    def warn(self, text: str) -> None:
        """Warn of input that is accepted but may not be what the user meant."""

    def progress(self, total: int, what: str) -> AbstractContextManager[Callable[[int], None]]:
        """Show the progress of a long computation: the context yields a function of the steps just done."""


class Silent:
    """Reporter that passes on only warnings, as Python warnings."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def report(self, text: str) -> None:
        """Do nothing."""

    def warn(self, text: str) -> None:
        """Issue an `EtcliWarning`."""
        warnings.warn(text, EtcliWarning, stacklevel=3)

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """Yield a function that does nothing."""
        yield lambda steps: None


class Mute(Silent):
    """Reporter that passes on nothing, not even warnings, for trial runs."""

    def warn(self, text: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Session:
    """Resources and settings of a computation: threads, memory, device, reporter, outputs.

    Parameters
    ----------
    threads : int
        Number of threads; by default all that this process may use.
    memory : int
        Memory budget in bytes; by default half of the free memory.
    device : {"auto", "cpu", "gpu"}
        Device to compute on.
    reporter : Reporter
        Receives messages and progress; by default only warnings are passed on, as Python warnings.
    clobber : bool
        Whether existing files may be replaced.
    overwrite : bool
        Whether even images that etcli did not write may be replaced.
    inputs : list of str
        Files read so far, which no output may replace.
    command : tuple of str
        Command line of the program, for the history of its outputs.
    facts : dict of str to str
        What is known of inputs by their names, in words, for the history.
    """

    threads: int = field(default_factory=available_threads)
    memory: int = field(default_factory=lambda: available_bytes() // 2)
    device: str = "auto"
    reporter: Reporter = field(default_factory=Silent)
    clobber: bool = True
    overwrite: bool = False
    inputs: list[str] = field(default_factory=list)
    command: tuple[str, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("device", self.device, ("auto", "cpu", "gpu"))

    def outputs(self) -> "Outputs":
        """Create the set of output files."""
        from etcli.io.history import Run
        from etcli.io.outputs import Outputs

        run = Run(self.command, self.inputs, self.facts)
        return Outputs(clobber=self.clobber, overwrite=self.overwrite, inputs=self.inputs, run=run)

    def reads(self, *names: str | Path | None) -> None:
        """Record files as inputs, which no output may replace."""
        self.inputs.extend(str(name) for name in names if name is not None)

    def overwriting(self) -> "Session":
        """Copy of the session whose outputs may replace even images that etcli did not write."""
        return replace(self, overwrite=True)

    def muted(self) -> "Session":
        """Copy of the session without any messages."""
        return replace(self, reporter=Mute())

    def track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        """Yield the items, and show the progress."""
        with self.reporter.progress(total, what) as advance:
            for item in items:
                yield item
                advance(1)
