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


def _enlist() -> None:
    """Mark the thread as one of a pool's."""
    _here.is_worker = True


@cache
def _kept(threads: int) -> ThreadPoolExecutor:
    """Return the pool of so many threads that calls share: some are as short as starting a thread."""
    return ThreadPoolExecutor(threads, initializer=_enlist)


os.register_at_fork(after_in_child=_kept.cache_clear)  # a child has none of the threads


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
    # what runs on a pool must not wait for others on it
    own = None if pool or not hasattr(_here, "is_worker") else ThreadPoolExecutor(threads)
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
