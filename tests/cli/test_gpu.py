"""``--device`` and ``--backend``, with a stand-in for CuPy where there is no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli, failure, images, write_series, write_stack
from tests.gpu import STAND_IN, relative

pytestmark = pytest.mark.usefixtures("coarse_pictures")

TILTS = np.linspace(-60, 60, 21)
GPU = ("--device", "gpu", "-v")
CPU = ("--device", "cpu")


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Write a series of 20 rows, 30 pixels wide."""
    return write_series(tmp_path / "a.mrc", images(21, 20, 30), TILTS, axis_deg=0)


def recon(folder: Path, name: str, *how: object) -> tuple[np.ndarray, str]:
    run = etcli("recon", "--background", "none", *how, folder / "a.mrc", folder / name)
    with mrcfile.open(folder / name) as file:
        return np.array(file.data), run.err


@pytest.mark.parametrize(
    "how",
    [
        ("--iterations", 5, "--nonnegative"),
        ("--method", "sart", "--iterations", 2, "--kernel", "strip"),
        ("--method", "fista", "--iterations", 5, "--weight", 900, "--thickness", "16px"),
        ("--method", "fista", "--iterations", 3, "--thickness", "auto"),
        ("--method", "fbp", "--filter", "hann"),
        ("--method", "dart", "--levels", "0,9,22", "--iterations", 3),
        ("--method", "resire", "--iterations", 4, "--half-sets"),
        ("--method", "resire", "--iterations", 3, "--x-tilt", "4", "--thickness", "16px"),
        ("--method", "fista", "--iterations", 3, "--weight", "auto", "--x-tilt", "4", "--thickness", "16px"),
        ("--iterations", 6, "--plot", "p.png", "--error-curve", "e.csv"),
    ],
    ids=lambda how: " ".join(map(str, how)),
)
def test_the_volume_is_that_of_the_cpu(gpu, series, tmp_path, monkeypatch, how) -> None:
    monkeypatch.chdir(tmp_path)
    expected, _ = recon(tmp_path, "cpu.mrc", *CPU, *how)
    found, said = recon(tmp_path, "gpu.mrc", *GPU, *how)
    assert "computing on the GPU: " in said
    if "dart" in how:
        assert np.mean(found != expected) < 1e-2
    else:
        assert relative(found, expected) < (5e-3 if "auto" in how else 5e-5)


def test_auto_uses_the_gpu_and_says_so(gpu, series, tmp_path) -> None:
    _, said = recon(tmp_path, "v.mrc", "-v", "--iterations", 1)
    assert "computing on the GPU: " in said
    _, said = recon(tmp_path, "v.mrc", "-v", "--iterations", 1, "--device", "cpu")
    assert "GPU" not in said


def test_reprojection(gpu, tmp_path) -> None:
    write_stack(tmp_path / "a.mrc", images(21, 20, 30))
    for device in ("cpu", "gpu"):
        etcli(
            "project",
            "--device",
            device,
            "--range",
            -60,
            60,
            10,
            tmp_path / "a.mrc",
            tmp_path / f"{device}.mrc",
        )
    with mrcfile.open(tmp_path / "cpu.mrc") as one, mrcfile.open(tmp_path / "gpu.mrc") as other:
        assert relative(other.data, one.data) < 1e-6


def test_work_goes_on_where_it_was_left(gpu, series, tmp_path) -> None:
    expected, _ = recon(tmp_path, "cpu.mrc", *CPU, "--method", "fbp", "--resume")
    found, _ = recon(tmp_path, "gpu.mrc", *GPU, "--method", "fbp", "--resume")
    assert relative(found, expected) < 1e-5


def test_a_volume_that_does_not_fit_is_refused(stand_in, series, tmp_path, monkeypatch) -> None:
    import cupy

    monkeypatch.setattr(cupy.Memory, "total", cupy.Memory.used + (1 << 20))
    how = ("recon", "-q", "--device", "gpu", "--method", "fista", "--weight", "1")
    line = failure(*how, series, tmp_path / "v.mrc", status=2)
    assert "of the GPU's memory, of which 0M are free; use --device cpu" in line
    how = ("--method", "fista", "--weight", 1, "--iterations", 1)
    found, said = recon(tmp_path, "v.mrc", "-v", *how)
    assert "too little memory is free on the GPU; computing on the CPU" in said
    np.testing.assert_array_equal(found, recon(tmp_path, "w.mrc", *CPU, *how)[0])


