"""The sample series are what the recorded commands make."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_the_recorded_commands_make_the_samples_again(tmp_path: Path) -> None:
    etcli = f"ETCLI={sys.executable} -m etcli"
    subprocess.run(
        ["make", "--silent", "-f", SAMPLES / "Makefile", etcli, "sample"], cwd=tmp_path, check=True
    )
    made = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert len(made) == 6
    for path in made:
        assert path.read_bytes() == (SAMPLES / path.name).read_bytes(), path.name
