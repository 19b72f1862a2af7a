"""Work on many views at once, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int = 1
) -> Iterator[Result]:
    """Yield ``function(item)`` for every item, in order, with at most ``threads + 1`` results in flight.

    Parameters
    ----------
    function : callable
        Pure; runs on several threads, so it should spend its time where the interpreter lock is free.
    items : iterable
        Drawn one at a time as results are taken.
    threads : int
        Number of threads; with 1 nothing is started.

    Yields
    ------
    object
        Results in the order of the items.
    """
    if threads <= 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # an interrupted command ends at once, whatever its threads are in the middle of
        pool.shutdown(wait=False, cancel_futures=True)
