"""Working on the machines of a Dask cluster."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etcli.cli.options import Settings
from etcli.core.errors import DataError, UsageError

ANSWER_S = 10
RETRIES = 3  # of a slab whose worker was lost or failed
SHARE = 0.7  # of a worker's memory that arrays may take


@dataclass(frozen=True)
class Workers:
    """Where slabs can be worked on.

    Parameters
    ----------
    pool : Executor or None
        None for threads of this process.
    threads : int
        How many at once.
    memory : int
        Bytes for all of them.
    """

    pool: Executor | None
    threads: int
    memory: int


@contextmanager
def workers(settings: Settings, address: str | None) -> Iterator[Workers]:
    """Connect to a cluster by its scheduler's address, or scheduler file; None is this machine."""
    if address is None:
        yield Workers(None, settings.threads, settings.memory)
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--dask needs the package distributed: pip install 'etcli[distributed]'") from error

    how = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**how, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{address}: no Dask scheduler answers; is the address right, and does it run?"
        ) from error
    with client:
        found = client.scheduler_info(n_workers=-1)["workers"].values()
        if not found:
            raise DataError(f"{address}: this Dask cluster has no workers yet; start some")
        threads = sum(worker["nthreads"] for worker in found)
        yield Workers(client.get_executor(retries=RETRIES), threads, _memory(settings, found))


def _memory(settings: Settings, found: Any) -> int:
    """Return the memory of all workers together if each thread had as little as the poorest."""
    threads = sum(worker["nthreads"] for worker in found)
    limits = [worker["memory_limit"] / worker["nthreads"] for worker in found if worker["memory_limit"]]
    return int(SHARE * min(limits) * threads) if limits else settings.memory