class TestWithoutGpu:
    @pytest.fixture(autouse=True)
    def no_cupy(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "cupy", None)  # importing it fails

    def test_gpu_is_refused_with_a_remedy(self, series, tmp_path) -> None:
        line = failure("recon", "-q", "--device", "gpu", series, tmp_path / "v.mrc", status=2)
        assert line == (
            "ERROR: recon - --device gpu: the package cupy is missing; python -m pip install "
            "'cupy-cuda12x[ctk]', or 'cupy-cuda13x[ctk]' for drivers of CUDA 13, or use --device cpu"
        )

    def test_auto_computes_on_the_cpu_and_says_why(self, series, tmp_path) -> None:
        _, said = recon(tmp_path, "v.mrc", "-v", "--iterations", 1)
        assert "computing on the CPU: the package cupy is missing" in said

    def test_the_environment_counts(self, series, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("ETCLI_DEVICE", "gpu")
        assert "cupy is missing" in failure("recon", "-q", series, tmp_path / "v.mrc", status=2)
        etcli("bin", series, tmp_path / "b.mrc")  # has no work for a GPU


@pytest.mark.parametrize("before", [True, False])
def test_commands_without_work_for_a_gpu_refuse_it(series, tmp_path, before) -> None:
    device = ("--device", "gpu")
    line = failure(*(device * before), "bin", *(device * (not before)), series, tmp_path / "b.mrc", status=2)
    assert line == "ERROR: bin - this command cannot use a GPU; leave --device out, or give auto or cpu"


def test_both_backends_agree(series, tmp_path) -> None:
    pytest.importorskip("astra")
    weights = tmp_path / "w.txt"
    weights.write_text("1\n" * 20 + "2\n")
    for how in (("--method", "cgls", "--iterations", 3), ("--method", "sart", "--iterations", 2)):
        for more in ((), ("--view-weights", weights)):
            ours, _ = recon(tmp_path, "a1.mrc", *CPU, *how, *more)
            theirs, _ = recon(tmp_path, "a2.mrc", *CPU, "--backend", "astra", *how, *more)
            assert 0 < relative(theirs, ours) < 1e-3
    line = failure("recon", "--backend", "astra", "--method", "fbp", series, tmp_path / "v.mrc", status=2)
    assert "--backend is for --method sirt" in line


def test_workers_of_a_cluster_use_their_gpus(stand_in, series, tmp_path) -> None:
    """The workers are told of the stand-in by PYTHONPATH; a real one has a GPU by CUDA_VISIBLE_DEVICES."""
    pytest.importorskip("distributed")
    paths = os.pathsep.join([str(STAND_IN), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": "0"}
    script = (
        "import sys\n"
        "from distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    how = dict(threads_per_worker=1, dashboard_address=None, memory_limit='1GB')\n"
        "    with LocalCluster(2, **how) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    (tmp_path / "cluster.py").write_text(script)
    expected, _ = recon(tmp_path, "cpu.mrc", *CPU, "--iterations", 5)
    with subprocess.Popen(
        [sys.executable, tmp_path / "cluster.py"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
    ) as cluster:  # fmt: skip
        address = cluster.stdout.readline().strip()
        how = (
            "recon",
            "-q",
            "--background",
            "none",
            "--device",
            "gpu",
            "--iterations",
            "5",
            "--dask",
            address,
        )
        command = [sys.executable, "-m", "etcli", *how, series, tmp_path / "gpu.mrc"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        cluster.stdin.close()
    assert run.returncode == 0, run.stderr
    with mrcfile.open(tmp_path / "gpu.mrc") as file:
        assert relative(file.data, expected) < 5e-5
