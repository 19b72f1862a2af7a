"""The sample series are what the recorded commands make."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli

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


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_the_sample_spectra_become_elements(tmp_path: Path) -> None:
    """One make goes from them to volumes in which the particles are, with the gains of the views found."""
    for path in SAMPLES.glob("alloy*"):
        shutil.copy(path, tmp_path)
    options = ["FUSE=--thickness 24px", f"ETCLI={sys.executable} -m etcli"]
    makefile = str(SAMPLES / "Makefile")
    subprocess.run(
        ["make", "--silent", "-f", makefile, *options, "alloy_element.json"], cwd=tmp_path, check=True
    )
    truth = json.loads((SAMPLES / "alloy_truth.json").read_text())
    found = json.loads((tmp_path / "alloy_element.json").read_text())
    gain = np.array(found["gains"]) / truth["gain"]
    assert gain.std() < 0.06 * gain.mean()
    made = ["simulate", "spectral", "particles", "--size", 40, "--pixel", "2nm", "--margin", "3px"]
    etcli(*made, "--range", 0, 10, 10, "--write-truth", tmp_path / "t.mrc", tmp_path / "any.mrc")
    for element in ("Ni", "Co", "Pt"):
        volume = tmp_path / f"alloy_element_{element}.mrc"
        run = etcli("compare", "--align", "--fit-scale", "--json", volume, tmp_path / f"t_{element}.mrc")
        assert json.loads(run.out)["nrmse"] < 0.4
        counts = mrcfile.read(volume).sum() / np.mean(truth["gain"]) / truth["sensitivity"][element]
        assert counts == pytest.approx(mrcfile.read(tmp_path / f"t_{element}.mrc").sum(), rel=0.1)
