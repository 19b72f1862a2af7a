"""Threads that work on short tasks together and meet many times a millisecond."""

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from etcli.core.multislice._meeting import meet

NOBODY_WAITS = 1 << 40
"""Number of arrivals that no meeting needs."""


class Team:
    """Threads that work together: the calling one, and others that are started at the first use.

    A team works for one caller at a time.

    Parameters
    ----------
    size : int
        Number of threads.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._others = ThreadPoolExecutor(max(size - 1, 1))

    def run(self, work: Callable[[int, Callable[[], None]], None], size: int | None = None) -> None:
        """Call ``work(member, meet)`` on several threads at the same time, and wait for all of them.

        Parameters
        ----------
        work : callable
            Gets its number in the team, from 0, and a function without arguments which returns when all
            members have called it equally often. It waits actively: only for work that takes equally long on
            all threads.
        size : int, optional
            Number of members, up to that of threads; all by default.
        """
        n = self.size if size is None else size
        arrivals, give_way = np.zeros(1, np.int64), _give_way()
        counter = arrivals.ctypes.data

        def member(number: int) -> None:
            expected = 0

            def wait() -> None:
                nonlocal expected
                expected += n
                meet(counter, expected, give_way)

            try:
                work(number, wait if n > 1 else _go_on)
            except BaseException:
                arrivals[0] += NOBODY_WAITS
                raise

        try:
            others = [self._others.submit(member, number) for number in range(1, n)]
            member(0)
            for other in others:
                other.result()
        except BaseException:
            arrivals[0] += NOBODY_WAITS  # an interrupted command leaves no thread waiting
            raise


def _go_on() -> None:
    """Meet nobody."""


@cache
def _give_way() -> int:
    """Return the address of the system's function that lets other threads run."""
    on_windows = hasattr(ctypes, "WinDLL")
    function = ctypes.CDLL("kernel32").SwitchToThread if on_windows else ctypes.CDLL(None).sched_yield
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address
    return address
