"""Computation on the workers of a Dask cluster."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etcli.core.errors import DataError, UsageError
from etcli.core.geometry import SliceGeometry
from etcli.core.projectors import Device
from etcli.core.reconstruction.slab_plan import SlabPlan, plan_reconstruction
from etcli.core.solvers.slab_solver import SlabSolver
from etcli.pipeline.session import Session

ANSWER_S = 10
RETRIES = 3  # of a slab whose worker was lost or failed
MEMORY_SHARE = 0.7  # of a worker's memory that arrays may take


@dataclass(frozen=True)
class Workers:
    """Workers that reconstruct slabs: threads of this process, or those of a Dask cluster.

    Parameters
    ----------
    pool : Executor or None
        None for threads of this process.
    threads : int
        Number of slabs in work at the same time.
    memory : int
        Bytes for all workers together.
    waiting : int
        Bytes of this process for finished slabs that wait to be written.
    device : Device
        Device that the workers compute on.
    device_memory : int or None
        Bytes on the devices of all workers together, if these have memory of their own; None to ask the
        device.
    """

    pool: Executor | None
    threads: int
    memory: int
    waiting: int
    device: Device
    device_memory: int | None = None

    def plan(
        self, n_rows: int, geometry: SliceGeometry, solver: SlabSolver, *, held_bytes: int = 0
    ) -> SlabPlan:
        """Plan the slabs: how the slices are distributed over the workers.

        ``held_bytes`` are those of this process that are taken besides.
        """
        plan = plan_reconstruction(
            n_rows,
            geometry,
            solver,
            threads=self.threads,
            memory=self.memory,
            device=self.device,
            device_memory=self.device_memory,
            held_bytes=held_bytes if self.pool is None else 0,
        )
        if self.pool is None:
            return plan
        y0, y1 = plan.slabs[0]
        finished = 4 * geometry.thickness * geometry.width * (y1 - y0)
        return replace(plan, threads=max(1, min(plan.threads, (self.waiting - held_bytes) // finished - 1)))


@contextmanager
def connected_workers(session: Session, address: str | None, device: Device) -> Iterator[Workers]:
    """Connect to a cluster by the address or the file of its scheduler; None means this process."""
    if address is None:
        yield Workers(None, session.threads, session.memory, session.memory, device)
        return
    try:
        import distributed
    except ImportError as error:
        raise UsageError("--dask needs the package distributed: python -m pip install distributed") from error
    import logging
    from concurrent.futures import CancelledError

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # errors are reported in one line instead
    client = _connect(address)
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            raise DataError(f"{address}: this Dask cluster has no workers yet; start some")
        threads = sum(worker["nthreads"] for worker in workers)
        pool = client.get_executor(retries=RETRIES)
        on_gpu = device.name == "GPU"
        of_gpus = _gpu_memory(client, address, {w["id"]: w["nthreads"] for w in workers}) if on_gpu else None
        yield Workers(pool, threads, _worker_memory(session, workers), session.memory, device, of_gpus)
    except (CancelledError, distributed.KilledWorker, distributed.comm.CommClosedError) as error:
        raise DataError(f"{address}: the Dask cluster was lost; start again, with --resume") from error
    finally:
        client.close(timeout=ANSWER_S)


def _connect(address: str) -> Any:
    """Return a client of the scheduler, after checking that it answers."""
    import asyncio
    import json

    from distributed import Client
    from distributed.comm import connect

    async def check_connection(scheduler: str) -> None:
        await (await connect(scheduler, timeout=ANSWER_S)).close()

    try:
        file = Path(address)
        scheduler = json.loads(file.read_text(encoding="utf-8"))["address"] if file.is_file() else address
        asyncio.run(check_connection(scheduler))  # a client without a scheduler keeps trying, with messages
        return Client(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
        raise DataError(f"{address}: no Dask scheduler answers; is it running at this address?") from error


def _worker_memory(session: Session, workers: Any) -> int:
    """Return the memory of all workers, from the least memory per thread times the number of threads."""
    threads = sum(worker["nthreads"] for worker in workers)
    limits = [worker["memory_limit"] / worker["nthreads"] for worker in workers if worker["memory_limit"]]
    return int(MEMORY_SHARE * min(limits) * threads) if limits else session.memory


def _gpu_memory(client: Any, address: str, threads: Mapping[Any, int]) -> int:
    """Return the memory of all GPUs, from the least memory per thread times the number of threads.

    Every worker uses the GPU that its CUDA_VISIBLE_DEVICES names first.
    """
    from etcli.core.gpu import GPU, why_no_gpu

    for worker, reason in client.run(why_no_gpu).items():
        if reason is not None:
            raise DataError(f"{address}: no GPU for --device gpu at worker {worker}: {reason}")
    free = client.run(GPU.free_bytes)
    share = min(free[worker] / threads.get(worker, 1) for worker in free)
    return int(share * sum(threads.values()))
