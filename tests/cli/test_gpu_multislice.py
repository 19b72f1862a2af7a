"""``recon --method multislice`` on a GPU, with a stand-in for CuPy where there is none, and without FFTW."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.core.multislice import fftw
from tests.files import etcli, failure
from tests.gpu import relative
from tests.phase_series import HOW, images, write_phase_series

FIVE = (*HOW, "--iterations", "5")
CPU, GPU = ("--device", "cpu"), ("--device", "gpu", "-v")


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return images()


@pytest.fixture
def source(tmp_path: Path, clean: np.ndarray) -> Path:
    return write_phase_series(tmp_path / "s.mrc", clean)


def recon(source: Path, name: str, *how: object) -> tuple[np.ndarray, dict, str]:
    """Volume, numbers and messages."""
    target = source.with_name(name)
    run = etcli("recon", *FIVE, "--json", *how, source, target)
    return mrcfile.read(target), json.loads(run.out), run.err


@pytest.mark.parametrize(
    "how",
    [
        ("--half-sets", "--seed", 3),
        ("--prior", "l1", "--convergence", 0.3, "--subset-size", 5, "--resume"),
        ("--refine", "shifts,defocus,rotation", "--error-curve", "e.csv"),
    ],
    ids=lambda how: how[0],
)
def test_the_volume_is_that_of_the_cpu(gpu, source, tmp_path, monkeypatch, how) -> None:
    monkeypatch.chdir(tmp_path)
    expected, numbers, _ = recon(source, "cpu.mrc", *CPU, *how)
    found, own, said = recon(source, "gpu.mrc", *GPU, *how)
    assert "computing on the GPU: " in said
    assert relative(found, expected) < 1e-3
    np.testing.assert_allclose(own["residuals"], numbers["residuals"], rtol=1e-3)
    assert own["unexplained"] == pytest.approx(numbers["unexplained"], rel=1e-3)
    if "shift_px" in numbers:
        np.testing.assert_allclose(own["shift_px"], numbers["shift_px"], atol=1e-2)


def test_an_interrupted_run_goes_on_to_the_same_end(stand_in, source, tmp_path, monkeypatch) -> None:
    from etcli.pipeline import multislice_progress

    expected, _, _ = recon(source, "whole.mrc", *GPU, "--refine", "defocus")
    keep = multislice_progress.SolverProgress.keep

    def interrupt(*arguments: object) -> None:
        keep(*arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as during:
        during.setattr(multislice_progress.SolverProgress, "keep", interrupt)
        line = failure(
            "recon", "-q", *FIVE, *GPU[:2], "--refine", "defocus", "--resume", source, "v.mrc", cwd=tmp_path
        )
        assert "no space left" in line
    found, _, said = recon(source, "v.mrc", *GPU, "--refine", "defocus", "--resume")
    assert "going on after 1 of 5 iterations" in said
    np.testing.assert_array_equal(found, expected)


def test_a_volume_that_does_not_fit_is_refused(stand_in, source, tmp_path, monkeypatch) -> None:
    import cupy

    expected, _, _ = recon(source, "cpu.mrc", *CPU)
    monkeypatch.setattr(cupy.Memory, "total", cupy.Memory.used + (1 << 20))
    line = failure("recon", "-q", *FIVE, *GPU[:2], source, tmp_path / "v.mrc", status=2)
    assert "of the GPU's memory, of which 0M are free; use --device cpu" in line
    found, _, said = recon(source, "v.mrc", "-v")
    assert "too little memory is free on the GPU; computing on the CPU" in said
    np.testing.assert_array_equal(found, expected)


def test_without_fftw_it_takes_longer(source, tmp_path, monkeypatch) -> None:
    expected, _, said = recon(source, "v.mrc", *CPU)
    assert "FFTW" not in said
    monkeypatch.setattr(fftw, "_library", lambda: None)
    found, _, said = recon(source, "w.mrc", *CPU)
    assert "FFTW is missing, so that this takes longer; pip install pyfftw" in said
    assert relative(found, expected) < 1e-3
    line = failure("recon", "-q", *FIVE, *CPU, "--memory", "300K", source, tmp_path / "x.mrc", status=2)
    assert "of memory, but only 0M are allowed" in line
