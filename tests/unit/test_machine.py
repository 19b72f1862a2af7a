from pathlib import Path

import pytest

from etcli.pipeline import machine_limits as machine

GIB = 1 << 30


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine of 16 CPUs and 64 GiB, whose files a test may add to."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", f"MemTotal: {128 << 20} kB\nMemFree: 1 kB\nMemAvailable:   {64 << 20} kB\n")
    return write


def test_without_groups_affinity_and_free_memory_count(fake) -> None:
    assert machine.available_threads() == 16
    assert machine.available_bytes() == 64 * GIB


def test_where_the_system_tells_nothing_there_is_a_modest_guess(fake, tmp_path: Path) -> None:
    (tmp_path / "proc" / "meminfo").unlink()
    assert machine.available_bytes() == 4 * GIB


@pytest.mark.parametrize(
    ("limit", "threads"),
    [
        ("max 100000", 16),
        ("400000 100000", 4),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("3200000 100000", 16),
    ],
)
def test_version_2_limits_the_processors(fake, limit: str, threads: int) -> None:
    fake("proc/self/cgroup", "0::/\n")
    fake("cgroup/cpu.max", f"{limit}\n")
    assert machine.available_threads() == threads


def test_the_strictest_group_from_the_own_to_the_root_holds(fake) -> None:
    fake("proc/self/cgroup", "0::/slurm/job/step\n")
    fake("cgroup/cpu.max", "1200000 100000")
    fake("cgroup/slurm/cpu.max", "800000 100000")
    fake("cgroup/slurm/job/cpu.max", "300000 100000")
    fake("cgroup/slurm/job/step/cpu.max", "max 100000")
    fake("cgroup/other/cpu.max", "100000 100000")
    assert machine.available_threads() == 3
    fake("cgroup/slurm/memory.max", f"{20 * GIB}")
    fake("cgroup/slurm/memory.current", f"{6 * GIB}")
    fake("cgroup/slurm/job/step/memory.max", "max")
    fake("cgroup/slurm/job/step/memory.current", f"{2 * GIB}")
    assert machine.available_bytes() == 14 * GIB


def test_cached_files_are_not_in_the_way(fake) -> None:
    fake("proc/self/cgroup", "0::/\n")
    fake("cgroup/memory.max", f"{16 * GIB}")
    fake("cgroup/memory.current", f"{16 * GIB}")
    fake("cgroup/memory.stat", f"anon {3 * GIB}\nactive_file {4 * GIB}\ninactive_file {9 * GIB}\n")
    assert machine.available_bytes() == 13 * GIB


def test_version_1_has_a_folder_a_controller(fake) -> None:
    fake("proc/self/cgroup", "9:name=systemd:/x\n5:cpu,cpuacct:/job\n4:memory:/job\n3:cpuset:/\n0::/\n")
    fake("cgroup/cpu/cpu.cfs_quota_us", "-1")
    fake("cgroup/cpu/cpu.cfs_period_us", "100000")
    fake("cgroup/cpu/job/cpu.cfs_quota_us", "250000")
    fake("cgroup/cpu/job/cpu.cfs_period_us", "50000")
    assert machine.available_threads() == 5
    fake("cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    fake("cgroup/memory/memory.usage_in_bytes", f"{30 * GIB}")
    fake("cgroup/memory/job/memory.limit_in_bytes", f"{8 * GIB}")
    fake("cgroup/memory/job/memory.usage_in_bytes", f"{7 * GIB}")
    stat = f"inactive_file 0\ntotal_active_file {GIB}\ntotal_inactive_file {2 * GIB}\n"
    fake("cgroup/memory/job/memory.stat", stat)
    assert machine.available_bytes() == 4 * GIB


def test_there_is_always_a_thread_and_some_memory(fake) -> None:
    fake("proc/self/cgroup", "0::/\n")
    fake("cgroup/cpu.max", "1000 100000")
    fake("cgroup/memory.max", "1000")
    fake("cgroup/memory.current", "999999")
    assert machine.available_threads() == 1
    assert machine.available_bytes() == 1 << 20
