"""Published atomic models: their files, the frame they are in, and what their structure is like."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.agreement import better_axis_mapping, chance_percent, measure_agreement
from etcli.core.atoms.structure import measure_structure
from etcli.io.atoms import read_atoms, read_atoms_file
from tests.files import etcli

SILICON, TANTALUM = "NP1_aSi_208_dose8p0e3", "Ta_film_area24"


@pytest.fixture
def models(shared_data: Path) -> Path:
    folder = shared_data / "aet"
    if not folder.is_dir():
        pytest.skip(f"no atomic models at {folder}")
    return folder


@pytest.mark.parametrize(("name", "n", "element"), [(SILICON, 208, "Si"), (TANTALUM, 898, "Ta")])
def test_positions_are_as_they_stand(models: Path, name: str, n: int, element: str) -> None:
    path = models / name / "truth.xyz"
    found, theirs = read_atoms_file(path), ase.io.read(path)
    assert len(found.atoms) == n and set(found.atoms.species) == {element}
    np.testing.assert_array_equal(found.atoms.position_A, theirs.positions)
    np.testing.assert_allclose(found.box.origin_A, -np.diag(found.box.lattice_A) / 2)
    assert found.notes["units"] == "angstrom" and found.notes["frame"].startswith("volume centre")


def test_the_published_box_holds_the_published_number(models: Path) -> None:
    path = models / TANTALUM / "truth.xyz"
    run = etcli("compare", "--cutoff", "1", "--box", "34.56,18.76,inf", path, path)
    assert run.out.splitlines()[:2] == ["atoms                650", "reference_atoms      650"]


@pytest.mark.parametrize(("cutoff_A", "percent"), [(0.5, 2.5), (0.75, 9), (1.0, 20), (1.5, 57)])
@pytest.mark.parametrize("name", [SILICON, TANTALUM])
def test_chance_is_as_known_for_dense_solids(
    models: Path, name: str, cutoff_A: float, percent: float
) -> None:
    place = read_atoms(models / name / "truth.xyz").position_A
    found = chance_percent(place, np.random.default_rng(1), cutoff_A=cutoff_A)
    assert found == pytest.approx(percent, rel=0.15, abs=0.3)


def test_errors_put_in_are_found(models: Path) -> None:
    truth = read_atoms(models / SILICON / "truth.xyz")
    error = np.random.default_rng(2).normal(size=(208, 3)) * 0.1
    found = measure_agreement(Atoms(truth.position_A + error, truth.species), truth, cutoff_A=0.9).total
    assert (found.n_found, found.n_extra) == (208, 0)
    assert found.errors.rmsd_A == pytest.approx(np.sqrt((error**2).sum(axis=1).mean()))


def test_a_mirrored_model_is_recognised(models: Path) -> None:
    place = read_atoms(models / SILICON / "truth.xyz").position_A
    rng = np.random.default_rng(3)
    noisy = place + rng.normal(size=place.shape) * 0.15
    frame = better_axis_mapping(noisy[:, [0, 2, 1]], place, rng)
    assert frame is not None and frame.axes == "x,z,y" and frame.is_mirrored
    assert better_axis_mapping(Rotation.from_euler("y", 33, degrees=True).apply(noisy), place, rng) is None


def test_amorphous_silicon_is_fourfold_and_tantalum_is_dense(models: Path) -> None:
    silicon = measure_structure(read_atoms(models / SILICON / "truth.xyz"))
    # a-Si: 2.35 Å, 4 neighbours, 49 atoms/nm³ (Custer et al., Appl. Phys. Lett. 64, 437 (1994))
    assert silicon.length_A.mean() == pytest.approx(2.38, abs=0.06)
    assert silicon.coordination[silicon.inside].mean() == pytest.approx(4.2, abs=0.4)
    assert silicon.distribution.density_A3 == pytest.approx(0.049, rel=0.06)
    tantalum = measure_structure(read_atoms(models / TANTALUM / "truth.xyz"))
    assert tantalum.coordination[tantalum.inside].mean() == pytest.approx(12.5, abs=1)
    assert tantalum.distribution.g[150:].mean() == pytest.approx(1, abs=0.08)
