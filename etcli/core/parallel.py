"""Parallel map over many items, such as views or slabs, with results in order and bounded memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_thread_local = threading.local()


def _pool(threads: int) -> ThreadPoolExecutor:
    """Create a thread pool; each of its threads is marked as a worker."""
    return ThreadPoolExecutor(threads, initializer=setattr, initargs=(_thread_local, "is_worker", True))


_shared_pool = cache(_pool)  # kept between calls: some calls take no longer than starting a thread
if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_shared_pool.cache_clear)  # a forked process has none of the threads


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int = 1,
    pool: Executor | None = None,
) -> Generator[Result, None, None]:
    """Yield ``function(item)`` for every item, in order, with at most ``threads + 1`` results in flight.

    Parameters
    ----------
    function : callable
        Pure; runs on several threads, so it should spend its time in code that releases the interpreter lock.
    items : iterable
        Read one at a time, as results are consumed.
    threads : int
        Number of threads; with 1 no thread is started.
    pool : Executor, optional
        Workers to use instead of threads, for example on other machines; `threads` is then their number.

    Yields
    ------
    object
        Results in the order of the items.
    """
    if threads <= 1 and not pool:
        yield from map(function, items)
        return
    # a worker must not wait for results of its own pool, which could deadlock: it gets a pool of its own
    own_pool = _pool(threads) if not pool and hasattr(_thread_local, "is_worker") else None
    workers = pool or own_pool or _shared_pool(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(workers.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # an interrupted command ends at once, without waiting for its threads
        for future in waiting:
            future.cancel()
        if own_pool:
            own_pool.shutdown(wait=False)
