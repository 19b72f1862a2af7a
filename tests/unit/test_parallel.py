"""Work on many items at once."""

import os
import signal
import threading
import time

import pytest

from etcli.core.parallel import ordered_map


def test_results_come_in_order_and_items_are_drawn_as_they_are_taken() -> None:
    drawn = []

    def items():
        for k in range(20):
            drawn.append(k)
            yield k

    def slow_first(k: int) -> int:
        time.sleep(0.02 if k % 4 == 0 else 0)
        return k * k

    for k, square in enumerate(ordered_map(slow_first, items(), threads=3)):
        assert square == k * k
        assert len(drawn) <= k + 4


def test_so_many_threads_work_at_the_same_time() -> None:
    meeting = threading.Barrier(4, timeout=10)  # breaks where fewer come
    list(ordered_map(lambda _: meeting.wait(), range(8), threads=4))


def test_what_runs_on_threads_may_use_threads_itself() -> None:
    def inner(k: int) -> int:
        return sum(ordered_map(lambda j: k * j, range(5), threads=2))

    def outer(k: int) -> int:
        return sum(ordered_map(inner, [k, 2 * k, 3 * k], threads=2))

    assert list(ordered_map(outer, range(6), threads=2)) == [60 * k for k in range(6)]


def test_an_error_ends_it_and_what_was_not_begun_is_not() -> None:
    begun = []

    def work(k: int) -> None:
        begun.append(k)
        time.sleep(0.01)
        if k == 2:
            raise ValueError(k)

    with pytest.raises(ValueError, match="2"):
        list(ordered_map(work, range(100), threads=2))
    time.sleep(0.05)
    assert len(begun) <= 6
    assert list(ordered_map(abs, [-1, 2], threads=2)) == [1, 2]  # the threads are as good as before


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert list(ordered_map(abs, [-1, -2], threads=2)) == [1, 2]
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends it where it waits for threads that it does not have
        try:
            os._exit(7 if list(ordered_map(abs, [-3], threads=2)) == [3] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
