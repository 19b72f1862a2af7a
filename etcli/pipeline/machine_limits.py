"""Limits of this process on the machine: CPUs and memory."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")


def available_threads() -> int:
    """Return the number of CPUs that this process may use, by its affinity and its control groups."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _groups("cpu"):
        words = _words(group / "cpu.max") or [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(group / name)
        ]
        if len(words) == 2 and words[0].isdigit():  # not "max" or -1, which set no limit
            threads = min(threads, max(1, round(int(words[0]) / int(words[1]))))
    return threads


def available_bytes() -> int:
    """Return the memory that is free for this process, in bytes."""
    free = _free_on_windows() or 4 << 30
    for line in _lines(PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) << 10
    for group in _groups("memory"):
        limit = _words(group / "memory.max") or _words(group / "memory.limit_in_bytes")
        used = _words(group / "memory.current") or _words(group / "memory.usage_in_bytes")
        if limit and limit[0].isdigit() and used:
            free = min(free, int(limit[0]) - int(used[0]) + _cached_bytes(group))
    return max(free, 1 << 20)


def _free_on_windows() -> int:
    """Return the free memory that Windows tells, in bytes; 0 on other systems."""
    import ctypes

    if not hasattr(ctypes, "windll"):
        return 0
    # MEMORYSTATUSEX: its own length, the load in percent, then seven sizes, the second of what is free
    status = (ctypes.c_uint64 * 8)(64)
    return int(status[2]) if ctypes.windll.kernel32.GlobalMemoryStatusEx(status) else 0


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups, of version 1 or 2, whose limits hold for this process."""
    for line in _lines(PROC / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root, own = CGROUP / (controller if controllers else ""), PurePosixPath(path)
        for group in (own, *own.parents):
            yield root / group.relative_to("/")


def _cached_bytes(group: Path) -> int:
    """Return the file cache of a group in bytes, which counts as used but is freed when memory is needed."""
    fields = dict(line.split() for line in _lines(group / "memory.stat"))
    return sum(
        int(fields.get(f"total_{name}", fields.get(name, 0))) for name in ("active_file", "inactive_file")
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
