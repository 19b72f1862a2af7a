"""The history of an output: every step with command line, version and inputs, through all commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import etcli as package
from etcli.core.atomic_model import Atoms
from etcli.io.atoms import read_atoms_file, write_atoms
from etcli.io.history import complete, from_one_line, grouped, in_one_line
from tests.files import etcli, images, write_series

STEP = "etcli recon 1.0: SIRT 30\n  version: 1.0.2\n  command: etcli recon 'a | b' c\n  input: a | b, 3 bytes"


@pytest.fixture
def series(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_series(tmp_path / "a.mrc", images(4, 24, 20), axis_deg=0)


def steps(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(etcli("info", "--json", name).out)["steps"]
    return found


def history(name: str) -> list[str]:
    short: list[str] = json.loads(etcli("info", "--json", name).out)["history"]
    return short


def commands(name: str) -> list[str]:
    return [step["command"] for step in steps(name)]


def test_a_step_has_command_version_and_inputs(series) -> None:
    etcli("-q", "bin", "-j", 2, "a.mrc", "b 1.mrc")
    (step,) = steps("b 1.mrc")
    assert step == {
        "version": package.__version__,
        "command": "etcli bin a.mrc 'b 1.mrc'",
        "inputs": [
            f"a.mrc, {series.stat().st_size} bytes, 20 x 24 x 4 of 2.5 A, -40 to 61.25 deg, 200 kV, 4.6 e/A2",
            f"a.mrc.mdoc, {Path('a.mrc.mdoc').stat().st_size} bytes",
        ],
    }


@pytest.mark.parametrize("ending", ["mrc", "tif"])
def test_twelve_steps_survive_where_labels_are_ten_and_short(series, ending) -> None:
    weights = "weights of the views of a series in a file that has a name longer than a label.txt"
    Path(weights).write_text("1\n2\n1\n1\n")
    previous, made = "a.mrc", []
    for k in range(9):
        made.append(("filter", "--method", "median", previous, f"f{k}.{ending}"))
        previous = made[-1][-1]
    made.append(
        ("recon", "--iterations", "1", "--exclude", "2", "--view-weights", weights, previous, f"v.{ending}")
    )
    made.append(("filter", "--dims", "3", f"v.{ending}", f"w.{ending}"))
    made.append(("stack", "--views", "3-8", f"w.{ending}", f"x.{ending}"))
    made.append(("bin", "--dims", "3", f"x.{ending}", f"y.{ending}"))
    made.append(("project", "--range", "-10", "10", "10", f"y.{ending}", f"p.{ending}"))
    made.append(("bin", f"p.{ending}", f"q.{ending}"))
    for command in made:
        etcli("-q", *command)
    expected = [" ".join(["etcli", *command]).replace(weights, f"'{weights}'") for command in made]
    assert commands(f"q.{ending}") == expected
    said = steps(f"q.{ending}")[9]
    assert f"{weights}, 8 bytes" in said["inputs"]
    assert len(json.loads(etcli("info", "--json", f"q.{ending}").out)["labels"]) <= 10


def test_a_volume_without_its_mdoc_still_has_its_history(series) -> None:
    etcli("-q", "recon", "--iterations", 1, "a.mrc", "v.mrc")
    Path("v.mrc.mdoc").unlink()
    assert commands("v.mrc") == ["etcli recon --iterations 1 a.mrc v.mrc"]


def test_files_stacked_keep_the_steps_of_each(series) -> None:
    etcli("stack", "--views", 1, "a.mrc", "t1.mrc")
    etcli("stack", "--views", 2, "a.mrc", "t2.mrc")
    etcli("stack", "t1.mrc", "t2.mrc", "t.mrc")
    assert commands("t.mrc") == [
        "etcli stack --views 1 a.mrc t1.mrc",
        "etcli stack --views 2 a.mrc t2.mrc",
        "etcli stack t1.mrc t2.mrc t.mrc",
    ]


@pytest.mark.parametrize("ending", ["xyz", "plain.xyz", "cif", "pdb"])
def test_the_history_goes_through_files_of_atoms(tmp_path, monkeypatch, ending) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = Atoms(np.array([[0.0, 0, 0], [2, 1, 0], [0, 3, 1]]), np.array(["Au", "Au", "Pt"]))
    write_atoms(tmp_path / f"m.{ending}", atoms, history=[STEP])
    written = (tmp_path / f"m.{ending}").read_text()
    assert "etcli recon 'a | b' c" in written and "version: 1.0.2" in written
    if ending == "xyz":
        assert read_atoms_file(tmp_path / "m.xyz").history == (STEP,)
        truth = ("--write-truth", "t.xyz")
        etcli(
            "-q",
            "simulate",
            "adf",
            "--size",
            16,
            "--pixel",
            1,
            "--range",
            -10,
            10,
            10,
            *truth,
            "m.xyz",
            "s.mrc",
        )
        assert commands("s.mrc")[0] == "etcli recon 'a | b' c"
        assert commands("s.mrc")[1].startswith("etcli simulate adf --size 16")
        assert read_atoms_file(tmp_path / "t.xyz").history[0] == STEP
        assert "etcli recon 'a | b' c" in etcli("info", "--history", "t.xyz").out


def test_info_prints_what_a_methods_section_needs(series) -> None:
    etcli("-q", "bin", "a.mrc", "b.mrc")
    etcli("-q", "recon", "--iterations", 1, "--exclude", 3, "b.mrc", "v.mrc")
    said = etcli("info", "--history", "v.mrc").out
    for words in (
        "v.mrc",
        "SerialEM: made for a test",
        "etcli bin 0.1: mean of 2 x 2",
        f"version  {package.__version__}",
        "command  etcli recon --iterations 1 --exclude 3 b.mrc v.mrc",
        "input    a.mrc, 8704 bytes, 20 x 24 x 4 of 2.5 A, -40 to 61.25 deg, 200 kV, 4.6 e/A2",
        "input    b.mrc, 3968 bytes, 10 x 12 x 4 of 5 A, -40 to 61.25 deg, 200 kV, 4.6 e/A2",
    ):
        assert words in said
    assert "--json" in etcli("info", "--history", "--json", "v.mrc", status=2).err


def test_a_step_is_one_line_and_back() -> None:
    assert from_one_line(in_one_line(STEP)) == STEP
    assert from_one_line("etcli recon 1.0: a | b") == "etcli recon 1.0: a | b"


def test_titles_are_steps_and_labels_complete_them() -> None:
    titles = ["SerialEM: x", *STEP.split("\n"), "etcli bin 1.0: mean", "  command: etcli bin", "other"]
    assert grouped(titles) == ["SerialEM: x", STEP, "etcli bin 1.0: mean\n  command: etcli bin", "other"]
    labels = [
        "Created",
        "etcli recon 1.0: SIRT 30",
        "etcli frame: 1,1,1 A, voxel 2",
        "etcli bin 1.0: mean",
        "etcli x",
    ]
    assert complete(labels, titles) == (
        "Created",
        STEP,
        "etcli bin 1.0: mean\n  command: etcli bin",
        "etcli x",
    )
    assert complete(labels, ["none of ours"]) == tuple(labels)


def test_transforms_bring_the_step_that_found_them(series) -> None:
    etcli("-q", "register", "--method", "pc", "--write-xf", "r.xf", "a.mrc", "r.mrc")
    etcli("-q", "tiltalign", "--angle", 0, "--prexf", "r.xf", "--write-xf", "t.xf", "a.mrc", "t.mrc")
    etcli("-q", "xform", "--xf", "t.xf", "a.mrc", "x.mrc")
    found = [command.split()[1] for command in commands("t.mrc")]
    assert found == ["register", "tiltalign"]
    assert [command.split()[1] for command in commands("x.mrc")] == ["register", "tiltalign", "xform"]
    assert len(np.loadtxt("t.xf")) == 4


def test_work_in_python_keeps_the_steps_before_it(series) -> None:
    etcli("-q", "recon", "--iterations", 1, "--exclude", 2, "a.mrc", "v.mrc")
    volume = package.filter(package.read("v.mrc"), "median")
    package.write(package.filter(volume, "median"), "w.mrc")
    assert [step.split(":")[0] for step in history("w.mrc")] == [
        "etcli recon 0.1",
        "etcli filter 0.1",
        "etcli filter 0.1",
    ]
    assert commands("w.mrc") == ["etcli recon --iterations 1 --exclude 2 a.mrc v.mrc", None, None]
    package.write(package.bin(package.read("a.mrc"), 2), "b.mrc")
    assert history("b.mrc") == ["etcli bin 0.1: mean of 2 x 2"]


def test_words_that_are_no_text_do_not_stop_the_work(series) -> None:
    """A name in the bytes of another encoding, as old disks have."""
    name = b"s\xe9rie.mrc".decode("utf-8", "surrogateescape")
    try:
        Path(name).write_bytes(series.read_bytes())
    except OSError:
        pytest.skip("names of files are text here")
    Path(f"{name}.mdoc").write_bytes(Path("a.mrc.mdoc").read_bytes())
    etcli("-q", "bin", name, "b.mrc")
    assert commands("b.mrc") == ["etcli bin 's?rie.mrc' b.mrc"]
    etcli("-q", "bin", "a.mrc", name.replace("s", "t", 1))
