"""What holds for a piece of work as a whole: threads, memory, device, and who is told of it."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from etcli.core.errors import EtcliWarning
from etcli.pipeline.machine_limits import available_bytes, available_threads

if TYPE_CHECKING:
    from etcli.io.outputs import Outputs

P = ParamSpec("P")
R = TypeVar("R")


def with_one_blas_thread(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate work whose threads are ours: those of BLAS wait for each other on matrices as small as a view.

    The program says so to BLAS when it starts; in somebody else's process it is said for as long as it lasts.
    """

    @wraps(work)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1, user_api="blas"):
            return work(*args, **kwargs)

    return limited


class Reporter(Protocol):
    """Who is told how the work goes."""

    def note(self, text: str) -> None:
        """Tell what was decided on the way."""

    def report(self, text: str) -> None:
        """Tell a result that everybody wants to know."""

    def warn(self, text: str) -> None:
        """Warn of something that was understood but may not be what was meant."""

    def progress(self, total: int, what: str) -> AbstractContextManager[Callable[[int], None]]:
        """Count the steps of long work: the context gives what is called with the number just done."""


class Silent:
    """Tells nothing but warnings, which become Python's."""

    def note(self, text: str) -> None:
        """Keep silent."""

    def report(self, text: str) -> None:
        """Keep silent."""

    def warn(self, text: str) -> None:
        """Issue an `EtcliWarning`."""
        warnings.warn(text, EtcliWarning, stacklevel=3)

    @contextmanager
    def progress(self, total: int, what: str) -> Iterator[Callable[[int], None]]:
        """Keep silent."""
        yield lambda steps: None


class Mute(Silent):
    """Tells nothing at all, for work on trial."""

    def warn(self, text: str) -> None:
        """Keep silent."""


@dataclass(frozen=True)
class Session:
    """The resources of some work, read once at its start.

    Parameters
    ----------
    threads : int
        Threads to work with.
    memory : int
        Bytes that the working set may take.
    device : {"auto", "cpu", "gpu"}
        Where to compute.
    reporter : Reporter
        Who is told how it goes.
    clobber : bool
        Whether files that exist may be replaced.
    overwrite : bool
        Whether even images may be that etcli did not write.
    inputs : list of str
        Files that were read so far, whose place no output may take.
    """

    threads: int = field(default_factory=available_threads)
    memory: int = field(default_factory=lambda: available_bytes() // 2)
    device: str = "auto"
    reporter: Reporter = field(default_factory=Silent)
    clobber: bool = True
    overwrite: bool = False
    inputs: list[str] = field(default_factory=list)

    def outputs(self) -> "Outputs":
        """Open the set of files that the work writes."""
        from etcli.io.outputs import Outputs

        return Outputs(clobber=self.clobber, overwrite=self.overwrite, inputs=self.inputs)

    def reads(self, *names: str | Path | None) -> None:
        """Remember files as inputs."""
        self.inputs.extend(str(name) for name in names if name is not None)

    def overwriting(self) -> "Session":
        """Session whose outputs may replace even images that etcli did not write."""
        return replace(self, overwrite=True)

    def muted(self) -> "Session":
        """Session whose work nobody is told of."""
        return replace(self, reporter=Mute())

    def track(self, items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
        """Yield the items and count them as they are used up."""
        with self.reporter.progress(total, what) as advance:
            for item in items:
                yield item
                advance(1)
