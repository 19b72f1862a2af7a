"""``etcli compare`` of two files of atoms."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import read_atoms, write_atoms
from tests.files import etcli, failure, write_stack
from tests.solids import solid

RIGID = Rotation.from_euler("zyx", [1.0, -0.5, 0.8], degrees=True)
TABLES = {"summary", "pair_distribution", "bond_lengths", "bond_angles", "coordination", "nearest_neighbours"}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A model of a reference: 20 atoms missing, 5 false, 10 of the wrong element, errors of 10 pm an axis."""
    rng = np.random.default_rng(7)
    place = solid(9, seed=2)
    species = rng.choice(["Si", "O"], len(place))
    files = tmp_path / "found.xyz", tmp_path / "truth.xyz"
    write_atoms(files[1], Atoms(place, species))
    found = place[20:] + rng.normal(size=(len(place) - 20, 3)) * 0.1 + [0, 0.04, 0]
    elements = species[20:].copy()
    elements[:10] = np.where(elements[:10] == "Si", "O", "Si")
    false = rng.uniform(30, 40, (5, 3))
    write_atoms(files[0], Atoms(np.concatenate([found, false]), np.concatenate([elements, ["Si"] * 5])))
    return files


def compare(*arguments: object) -> dict[str, object]:
    run = etcli("compare", "--json", *arguments)
    assert run.err == ""
    return json.loads(run.out)


