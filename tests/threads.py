"""The threads that work is done on."""

import threading

from etcli.core.parallel import ordered_map


def wait_until_idle(threads: int) -> None:
    """Wait until each of the threads that calls share has come to an end of what it was given."""
    meeting = threading.Barrier(threads, timeout=60)
    for _ in ordered_map(lambda _: meeting.wait(), range(threads), threads=threads):
        pass
