"""What lies under the code path of GPUs: kernels for a real compiler, the stand-in, what is missing."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import etcli
from etcli.core import gpu as gpu_module
from etcli.core.geometry import SliceGeometry
from etcli.core.gpu import GPU, why_no_gpu
from etcli.core.projectors.astra import AstraCudaProjector, astra_available, cuda_usable
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.steps import norm, on_host, square
from tests.gpu import relative

KERNELS = sorted(Path(etcli.__file__).parent.rglob("*.cu"))


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc to compile the kernels with")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("source", KERNELS, ids=lambda path: path.name)
def test_kernels_compile_for_real(source: Path, architecture: str, tmp_path: Path) -> None:
    """In registers: what they spill to memory would cost the bandwidth they are made for."""
    how = ("-std=c++14", f"-arch={architecture}", "-cubin", "-Xptxas", "-v", "-Werror", "all-warnings")
    run = subprocess.run(
        ["nvcc", *how, "-o", tmp_path / "out.cubin", source], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    used = [line for line in run.stderr.splitlines() if "spill stores" in line]
    assert used
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in used)


def test_kernels_need_no_header() -> None:
    """NVRTC has none, and the stand-in would find others."""
    assert len(KERNELS) == 4
    assert not any("#include" in source.read_text() for source in KERNELS)


def test_norms(gpu) -> None:
    for shape in ((70001,), (300, 7), (9, 11, 16)):
        array = np.random.default_rng(0).standard_normal(shape, np.float32)
        there = GPU.put(array)
        assert on_host(array) is array
        np.testing.assert_array_equal(on_host(there), array)
        np.testing.assert_allclose([norm(there), square(there)], [norm(array), square(array)], rtol=1e-5)


def fake_cupy(monkeypatch, count) -> None:
    module = ModuleType("cupy")
    module.cuda = SimpleNamespace(runtime=SimpleNamespace(getDeviceCount=count))
    monkeypatch.setitem(sys.modules, "cupy", module)


def test_what_is_missing_is_named(monkeypatch) -> None:
    def no_driver() -> int:
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient\nand more")

    fake_cupy(monkeypatch, no_driver)
    assert why_no_gpu() == (
        "CUDA finds no NVIDIA GPU (cudaErrorInsufficientDriver: CUDA driver version is insufficient); "
        "see what nvidia-smi says"
    )
    fake_cupy(monkeypatch, lambda: 0)
    assert "CUDA_VISIBLE_DEVICES" in why_no_gpu()
    fake_cupy(monkeypatch, lambda: 1)
    assert why_no_gpu() is None
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'cupy-cuda12x[ctk]'" in why_no_gpu()


class TestStandIn:
    def test_it_is_as_strict_as_the_real_one(self, stand_in) -> None:
        import cupy

        there, here = cupy.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)
        for wrong in (
            lambda: there + here,
            lambda: there.__setitem__(..., here),
            lambda: np.asarray(there),
            lambda: np.mean(there),
        ):
            with pytest.raises(TypeError):
                wrong()
        assert isinstance(np.float32(2) * there, cupy.ndarray)
        assert np.isnan(cupy.asnumpy(cupy.empty((2, 2), np.float32))).all()

    def test_arguments_of_a_wrong_type_are_found(self, stand_in) -> None:
        import cupy

        code = (
            'extern "C" __global__ void twice(float *x, int n) { if (threadIdx.x < n) x[threadIdx.x] *= 2; }'
        )
        twice = cupy.RawModule(code=code).get_function("twice")
        x = cupy.asarray(np.arange(4, dtype=np.float32))
        twice((1,), (32,), (x, np.int32(3)))
        np.testing.assert_array_equal(cupy.asnumpy(x), [0, 2, 4, 3])
        for wrong in ((x, 3), (x.astype(np.float64), np.int32(3)), (x[::2], np.int32(1)), (x,)):
            with pytest.raises(AssertionError):
                twice((1,), (32,), wrong)


@pytest.mark.gpu
def test_astra_sees_the_same_geometry_on_a_gpu() -> None:
    if not astra_available() or not cuda_usable():
        pytest.skip("ASTRA finds no GPU")
    geometry = SliceGeometry(np.array([0.0, 30.0, -47.0, 90.0, 61.0, -12.0]), 47, 30, 41, -2.7, 3.1)
    ours, theirs = SlabProjector(geometry, n_slices=16), AstraCudaProjector(geometry, n_slices=16)
    z, x, k = np.ogrid[:30, :41, :16]
    volume = np.exp(-((z - 11.0) ** 2 + (x - 24.0 - k / 4) ** 2) / 20).astype(np.float32)
    assert relative(theirs.forward(volume), ours.forward(volume)) < 1e-2
    views = ours.forward(volume)
    assert relative(theirs.adjoint(views), ours.adjoint(views)) < 2e-2


def test_astra_is_told_the_geometry_of_its_slices() -> None:
    """Its two descriptions, in two and three dimensions, put every pixel of a slab at the same place."""
    pytest.importorskip("astra")
    from etcli.core.projectors.astra import _views, _views_3d

    geometry = SliceGeometry(np.array([0.0, 30.0, -47.0]), 47, 30, 41, -2.7, 3.1)
    flat, deep = _views(geometry)["Vectors"], _views_3d(geometry, 16)["Vectors"]
    np.testing.assert_array_equal(deep[:, [0, 1, 3, 4, 6, 7]], flat)
    np.testing.assert_array_equal(deep[:, [2, 5, 8, 9, 10, 11]], [[0, 0, 0, 0, 0, 1]] * 3)
    assert gpu_module.blocks(65, 64) == 2
