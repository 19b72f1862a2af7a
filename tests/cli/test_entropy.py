"""``etcli entropy``: tables, selections, and a clear word about everything doubtful."""

import csv
import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli, failure, mdoc_text, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")

TILT_DEG = np.arange(-90, 90, 15.0)
COLUMNS = (
    "view,tilt_angle_deg,rank,S,S_per_N3,zero_fraction,partner_angle_deg,S_joint,S_joint_per_N3,total_counts"
)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Rows of atoms, which overlap at 0°, on a background of 7; views counted with noise."""
    rng = np.random.default_rng(5)
    atoms = [(x, y, z) for x in range(-6, 7, 3) for y in range(-6, 7, 3) for z in range(-6, 7, 3)]
    views = np.full((len(TILT_DEG), 24, 30), 7.0)
    for view, tilt in zip(views, np.deg2rad(TILT_DEG), strict=True):
        for x, y, z in atoms:
            view[12 + y, int(np.rint(14.5 + x * np.cos(tilt) + z * np.sin(tilt)))] += 20
    path = write_stack(tmp_path / "s.mrc", rng.poisson(views).astype(np.float32))
    Path(f"{path}.mdoc").write_text(mdoc_text(TILT_DEG.tolist(), axis_deg=0))
    return path


def about(path: Path) -> list[float]:
    return json.loads(etcli("info", "--json", path).out)["tilt_deg"]


def test_the_table_ranks_zone_axes_first(series: Path, tmp_path: Path) -> None:
    run = etcli("entropy", "--csv", tmp_path / "e.csv", "--plot", tmp_path / "e.png", series)
    lines = (tmp_path / "e.csv").read_text().splitlines()
    assert lines[0] == COLUMNS
    rows = list(csv.DictReader(lines))
    best = [float(row["tilt_angle_deg"]) for row in sorted(rows, key=lambda row: int(row["rank"]))]
    assert set(best[:2]) == {-90.0, 0.0}
    assert "background " in run.err and "scaled to" in run.err and "30 voxels along a ray" in run.err
    assert run.out.splitlines()[1].split()[0] == "1"
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(etcli("entropy", "--json", "--background", 7, series).out)
    assert numbers["background"] == 7.0 and len(numbers["views"]) == len(TILT_DEG)
    for row, view in zip(rows, numbers["views"], strict=True):
        assert float(row["S"]) == pytest.approx(view["S"], rel=0.1)


def test_chosen_views_are_a_series_that_recon_takes(series: Path, tmp_path: Path) -> None:
    chosen, others = tmp_path / "best.mrc", tmp_path / "rest.mrc"
    run = etcli("entropy", "--select", 4, "--spread", 20, "--output", chosen, series)
    etcli("entropy", "--select", 4, "--spread", 20, "--drop", "--output", others, series)
    written = json.loads(
        etcli("entropy", "--json", "--select", 4, "--spread", 20, "--output", chosen, series).out
    )
    assert [TILT_DEG[k - 1] for k in written["written_views"]] == about(chosen)
    data, part, rest = (mrcfile.read(path) for path in (series, chosen, others))
    kept, left = about(chosen), about(others)
    assert sorted([*kept, *left]) == TILT_DEG.tolist() and len(kept) == 4
    assert min(np.diff(kept)) >= 20
    np.testing.assert_array_equal(part, data[[TILT_DEG.tolist().index(angle) for angle in kept]])
    np.testing.assert_array_equal(rest, data[[TILT_DEG.tolist().index(angle) for angle in left]])
    assert "4 views in" in run.err
    assert "entropy" in (tmp_path / "best.mrc.mdoc").read_text()
    etcli("recon", "-q", "--method", "bp", chosen, tmp_path / "v.mrc")


def test_counts_are_taken_as_they_are(series: Path, tmp_path: Path) -> None:
    numbers = json.loads(etcli("entropy", "--as-counts", "--json", series).out)
    totals = mrcfile.read(series).sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose([view["total_counts"] for view in numbers["views"]], totals)
    negative = write_stack(tmp_path / "n.mrc", mrcfile.read(series) - 9)
    np.savetxt(tmp_path / "n.tlt", TILT_DEG)
    said = failure("entropy", "--as-counts", negative)
    assert "n.mrc: view 1 has -" in said and "subtract the background first" in said
    assert "--as-counts uses values as they are" in failure(
        "entropy", "--as-counts", "--gain", 3, series, status=2
    )


def test_what_is_doubtful_is_told(series: Path, tmp_path: Path) -> None:
    data = mrcfile.read(series).copy()

    def told(views: np.ndarray, *options: object, tilt_deg: np.ndarray = TILT_DEG) -> str:
        (tmp_path / "d.mrc").unlink(missing_ok=True)
        path = write_stack(tmp_path / "d.mrc", views.astype(np.float32))
        np.savetxt(tmp_path / "d.tlt", np.atleast_1d(tilt_deg))
        return etcli("entropy", *options, path).err

    assert "without --gain the entropies only rank" in told(data)
    assert "without --gain" not in told(data, "--gain", 2)
    bright = told(100 - data, "--background", 90)
    assert "WARNING" in bright and "is it a bright-field series" in bright
    empty = data.copy()
    empty[3] = 7
    assert "no counts in view 4; ranked last" in told(empty, "--background", 7)
    saturated = data.copy()
    saturated[2, :3] = 4095
    assert "at the end of a detector's range, in view 3" in told(saturated, "--background", 7)
    assert "1 of 1 views have no partner" in told(data[:1], "--background", 7, tilt_deg=TILT_DEG[:1])


def test_wrong_usage(series: Path, tmp_path: Path) -> None:
    def wrong(*options: object, status: int = 2) -> str:
        return failure("entropy", "-q", "--background", 7, *options, series, status=status)

    assert "--select and --output go together" in wrong("--select", 3)
    assert "--select and --output go together" in wrong("--output", tmp_path / "o.mrc")
    assert "only 12 views can be selected, not 13" in wrong("--select", 13, "--output", tmp_path / "o.mrc")
    assert "at least 60° apart" in wrong("--select", 4, "--spread", 60, "--output", tmp_path / "o.mrc")
    assert "leaves none" in wrong("--select", 12, "--drop", "--output", tmp_path / "o.mrc")
    small = write_stack(tmp_path / "m.mrc", np.ones((1, 3, 3), np.float32))
    assert "a mask of 3 x 3 pixels does not fit views of 30 x 24" in wrong("--mask", small, status=1)
    empty = write_stack(tmp_path / "z.mrc", np.zeros((1, 24, 30), np.float32))
    assert "the mask is empty" in wrong("--mask", empty, status=1)
    assert "is an input" in wrong("--select", 2, "--output", series)
    assert not (tmp_path / "o.mrc").exists()


LATTICE = (
    "--plan",
    "diamond:Si:5.431",
    "--diameter",
    "2.4nm",
    "--axis-direction",
    0,
    0,
    1,
    "--beam",
    0,
    1,
    0,
)


def test_a_series_is_planned(tmp_path: Path) -> None:
    files = ("--output", tmp_path / "a.tlt", "--csv", tmp_path / "p.csv", "--plot", tmp_path / "p.png")
    run = etcli("entropy", *LATTICE, "--range", -60, 60, "--step", 3, "--select", 8, *files)
    assert "zone axes" in run.out and "tilt angles to take: " in run.out
    assert "these 8 views limit the density as" in run.err
    angles = np.loadtxt(tmp_path / "a.tlt")
    assert len(angles) == 8 and (np.diff(angles) > 0).all() and set(angles) <= set(range(-60, 61, 3))
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [float(row["tilt_angle_deg"]) for row in rows if row["chosen"] == "1"] == angles.tolist()
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads(etcli("entropy", "--json", *LATTICE, "--range", -60, 60, "--spheres", "0.2A").out)
    found = [axis["tilt_angle_deg"] for axis in numbers["zone_axes"]]
    for expected in (-45, 0, 45):  # [110] and [010]
        assert np.min(np.abs(np.array(found) - expected)) < 0.1
    assert "chosen_deg" not in numbers


def test_a_disordered_model_has_no_view_that_stands_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    atoms = rng.normal(size=(300, 3))
    atoms *= 10 * rng.uniform(size=(300, 1)) ** (1 / 3) / np.linalg.norm(atoms, axis=1, keepdims=True)
    lines = [f"Si {x:.5f} {y:.5f} {z:.5f}" for x, y, z in atoms]
    (tmp_path / "m.xyz").write_text("\n".join(["300", "", *lines, ""]))
    run = etcli("entropy", "--plan", tmp_path / "m.xyz", "--spheres", "0.2A")
    assert "no view stands out" in run.err and "zone axes" not in run.out


def test_options_of_plans_and_of_series_are_kept_apart(series: Path, tmp_path: Path) -> None:
    def wrong(*options: object) -> str:
        return failure("entropy", *options, status=2)

    assert "give a SERIES to rank its views, or --plan MODEL" in wrong()
    assert "give a SERIES to rank its views, or --plan MODEL" in wrong(*LATTICE, series)
    assert "--gain is for a SERIES; leave it out" in wrong(*LATTICE, "--gain", 2)
    assert "--range is for --plan; leave it out" in wrong("--range", 0, 9, series)
    assert "in a .tlt or .rawtlt file" in wrong(*LATTICE, "--select", 4, "--output", tmp_path / "o.mrc")
    assert "--select" in wrong(*LATTICE, "--output", tmp_path / "o.tlt")
    assert "a crystal has no end" in wrong("--plan", "fcc:Au")
    assert "cannot be chosen from" in wrong(*LATTICE, "--select", 400, "--output", tmp_path / "o.tlt")
    assert not list(tmp_path.glob("o.*"))


def test_a_view_that_is_not_finite_is_named(series: Path, tmp_path: Path) -> None:
    data = mrcfile.read(series).copy()
    data[4, 3, 2] = np.nan
    path = tmp_path / "n.mrc"
    with pytest.warns(RuntimeWarning, match="NaN"):
        write_stack(path, data)
    np.savetxt(tmp_path / "n.tlt", TILT_DEG)
    assert "n.mrc: view 5 holds values that are not finite" in failure("entropy", path)
    assert "n.mrc: view 5 holds values that are not finite" in failure(
        "register", "-q", path, tmp_path / "o.mrc"
    )


def test_zone_axes_are_within_the_range_and_listed_once() -> None:
    options = ("--json", "--spheres", "0.2A")
    for angles in ((-44.5, 20), (-90, 90)):
        numbers = json.loads(etcli("entropy", *options, *LATTICE, "--range", *angles).out)
        found = np.array([axis["tilt_angle_deg"] for axis in numbers["zone_axes"]])
        assert ((found >= angles[0]) & (found <= angles[1])).all()
        apart = np.abs((found[:, None] - found + 90) % 180 - 90) + 90 * np.eye(len(found))
        assert apart.min() > 0.1
    assert np.abs(np.abs(found) - 90).min() < 0.1  # [010], as at 0°


def test_a_plan_is_checked_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etcli.pipeline.plan_views.predicted_entropies", None)
    for options, said in (
        (("--size", 16), "atoms lie outside views of 16 pixels; give --size"),
        (("--select", 1), "1 views cannot be chosen from 141 tilt angles; ask for 2 or more"),
        (("--select", 200), "200 views cannot be chosen from 141 tilt angles; ask for fewer"),
        (("--range", 0, 1e8), "--range is more than a full turn"),
        (("--step", 0.001, "--memory", "256M"), "tilt angles take too much --memory"),
    ):
        assert said in failure("entropy", *LATTICE, *options, status=2)


def test_options_without_their_purpose_are_refused(series: Path) -> None:
    for options in (("--drop",), ("--spread", 5), ("--mode", 1)):
        said = failure("entropy", *options, series, status=2)
        assert f"{options[0]} is for the views of --select" in said
    for options in (("--seed", -1), ("--bin", 10**20), ("--total", 1e24), ("--voxels", 10**26)):
        assert failure("entropy", *options, series, status=2)


def test_the_bootstrap_is_in_the_table(series: Path) -> None:
    assert "±" in etcli("entropy", "--bootstrap", 4, series).out.splitlines()[0]
    assert "±" not in etcli("entropy", series).out


def test_counts_that_contain_the_background_are_told(series: Path, tmp_path: Path) -> None:
    rim = mrcfile.read(series).copy()
    rim[:, :, :3] += np.linspace(50, 90, 24)[:, None]
    path = write_stack(tmp_path / "r.mrc", rim)
    np.savetxt(tmp_path / "r.tlt", TILT_DEG)
    assert "WARNING: entropy - " in (said := etcli("entropy", path).err) and "give its level with" in said
    for options in (("--background", 7), ("--background", "none"), ("--as-counts",)):
        assert "give its level with" not in etcli("entropy", *options, path).err
