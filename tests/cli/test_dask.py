"""``recon --dask`` on a cluster of two processes of this machine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli, failure, images, without_run, write_series

RECON = ("recon", "-q", "--background", "none")
ETCLI = [sys.executable, "-m", "etcli"]
DASK = [sys.executable, "-m", "dask"]


class Cluster:
    """A scheduler and two workers, each a process of one thread."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        where = ("--scheduler-file", str(self.file), "--no-dashboard")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        self.scheduler = subprocess.Popen([*DASK, "scheduler", "--port", "0", *where], **quiet)
        worker = [*DASK, "worker", "--no-nanny", "--nthreads", "1", "--memory-limit", "1GB", *where]
        self.workers = [subprocess.Popen(worker, **quiet) for _ in range(2)]
        from distributed import Client

        deadline = time.monotonic() + 60
        while not self.file.exists():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with Client(scheduler_file=str(self.file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

    def stop(self) -> None:
        """End all processes."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


def test_workers_see_the_file_of_today(cluster: Cluster, tmp_path: Path) -> None:
    """A mask, a choice of views, and a file that is replaced by another of the same size."""
    how = [*RECON, "--iterations", "3", "--exclude", "2", "--mask", "mask.mrc", "--thickness", "30px"]
    mask = np.zeros((30, 40, 90), np.float32)
    mask[4:20, :, 10:70] = 1
    mrcfile.write(tmp_path / "mask.mrc", mask)
    for seed in (0, 1):
        (tmp_path / "a.mrc").unlink(missing_ok=True)
        write_series(tmp_path / "a.mrc", images(21, 40, 90) + 9 * seed, np.linspace(-60, 60, 21), axis_deg=0)
        etcli(*how, "a.mrc", "here.mrc", cwd=tmp_path)
        command = [*ETCLI, *how, "--dask", cluster.file, "a.mrc", "there.mrc"]
        subprocess.run(command, cwd=tmp_path, check=True)
        assert without_run(tmp_path / "there.mrc") == without_run(tmp_path / "here.mrc")


def test_a_worker_that_is_killed_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    write_series(tmp_path / "a.mrc", images(21, 300, 90), np.linspace(-60, 60, 21), axis_deg=0)
    how = (*RECON, "--iterations", "150", "--views", "1-15,17-21")
    etcli(*how, "-j", "2", "--error-curve", "a.csv", "a.mrc", "here.mrc", cwd=tmp_path)
    command = [
        *ETCLI,
        *how,
        "--dask",
        cluster.file,
        "--resume",
        "--error-curve",
        "b.csv",
        "a.mrc",
        "there.mrc",
    ]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and not list((tmp_path / "there.mrc.resume").glob("*.npz")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.poll() is None
        cluster.workers[0].kill()
        assert process.wait(timeout=120) == 0
    assert without_run(tmp_path / "there.mrc") == without_run(tmp_path / "here.mrc")
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "a.mrc", images(21, 30, 90), np.linspace(-60, 60, 21), axis_deg=0)
    monkeypatch.setattr("etcli.pipeline.dask_cluster.ANSWER_S", 1)
    how = (*RECON, "--dask", "tcp://127.0.0.1:9")
    line = failure(*how, tmp_path / "a.mrc", tmp_path / "v.mrc")
    assert "tcp://127.0.0.1:9: no Dask scheduler answers" in line
    line = failure(*how, "--method", "fista", tmp_path / "a.mrc", tmp_path / "v.mrc", status=2)
    assert "--dask is for work slab by slab" in line
    assert not (tmp_path / "v.mrc").exists()
