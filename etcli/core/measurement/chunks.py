"""Work on the sections of a volume, or on many points, in parallel."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from etcli.core.parallel import ordered_map

CHUNKS_PER_THREAD = 4


def in_chunks(work: Callable[[int, int], object], n: int, threads: int) -> None:
    """Call ``work(first, last)`` for ranges that cover 0 to `n` - 1, on several threads.

    Parameters
    ----------
    work : callable
        Does the items `first` to `last` - 1; its results must not depend on how they are divided.
    n : int
    threads : int
    """
    edges = np.linspace(0, n, min(threads * CHUNKS_PER_THREAD, n) + 1).astype(int).tolist()
    for _ in ordered_map(lambda part: work(*part), pairwise(edges), threads=threads):
        pass
