"""What this process may use of the machine."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """Return the CPUs this process may use, by its affinity and its control group."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    words = _words(CGROUP / "cpu.max")
    if len(words) == 2 and words[0].isdigit():
        threads = min(threads, max(1, round(int(words[0]) / int(words[1]))))
    return threads


def available_bytes() -> int:
    """Return the memory that is free for this process, in bytes."""
    free = 4 << 30
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) << 10
    limit, used = _words(CGROUP / "memory.max"), _words(CGROUP / "memory.current")
    if limit and limit[0].isdigit() and used:
        free = min(free, int(limit[0]) - int(used[0]))
    return max(free, 1 << 20)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
