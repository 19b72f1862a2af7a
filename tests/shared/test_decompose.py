"""Maps of simulated spectra of a needle with particles: correlation with the true maps, and leakage."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli

# what a known-spectra fit of each pixel reaches at most: .958 .960 .948 .441
LEAST = {"Ni": 0.965, "Co": 0.965, "Pt": 0.955, "Cr": 0.6}


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "spectral"


@pytest.fixture(scope="module")
def true(folder: Path) -> dict[str, np.ndarray]:
    """True maps as the detector saw them, with the drift of the beam."""
    live = np.loadtxt(folder / "si_live.txt")[:, np.newaxis, np.newaxis]
    names = ("Ni", "Co", "Pt", "Cr", "Si")
    return {name: mrcfile.read(folder / f"si_truth_{name}.mrc").astype(float) * live for name in names}


def leakage(image: np.ndarray, own: str, true: dict[str, np.ndarray]) -> dict[str, float]:
    """How much of other elements is in a map, relative to its own."""
    design = np.stack([map_.ravel() for map_ in true.values()], axis=1)
    found = dict(zip(true, np.linalg.lstsq(design, image.ravel())[0], strict=True))
    return {name: value / found[own] for name, value in found.items() if name != own}


def test_elements(folder: Path, true: dict[str, np.ndarray], tmp_path: Path) -> None:
    run = etcli("decompose", "--elements", "Ni,Co,Pt,Cr", "--json", folder / "si.hspy", tmp_path / "m.mrc")
    assert set(json.loads(run.out)["others"]) == {"Si K", "O K", "Cu K+L", "background"}
    for name, least in LEAST.items():
        image = mrcfile.read(tmp_path / f"m_{name}.mrc")
        assert np.corrcoef(image.ravel(), true[name].ravel())[0, 1] >= least
        # the minor element has no weight in the others' maps
        for other, share in leakage(image, name, true).items():
            assert abs(share) <= 0.05 or other == "Cr"
    ratio = {name: float(true[name].sum()) for name in LEAST}
    for name in ("Co", "Pt"):
        mdocs = [(tmp_path / f"m_{one}.mrc.mdoc").read_text() for one in ("Ni", name)]
        known = [float(text.split("Sensitivity = ")[1].split()[0]) for text in mdocs]
        counts = [float(mrcfile.read(tmp_path / f"m_{one}.mrc").sum()) for one in ("Ni", name)]
        atoms = (counts[1] / known[1]) / (counts[0] / known[0])
        assert atoms == pytest.approx(ratio[name] / ratio["Ni"], rel=0.15)


def test_formats_with_rows_from_the_top_and_from_the_bottom_agree(folder: Path, tmp_path: Path) -> None:
    for ending in ("hspy", "npz"):
        etcli("decompose", "-q", "--elements", "Ni,Pt", folder / f"si.{ending}", tmp_path / f"{ending}.mrc")
    for name in ("Ni", "Pt_train", "sum"):
        files = [tmp_path / f"{ending}_{name}.mrc" for ending in ("hspy", "npz")]
        first, second = (mrcfile.read(file) for file in files)
        assert np.allclose(first, second, atol=1e-3)


def test_all_elements_are_found_without_being_named(folder: Path, tmp_path: Path) -> None:
    run = etcli("decompose", "-q", "--json", folder / "si.npz", tmp_path / "m.mrc")
    found = {one["name"] for one in json.loads(run.out)["maps"]}
    assert found == {"Ni", "Co", "Pt", "Cr", "Si", "O", "Cu"}


def test_five_components(folder: Path, true: dict[str, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="components need scikit-learn")
    run = etcli(
        "decompose", "-q", "--json", "--components", "auto", "--method", "nmf-scaled", folder / "si.npz",
        tmp_path / "m.mrc",
    )  # fmt: skip
    numbers = json.loads(run.out)
    assert len(numbers["maps"]) == 5
    images = [mrcfile.read(tmp_path / f"m_{one['name']}.mrc").ravel() for one in numbers["maps"]]
    for name, least in {"Ni": 0.96, "Co": 0.96, "Pt": 0.95, "Si": 0.93}.items():
        assert max(np.corrcoef(image, true[name].ravel())[0, 1] for image in images) >= least
    assert {"Ni", "Co", "Pt"} <= {one["line"].split("+")[0] for one in numbers["maps"]}


@pytest.mark.slow
def test_five_components_by_likelihood(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="components need scikit-learn")
    run = etcli("decompose", "-q", "--json", "--components", "auto", folder / "si.npz", tmp_path / "m.mrc")
    assert len(json.loads(run.out)["maps"]) == 5
