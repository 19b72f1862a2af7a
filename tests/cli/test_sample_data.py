"""The sample series are what the recorded commands make."""

import csv
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


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_the_metal_of_the_sample_particle_is_counted_and_measured(tmp_path: Path) -> None:
    """One make goes from the views to a table that agrees with the truth; the threshold needs none of it."""
    for path in SAMPLES.glob("particle*"):
        shutil.copy(path, tmp_path)
    options = ["RECON=--method fista --nonnegative", "SEGMENT=--method dense --min-size 8"]
    make = ["make", "--silent", "-f", SAMPLES / "Makefile", f"ETCLI={sys.executable} -m etcli", *options]
    subprocess.run([*make, "particle_measures.csv", "particle.stl"], cwd=tmp_path, check=True)
    with (tmp_path / "particle_measures.csv").open(encoding="utf-8", newline="") as file:
        found = [
            {name: float(row[name] or "nan") for name in row if name != "flag"}
            for row in csv.DictReader(file)
        ]
    truth = json.loads((SAMPLES / "particle_truth.json").read_text())
    metal = [solid for solid in truth["solids"] if solid["density"] == 4]
    # the volume is displaced as the view at 0° is, from which shifts are counted; pixels are nm
    x, y = truth["shift_px"][truth["tilt_deg"].index(0.0)]
    place = np.array([[row["x_nm"] - x, row["y_nm"] - y, row["z_nm"]] for row in found])
    true = np.array([[solid["x_nm"], solid["y_nm"], solid["z_nm"]] for solid in metal])
    far = np.linalg.norm(place[:, np.newaxis] - true, axis=-1)
    body = far.argmin(axis=1)
    assert len(set(body)) == len(found)  # nothing that is no particle, and none twice
    assert np.sqrt(np.mean(far.min(axis=1) ** 2)) < 0.5
    large = {index for index, solid in enumerate(metal) if solid["eq_diameter_nm"] >= 3}
    assert len(large) == 24
    assert large <= set(body)
    volume = np.array([row["volume_nm3"] for row in found])
    expected = np.array([metal[index]["volume_nm3"] for index in body])
    assert volume.sum() == pytest.approx(expected.sum(), rel=0.05)
    ratio = (volume / expected)[expected > 4 / 3 * np.pi * 2**3]
    assert len(ratio) == 17
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.12


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
