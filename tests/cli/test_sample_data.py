"""The sample series are what the recorded commands make."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_the_recorded_commands_make_the_samples_again(tmp_path: Path) -> None:
    etcli = f"ETCLI={sys.executable} -m etcli"
    subprocess.run(
        ["make", "--silent", "-f", SAMPLES / "Makefile", etcli, "sample"], cwd=tmp_path, check=True
    )
    made = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert len(made) == 10
    for path in made:
        if path.suffix == ".npz":  # compressed, by a library that may be another one here
            with np.load(path) as found, np.load(SAMPLES / path.name) as expected:
                assert set(found) == set(expected)
                for name in found:
                    np.testing.assert_array_equal(found[name], expected[name])
        else:
            assert path.read_bytes() == (SAMPLES / path.name).read_bytes(), path.name


def test_spectra_are_a_small_sample() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.glob("alloy*")) < 300_000
