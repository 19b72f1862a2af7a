"""``recon --method multislice`` of series that another multislice program simulated."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.io.atoms import read_atoms
from tests.files import etcli as run

HOW = ("-j", "1", "--method", "multislice", "--thickness", "48px", "--width", "48px", "--iterations", "8")


@pytest.fixture(scope="module")
def crystal(shared_data: Path) -> Path:
    folder = shared_data / "phase" / "sto"
    if not folder.is_dir():
        pytest.skip(f"no phase-contrast series in {folder}")
    return folder


def highest_near(volume: np.ndarray, position_A: np.ndarray) -> np.ndarray:
    """Highest of the 27 voxels about each position, in volts."""
    centre = (np.array(volume.shape[::-1]) - 1) / 2
    found = []
    for i, j, k in np.rint(position_A / 0.5 + centre).astype(int):
        found.append(volume[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max())
    return np.array(found)


@pytest.mark.parametrize("tag", ["inf", "50k", "7k"])
def test_the_volume_explains_the_images(crystal: Path, tmp_path: Path, tag: str) -> None:
    done = run("recon", *HOW, "--json", crystal / f"sto_{tag}.mrc", tmp_path / "v.mrc")
    found = json.loads(done.out)
    assert found["unexplained"] is None or found["unexplained"] < 0.05
    assert found["predicted"] > (0.8 if tag == "inf" else 0.4)
    assert found["border"] < 0.4 and "WARNING" not in done.err
    if tag == "inf":
        assert found["chi2"] is None
    else:
        assert found["chi2"] == pytest.approx(1, abs=0.03)
        assert found["weight"] > 0.3
    potential = mrcfile.read(tmp_path / "v.mrc")
    atoms, vacancies = (read_atoms(crystal / name) for name in ("truth.xyz", "vacancies.xyz"))
    heavy = np.array([symbol != "O" for symbol in atoms.species])
    at_heavy = highest_near(potential, atoms.position_A[heavy])
    assert np.median(at_heavy) > 150
    if tag != "7k":
        assert at_heavy.min() > 3 * highest_near(potential, vacancies.position_A).max()


def test_interpolated_images_are_told_from_their_noise(crystal: Path, tmp_path: Path) -> None:
    """A share of the contrast above 1 was reported before, and the wrong sign of the defocus not noticed."""
    (tmp_path / "half.xf").write_text("1 0 0 1 0.5 0.5\n" * 180)
    run("xform", "-q", "--xf", tmp_path / "half.xf", crystal / "sto_50k.mrc", tmp_path / "half.mrc")
    np.savetxt(tmp_path / "wrong.txt", np.tile([-0.02, -0.045, -0.1], 60))
    predicted = []
    for options in ((), ("--defocus", tmp_path / "wrong.txt")):
        done = run("recon", *HOW, "--json", *options, tmp_path / "half.mrc", tmp_path / "v.mrc")
        assert "of the noise that their doses imply" in done.err
        assert ("hardly predicted" in done.err) == bool(options)
        predicted.append(json.loads(done.out)["predicted"])
    assert predicted[1] < 0.1 < predicted[0] < 1


@pytest.mark.parametrize(("tag", "option"), [("inf", "tilts"), ("50k", "defocus")])
def test_wrong_signs_are_suspected(crystal: Path, tmp_path: Path, tag: str, option: str) -> None:
    wrong = tmp_path / "wrong.txt"
    values = {"tilts": np.repeat(np.arange(90, -90, -3), 3), "defocus": np.tile([-0.02, -0.045, -0.1], 60)}
    np.savetxt(wrong, values[option])
    done = run("recon", *HOW, f"--{option}", wrong, crystal / f"sto_{tag}.mrc", tmp_path / "v.mrc")
    assert "check the signs of" in done.err
