"""Atoms of potentials from phase-contrast series that another multislice program simulated."""

import json
from pathlib import Path

import pytest

from tests.files import etcli as run

SERIES = [
    # found and false in per cent, root mean square deviation in pm, right species in per cent
    ("sto_50k", 99.6, 0.7, 8.0, 99),
    ("sto_7k", 92, 10, 24, 97),
    ("sio2si_7k", 94, 8, 22.5, 89),
]


@pytest.mark.parametrize(("name", "found", "false", "rmsd_pm", "right"), SERIES)
def test_atoms_of_a_noisy_series(
    shared_data: Path, tmp_path: Path, name: str, found: float, false: float, rmsd_pm: float, right: float
) -> None:
    """In the volume as wide as the images, where most maxima are those of noise in vacuum."""
    folder = shared_data / "phase" / name.split("_")[0]
    if not folder.is_dir():
        pytest.skip(f"no phase-contrast series in {folder}")
    species = "Sr,Ti,O" if name.startswith("sto") else "Si,O"
    volume, atoms = tmp_path / "v.mrc", tmp_path / "a.xyz"
    run("recon", "-q", "-j", "1", "--method", "multislice", folder / f"{name}.mrc", volume)
    traced = run("trace-atoms", "-q", "-j", "1", "--json", "--species", species, volume, atoms)
    total = json.loads(run("compare", "--json", "--cutoff", "1", atoms, folder / "truth.xyz").out)
    print(name, total["found_percent"], total["false_percent"], total["rmsd_pm"])
    assert total["found_percent"] >= found and total["false_percent"] <= false
    assert total["rmsd_pm"] <= rmsd_pm and total["right_percent"] >= right
    # the probabilities know how many are false, within a factor of three
    expected = json.loads(traced.out)["expected_false"]
    assert total["false"] / 3 - 1 < expected < 3 * total["false"] + 2
