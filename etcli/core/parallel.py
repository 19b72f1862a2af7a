"""Work on many views at once, in order and in bounded memory."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_here = threading.local()


def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that know that they are some."""
    return ThreadPoolExecutor(threads, initializer=setattr, initargs=(_here, "is_worker", True))


_kept = cache(_pool)  # calls share threads: some are as short as starting one
os.register_at_fork(after_in_child=_kept.cache_clear)  # a child has none of them


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
        Pure; runs on several threads, so it should spend its time where the interpreter lock is free.
    items : iterable
        Drawn one at a time as results are taken.
    threads : int
        Number of threads; with 1 nothing is started.
    pool : Executor, optional
        Where to work instead, such as on other machines; `threads` is then the number of workers there.

    Yields
    ------
    object
        Results in the order of the items.
    """
    if threads <= 1 and not pool:
        yield from map(function, items)
        return
    # what runs on some threads must not wait for others of the same
    own = _pool(threads) if not pool and hasattr(_here, "is_worker") else None
    workers = pool or own or _kept(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(workers.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # an interrupted command ends at once, whatever its threads are in the middle of
        for future in waiting:
            future.cancel()
        if own:
            own.shutdown(wait=False)
