"""``etcli depthsect`` on a simulated nanorod whose columns are known, and on StatSTEM's Pt-Ir particle."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.files import etcli

ROD_A, PTIR_A, PTIR_PX = 0.4, 0.1211, 512
SPACING_A = 4.08

Table = np.ndarray


def read(path: Path) -> Table:
    return np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")


def folder(shared_data: Path, name: str) -> Path:
    path = shared_data / "depth" / name
    if not path.is_dir():
        pytest.skip(f"no data at {path}")
    return path


@pytest.fixture(scope="module")
def rod(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """True and found values of the columns inside the frame, and the shifts."""
    source, out = folder(shared_data, "rod_colmodel"), tmp_path_factory.mktemp("rod")
    etcli(
        *("depthsect", "-q", "--threads", 1, "--dose", 9612, "--lattice", "fcc:Au:4.08", "--zone", "100"),
        *("--csv", out / "c.csv", "--write-xf", out / "s.xf", source / "focal_series.mrc", out / "rod.xyz"),
    )
    found, true = read(out / "c.csv"), read(source / "truth_columns.csv")
    true = true[true["inside_frame"] == 1]
    place = np.column_stack([found["x_A"], found["y_A"]])
    true_place = np.column_stack([true["x_A"], true["y_A"]])
    # a shift that all sections have in common moves the columns, and is no error
    for _ in range(3):
        place -= np.median(place - nearest(true_place, place), axis=0)
    away, index = cKDTree(place).query(true_place)
    return {
        "found": found[index],
        "true": true,
        "away": away,
        "spurious": cKDTree(np.column_stack([true["x_A"], true["y_A"]])).query(place)[0] > 1,
        "inside": np.abs(place).max(axis=1) < ROD_A * (127 / 2 - 4),
        "shift_px": np.loadtxt(out / "s.xf")[:, 4:],
        "drift_px": np.loadtxt(source / "truth_drift.csv", delimiter=",", skiprows=1)[:, 1:],
    }


def nearest(to: np.ndarray, place: np.ndarray) -> np.ndarray:
    return to[cKDTree(to).query(place)[1]]


def test_the_drift_is_found(rod: dict[str, np.ndarray]) -> None:
    error = rod["shift_px"] + rod["drift_px"]
    error = error - error.mean(axis=0)
    assert np.sqrt((error**2).sum(axis=1).mean()) <= 0.35


def test_the_columns_are_found(rod: dict[str, np.ndarray]) -> None:
    assert (rod["away"] < 1).mean() >= 0.97
    assert (rod["spurious"] & rod["inside"]).sum() <= 0.01 * rod["inside"].sum()


def test_the_counts_are_right(rod: dict[str, np.ndarray]) -> None:
    off = np.abs(rod["found"]["count"] - rod["true"]["count"])
    assert (off == 0).mean() >= 0.95 and off.max() <= 1
    assert rod["found"]["count"].sum() == pytest.approx(rod["true"]["count"].sum(), rel=0.005)


@pytest.mark.parametrize(("least", "limit_A"), [(2, 1.5), (5, 1.2)])
def test_the_depths_are_right(rod: dict[str, np.ndarray], least: int, limit_A: float) -> None:
    thick = rod["true"]["count"] >= least
    error = (rod["found"]["z_A"] - rod["true"]["z_com_A"])[thick]
    assert np.sqrt((error**2).mean()) <= limit_A
    assert abs(error.mean()) <= 0.3
    actual = np.median(np.abs(error)) / 0.6745  # of a normal distribution
    assert 0.5 < np.median(rod["found"]["sigma_z_A"][thick]) / actual < 2


def test_the_lattice_makes_most_depths_exact(rod: dict[str, np.ndarray]) -> None:
    error = rod["found"]["z_snapped_A"] - rod["true"]["z_com_A"]
    assert (np.abs(error) < SPACING_A / 4).mean() >= 0.9


@pytest.fixture
def particle(shared_data: Path) -> Path:
    return folder(shared_data, "statstem_ptir")


def centred_A(place_A: np.ndarray) -> np.ndarray:
    """Places that StatSTEM counts from one pixel before the first, in Å from the centre of the image."""
    return place_A - PTIR_A * (1 + (PTIR_PX - 1) / 2)


def test_statstem_is_reproduced(particle: Path, tmp_path: Path) -> None:
    stored, seeds, table = read(particle / "statstem_columns.csv"), tmp_path / "seeds.csv", tmp_path / "c.csv"
    seed = centred_A(np.column_stack([stored["seed_x_A"], stored["seed_y_A"]]))
    np.savetxt(seeds, seed, delimiter=",", header="x_A,y_A", comments="")
    run = etcli(
        *("depthsect", "-q", "--json", "--stop-after", "count", "--widths", "statstem", "--background", 0),
        *(
            "--columns",
            seeds,
            "--library",
            particle / "library_scs.csv",
            "--scs-scale",
            1,
            "--pixel",
            "0.1211A",
        ),
        *(particle / "ptir.mrc", table),
    )
    found, numbers = read(table), json.loads(run.out)
    off = np.column_stack([found["x_A"], found["y_A"]]) - centred_A(
        np.column_stack([stored["x_A"], stored["y_A"]])
    )
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.02
    assert np.median(np.abs(found["scs"] / stored["scs_e_A2"] - 1)) < 0.01
    assert numbers["sum_of_squares"] <= 3.2287
    assert numbers["rho_A"] == pytest.approx(0.657715, abs=0.005)
    assert numbers["atoms"] == pytest.approx(791, abs=8)


def test_columns_found_without_help_have_as_many_atoms(particle: Path, tmp_path: Path) -> None:
    run = etcli(
        *("depthsect", "-q", "--json", "--stop-after", "count", "--background", 0, "--scs-scale", 1),
        *("--library", particle / "library_scs.csv", "--pixel", "0.1211A"),
        *(particle / "ptir.mrc", tmp_path / "c.csv"),
    )
    numbers = json.loads(run.out)
    assert numbers["atoms"] == pytest.approx(791, abs=8)
    assert numbers["columns"] == pytest.approx(140, abs=5)
