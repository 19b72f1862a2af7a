"""Entropy of models of silicon against numbers that were computed without etcli, and of measured series."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from etcli.core.entropy.projection import occupied_voxels, pixel_entropy, projection_entropy
from tests.files import etcli

N = 140
FRAMES = {
    "crystal_axis_001": ("--axis-direction", 0, 0, 1, "--beam", 0, 1, 0),
    "crystal_axis_101": ("--axis-direction", 1, 0, 1, "--beam", 0, 1, 0),
    "amorphous_axis_001": ("--axis-direction", 0, 0, 1, "--beam", 0, 1, 0),
}


@pytest.fixture
def folder(shared_data: Path) -> Path:
    folder = shared_data / "entropy"
    if not folder.is_dir():
        pytest.skip(f"no models of silicon at {folder}")
    return folder


def table(path: Path) -> dict[str, np.ndarray]:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}


def test_single_values_and_tiny_images(folder: Path) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    for case in golden["pixel"]:
        for form in ("gamma", "stirling"):
            assert pixel_entropy(case["I"], case["N"], form=form) == pytest.approx(case[form], rel=1e-10)
    for case in golden["tiny"] + golden["tiny_joint"]:
        partner = case.get("partner")
        n = case["N"] if partner is None else occupied_voxels(partner)
        if partner is not None:
            np.testing.assert_allclose(n, case["N_k"], rtol=1e-12)
        for form in ("gamma", "stirling"):
            found = projection_entropy(case["image"], n, form=form)
            assert found == pytest.approx(case[f"S_{form}"], rel=1e-10), case["name"]


@pytest.mark.parametrize("model", FRAMES)
@pytest.mark.parametrize(("kind", "radius_A"), [("sphere_R0.2A", 0.2), ("point", 0)])
def test_curves_by_commands(folder: Path, tmp_path: Path, model: str, kind: str, radius_A: float) -> None:
    curve = json.loads((folder / "golden.json").read_text())["curves"][kind]
    path = folder / f"si_{model.split('_')[0]}_3409.xyz"
    options = ("--spheres", radius_A, "--counts", 1e6, "--no-noise", "--range", 0, 177, 3)
    etcli("simulate", "adf", *FRAMES[model], *options, path, tmp_path / "s.mrc")
    for form in ("gamma", "stirling"):
        if form not in curve[model]:
            continue
        etcli("entropy", "-q", "--as-counts", "--form", form, "--csv", tmp_path / "e.csv", tmp_path / "s.mrc")
        found = table(tmp_path / "e.csv")
        # the angle of the reference has the other sign, and its views are half a turn on
        order = [int(np.argmin(np.abs((found["tilt_angle_deg"] + t) % 180))) for t in curve["angle_deg"]]
        joint = "joint_gamma" if form == "gamma" else "joint_stirling"
        np.testing.assert_allclose(found["S_per_N3"][order], curve[model][form], atol=2e-6)
        np.testing.assert_allclose(found["S_joint_per_N3"][order], curve[model][joint], atol=2e-6)


def test_what_the_paper_says_of_its_figure(folder: Path, tmp_path: Path) -> None:
    found = {}
    for model, frame in FRAMES.items():
        path = folder / f"si_{model.split('_')[0]}_3409.xyz"
        options = ("--spheres", "0.2A", "--counts", 1e6, "--no-noise")
        etcli("simulate", "adf", *frame, *options, path, tmp_path / "s.mrc")
        etcli("entropy", "-q", "--as-counts", "--csv", tmp_path / "e.csv", tmp_path / "s.mrc")
        found[model] = table(tmp_path / "e.csv")
    amorphous, crystal, other = (
        found[f"{name}"]["S_per_N3"]
        for name in ("amorphous_axis_001", "crystal_axis_001", "crystal_axis_101")
    )
    assert np.std(amorphous) < 0.005 * amorphous.mean() and np.ptp(amorphous) < 0.025 * amorphous.mean()
    assert amorphous.min() > max(crystal.max(), other.max())
    assert other.max() < 0.85 * amorphous.mean()
    assert crystal[[0, 15, 30]].max() <= 0.5 * amorphous.mean()
    joint = found["crystal_axis_001"]["S_joint"] > found["amorphous_axis_001"]["S_joint"]
    assert joint.mean() >= 0.8
    zone_views = sorted(
        int(angle) for angle in found["crystal_axis_001"]["tilt_angle_deg"][np.argsort(crystal)[:4]]
    )
    assert zone_views == [0, 45, 90, 135]


@pytest.mark.parametrize(
    "name",
    [
        "etspy/needle_raw.mrc",
        "aet/NP1_aSi_208_dose8p0e3/projections.mrc",
        "aet/NP1_aSi_208_dose1p6e4/projections.mrc",
    ],
)
def test_a_series_of_others_is_ranked_with_defaults(shared_data: Path, tmp_path: Path, name: str) -> None:
    series = shared_data / name
    if not series.exists():
        pytest.skip(f"no series at {series}")
    run = etcli("entropy", "--json", "--select", 9, "--spread", 5, "--output", tmp_path / "best.mrc", series)
    numbers = json.loads(run.out)
    assert "voxels along a ray" in run.err and ("background" in run.err)
    assert sorted(view["rank"] for view in numbers["views"]) == list(range(1, len(numbers["views"]) + 1))
    assert len(numbers["written_views"]) == 9
    etcli("recon", "-q", "--method", "bp", "--slices", "1-8", tmp_path / "best.mrc", tmp_path / "v.mrc")


@pytest.mark.parametrize(
    ("model", "zone_axes"),
    [
        ("crystal_axis_001", (0, 45, 90, 135, 18.4349, 26.5651, 63.4349, 71.5651)),
        ("crystal_axis_101", (0, 90, 54.7356, 35.2644, 125.2644, 144.7356)),
        ("amorphous_axis_001", ()),
    ],
)
def test_a_plan_finds_zone_axes(folder: Path, model: str, zone_axes: tuple[float, ...]) -> None:
    path = folder / f"si_{model.split('_')[0]}_3409.xyz"
    options = (*FRAMES[model], "--spheres", "0.2A", "--size", N, "--range", 0, 179)
    run = etcli("entropy", "--json", "--plan", path, *options)
    found = np.array([axis["tilt_angle_deg"] for axis in json.loads(run.out)["zone_axes"]])
    for expected in zone_axes:
        assert np.abs((found - expected + 90) % 180 - 90).min() < 0.1, expected
    if not zone_axes:
        assert not len(found) and "no view stands out" in run.err