def test_the_numbers_are_those_put_in(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    n = 9**3
    assert (found["atoms"], found["reference_atoms"]) == (n - 15, n)
    assert (found["found"], found["missing"], found["false"]) == (n - 20, 20, 5)
    assert found["found_percent"] == pytest.approx(100 * (n - 20) / n)
    assert found["missing_percent"] == pytest.approx(100 * 20 / n)
    assert found["false_percent"] == pytest.approx(100 * 5 / n)
    assert found["right_percent"] == pytest.approx(100 * (n - 30) / (n - 20))
    error = read_atoms(pair[0]).position_A[: n - 20] - read_atoms(pair[1]).position_A[20:]
    length = np.linalg.norm(error, axis=1)
    assert found["rmsd_pm"] == pytest.approx(100 * np.sqrt((length**2).mean()), abs=1e-4)
    assert found["mean_error_pm"] == pytest.approx(100 * length.mean(), abs=1e-4)
    for k, axis in enumerate("xyz"):
        assert found[f"rmsd_{axis}_pm"] == pytest.approx(100 * np.sqrt((error[:, k] ** 2).mean()), abs=1e-4)
        assert found[f"mean_error_{axis}_pm"] == pytest.approx(100 * np.abs(error[:, k]).mean(), abs=1e-4)
        assert found[f"offset_{axis}_pm"] == pytest.approx(100 * error[:, k].mean(), abs=1e-4)
    assert found["offset_y_pm"] == pytest.approx(4, abs=1.5)
    assert 2 < found["chance_percent"] < 20
    assert (found["cutoff_A"], found["rule"]) == (0.75, "one-to-one")
    assert "rotation_deg" not in found
    confusion = found["confusion"]
    assert confusion["Si"]["O"] + confusion["O"]["Si"] == 10
    assert sum(sum(row.values()) for row in confusion.values()) == n - 20
    assert found["species"]["Si"]["false"] == 5 and found["species"]["O"]["false"] == 0
    assert sum(group["reference_atoms"] for group in found["species"].values()) == n


def test_the_table_says_the_same(pair: tuple[Path, Path]) -> None:
    found = compare(*pair)
    lines = etcli("compare", *pair).out.splitlines()
    first = [line.split() for line in lines[: lines.index("")]]
    assert {name for name, _ in first} == set(found) - {"species", "confusion"}
    for name, value in first:
        if name != "rule":
            assert float(value) == pytest.approx(found[name], rel=1e-5), name
    assert lines[lines.index("") + 1].split()[:3] == ["element", "reference_atoms", "found"]
    assert any(line.startswith("B \\ A") for line in lines)


def test_the_order_of_atoms_and_the_format_play_no_part(pair: tuple[Path, Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    shuffled = []
    for path, name in zip(pair, ("a.extxyz", "b.extxyz"), strict=True):
        atoms = read_atoms(path)
        write_atoms(tmp_path / name, atoms.select(rng.permutation(len(atoms))))
        shuffled.append(tmp_path / name)
    assert compare(*shuffled) == compare(*pair)
    write_atoms(tmp_path / "a.cif", read_atoms(pair[0]))
    assert compare(tmp_path / "a.cif", pair[1])["rmsd_pm"] == pytest.approx(
        compare(*pair)["rmsd_pm"], abs=1e-3
    )


def test_a_rigid_motion_is_told_and_undone(pair: tuple[Path, Path], tmp_path: Path) -> None:
    atoms = read_atoms(pair[0])
    moved = Atoms(RIGID.apply(atoms.position_A) + np.array([0.1, 0, -0.2]), atoms.species)
    write_atoms(tmp_path / "m.xyz", moved)
    before, after = compare(tmp_path / "m.xyz", pair[1]), compare("--align", tmp_path / "m.xyz", pair[1])
    assert before["rmsd_pm"] > 20
    assert after["rotation_deg"] == pytest.approx(np.rad2deg(RIGID.magnitude()), abs=0.1)
    assert after["found"] == compare(*pair)["found"] and after["rmsd_pm"] < 18
    assert after["offset_y_pm"] == pytest.approx(0, abs=1e-4)


def test_both_are_cut_to_a_box(pair: tuple[Path, Path]) -> None:
    found = compare("--box", "10,1.2nm,inf", *pair)
    inside = [(np.abs(read_atoms(path).position_A) < [5, 6, np.inf]).all(axis=1).sum() for path in pair]
    assert [found["atoms"], found["reference_atoms"]] == inside
    assert "none of its" in failure("compare", "--box", "0.01,0.01,0.01", *pair)
    for wrong, what in (("10,10", "three widths"), ("1,2,x", "not a length"), ("0,1,1", "no volume")):
        assert what in failure("compare", "--box", wrong, *pair, status=2)
    assert "in A" in failure("compare", "--box", "1px,1,1", *pair, status=2)


def test_the_rule_and_the_cutoff_decide(pair: tuple[Path, Path]) -> None:
    assert compare("--cutoff", "0.1", *pair)["found"] < compare("--cutoff", "0.2", *pair)["found"]
    assert compare("--rule", "nearest", *pair)["rule"] == "nearest"
    assert compare("--metric", "atoms", *pair) == compare(*pair)
    assert "positive number of Å" in failure("compare", "--cutoff", "0", *pair, status=2)


def test_a_wrong_frame_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    atoms = read_atoms(pair[0])
    write_atoms(tmp_path / "m.xyz", Atoms(atoms.position_A[:, [1, 0, 2]] + 17.3, atoms.species))
    run = etcli("compare", "--cutoff", "0.5", tmp_path / "m.xyz", pair[1])
    warnings = [line for line in run.err.splitlines() if "another frame" in line]
    assert len(warnings) == 1 and warnings[0].startswith("WARNING: compare - ")
    assert "axes of A read as y,x,z (mirrored) and a shift by" in warnings[0]
    turned = Rotation.from_euler("xyz", [20, 30, 40], degrees=True).apply(atoms.position_A)
    write_atoms(tmp_path / "t.xyz", Atoms(turned, atoms.species))
    run = etcli("compare", tmp_path / "t.xyz", pair[1])
    assert "is little more than" in run.err and "another frame" not in run.err


def test_elements_by_chance_are_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    atoms = read_atoms(pair[0])
    species = np.random.default_rng(1).permutation(atoms.species)
    write_atoms(tmp_path / "s.xyz", Atoms(atoms.position_A, species))
    run = etcli("compare", tmp_path / "s.xyz", pair[1])
    assert "elements agree in" in run.err and len(run.err.splitlines()) == 1


def test_unknown_elements_are_not_wrong(pair: tuple[Path, Path], tmp_path: Path) -> None:
    atoms = read_atoms(pair[0])
    write_atoms(tmp_path / "x.xyz", Atoms(atoms.position_A, np.full(len(atoms), "X")))
    found = compare(tmp_path / "x.xyz", pair[1])
    assert found["right_percent"] is None and found["found"] == compare(*pair)["found"]
    assert "right_percent        -\n" in etcli("compare", tmp_path / "x.xyz", pair[1]).out


def test_the_picture_is_drawn(pair: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("p.png", "p.svg", "q.png"):
        etcli("compare", "--plot", tmp_path / name, *pair)
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == (1600, 820)
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "q.png").read_bytes()


@pytest.mark.usefixtures("coarse_pictures")
def test_the_report_has_tables_and_pictures_of_both(pair: tuple[Path, Path], tmp_path: Path) -> None:
    etcli("compare", "--report", tmp_path / "report", *pair)
    folder = tmp_path / "report"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{table}.csv" for table in TABLES} | {"pair_distribution.png", "bonds.png"}
    for table in TABLES:
        with (folder / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1 and len(rows) > 1
        assert "-0" not in {word for row in rows for word in row}
    with (folder / "pair_distribution.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"distance_A", "g", "g_O_Si", "g_reference", "g_O_Si_reference"} <= set(rows[0])
    with (folder / "summary.csv").open(newline="") as file:
        models = [row["model"] for row in csv.DictReader(file) if row["elements"] == "all"]
    assert models == ["found.xyz", "truth.xyz"]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    etcli("compare", "--report", folder, *pair)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.usefixtures("coarse_pictures")
def test_a_report_comes_whole_or_not_at_all(pair: tuple[Path, Path], tmp_path: Path) -> None:
    one = tmp_path / "one.xyz"
    write_atoms(one, read_atoms(pair[0]).select(np.array([0])))
    run = etcli("compare", "--report", tmp_path / "r", one, pair[1], status=1)
    assert "one.xyz: 1 atoms have no structure; two at least are needed" in run.err and run.out == ""
    assert not (tmp_path / "r").exists()
    (tmp_path / "kept").mkdir()
    etcli("compare", "--report", tmp_path / "kept", one, pair[1], status=1)
    assert list((tmp_path / "kept").iterdir()) == []
    assert "cannot make this folder" in failure("compare", "--report", tmp_path / "a" / "b", *pair)
    assert "is a file" in failure("compare", "--report", pair[0], *pair, status=2)


def test_atoms_and_volumes_do_not_mix(pair: tuple[Path, Path], tmp_path: Path) -> None:
    volume = write_stack(tmp_path / "v.mrc", np.ones((3, 4, 5), np.float32))
    for files in ((pair[0], volume), (volume, pair[0])):
        line = failure("compare", *files, status=2)
        assert "found.xyz is a file of atoms and" in line and "compare two of a kind" in line
    assert "--metric atoms is not for files of images" in failure(
        "compare", "--metric", "atoms", volume, volume, status=2
    )
    assert "--metric ssim is not for files of atoms" in failure(
        "compare", "--metric", "ssim", *pair, status=2
    )
    assert "--fit-scale is for volumes" in failure("compare", "--fit-scale", *pair, status=2)
    for option in (
        ("--cutoff", "1"),
        ("--rule", "nearest"),
        ("--box", "1,1,1"),
        ("--report", "r"),
    ):
        assert f"{option[0]} is for files of atoms" in failure("compare", *option, volume, volume, status=2)


def test_bad_files_are_told_in_a_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.xyz"
    bad.write_text(pair[0].read_text()[:-200])
    assert "the file is cut off" in failure("compare", bad, pair[1])
    assert "no such file" in failure("compare", tmp_path / "none.xyz", pair[1])
    bad.write_bytes(b"\x00\xff" * 500)
    assert "bad.xyz: is binary, not text; give the right file" in failure("compare", bad, pair[1])
