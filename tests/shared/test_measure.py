"""Measures of particles and of a network whose numbers are known."""

import csv
import gzip
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

import etcli


@pytest.fixture(scope="module")
def particles(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray, dict]:
    """Folder, labels of the true particles, and their table."""
    folder = shared_data / "measure"
    path = tmp_path_factory.mktemp("labels") / "labels.mrc"
    path.write_bytes(gzip.decompress((folder / "particles_labels.mrc.gz").read_bytes()))
    with (folder / "particles_truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return (
        folder,
        mrcfile.read(path),
        {name: values if name == "shape" else values.astype(float) for name, values in table.items()},
    )


def test_ideal_particles(particles: tuple[Path, NDArray, dict]) -> None:
    folder, labels, truth = particles
    found = etcli.measure(etcli.read(folder / "particles.mrc"), labels).columns
    assert found["label"].tolist() == truth["label"].tolist()
    assert np.array_equal(found["border"], truth["border"])
    large = (truth["eq_diameter_nm"] >= 10) & (truth["border"] == 0)
    faceted = np.isin(truth["shape"], ("cube", "octahedron"))
    error = {name: found[name] / truth[name] - 1 for name in ("volume_nm3", "surface_nm2", "eq_diameter_nm")}
    assert abs(np.median(error["volume_nm3"][large])) < 0.015
    assert -0.015 < np.median(error["surface_nm2"][large & ~faceted]) < 0.005
    assert -0.12 < np.median(error["surface_nm2"][faceted]) < -0.06
    place = np.stack([found[f"{name}_nm"] - truth[f"{name}_nm"] for name in "xyz"], 1)
    assert np.sqrt((place[truth["border"] == 0] ** 2).mean()) < 0.05
    rods = truth["shape"] == "rod"
    along = sum(found[f"axis1_{name}"] * truth[f"major_{name}"] for name in "xyz")
    assert np.degrees(np.arccos(np.abs(along[rods]).clip(0, 1))).max() < 2
    apart = np.abs(found["nearest_nm"] - truth["nearest_centre_nm"])
    assert np.median(apart) < 0.1
    touching = truth["cluster_size"] > 1
    assert (found["contacts"][touching] > 0).all() and (found["gap_nm"][touching] == 0).all()
    sigma = found["sigma_volume_nm3"] / truth["volume_nm3"]
    assert np.mean(np.abs(error["volume_nm3"]) <= 2 * sigma) > 0.95


def test_network_in_a_region(shared_data: Path) -> None:
    """Cut by a cylinder and by the ends of the volume: φ and S_V are known to 0.0002 and 0.5 %."""
    folder = shared_data / "measure"
    truth = json.loads((folder / "network_truth.json").read_text())
    series = etcli.read(folder / "network_ts.mrc")
    made = etcli.reconstruct(series, method="sirt", iterations=30, nonnegative=True).volume
    n = made.shape[0]
    z, x = np.ogrid[:n, :n]
    disc = np.hypot(z - (n - 1) / 2, x - (n - 1) / 2) <= truth["roi_radius_nm"]
    region = np.repeat(disc[:, np.newaxis], n, axis=1).astype(np.uint8)
    for volume, phi, area in ((etcli.read(folder / "network.mrc"), 0.005, 0.006), (made, 0.01, 0.06)):
        labels = etcli.segment(volume, "edge", split="none").labels
        found = etcli.measure(volume, labels, region=region).totals
        assert found["volume_fraction"] == pytest.approx(truth["roi_volume_fraction"], rel=phi)
        assert found["surface_per_volume_nm-1"] == pytest.approx(
            truth["roi_surface_density_per_nm"], rel=area
        )
        off = found["volume_fraction"] - truth["roi_volume_fraction"]
        assert abs(off) < found["sigma_volume_fraction"]
