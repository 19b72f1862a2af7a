"""The installed files for make and SerialEM."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import etcli as package
from tests.files import etcli, write_series

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="no make")


def recipe(kind: str) -> Path:
    path = Path(etcli("--recipe", kind).out.strip())
    assert path.is_relative_to(Path(package.__file__).parent)
    return path


def make(folder: Path, *arguments: str) -> str:
    command = ["make", "--dry-run", f"ETCLI={sys.executable} -m etcli", *arguments]
    # `make test` would have this one print its folders
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    run = subprocess.run(command, cwd=folder, env=alone, check=True, capture_output=True, text=True)
    return run.stdout


@needs_make
@pytest.mark.parametrize("above", [True, False])
def test_an_include_works_at_the_first_run(tmp_path, above) -> None:
    lines = [f"include {recipe('make')}", "all: a_rec.mrc"]
    (tmp_path / "Makefile").write_text("\n".join([*(lines if above else lines[::-1]), ""]))
    write_series(tmp_path / "a.mrc")
    steps = [line.split(" -m etcli ")[1].split()[0] for line in make(tmp_path).splitlines()]
    assert steps == ["bin", "filter", "register", "tiltalign", "recon"]


@needs_make
def test_a_step_is_made_again_when_its_options_change(tmp_path) -> None:
    rules = ["-f", str(recipe("make")), "a_rec.mrc"]
    write_series(tmp_path / "a.mrc")
    make(tmp_path, *rules)
    for name in ("bin", "clean", "pre", "ali", "rec"):
        (tmp_path / f"a_{name}.mrc").touch()
    assert "etcli" not in make(tmp_path, *rules)
    (line,) = make(tmp_path, *rules, "RECON=--method fbp").splitlines()
    assert line.endswith("-m etcli recon --method fbp a_ali.mrc a_rec.mrc")


@needs_make
@pytest.mark.parametrize("ending", ["hspy", "npz", "emd", "dm4"])
def test_spectrum_images_become_elements(tmp_path, ending) -> None:
    rules = ["-f", str(recipe("make")), "ELEMENTS=Ni,Co", "a_element.json"]
    write_series(tmp_path / "a.mrc")
    (tmp_path / f"a_si.{ending}").touch()
    commands = [
        line.split(" -m etcli ")[1] for line in make(tmp_path, *rules).splitlines() if "etcli" in line
    ]
    assert {line.split()[0] for line in commands[:-2]} == {
        *("bin", "filter", "register", "tiltalign", "decompose"),
    }
    parts = [f"a_map_{name}{part}.mrc" for name in ("Ni", "Co") for part in ("", "_train", "_test")]
    assert commands[-2] == f"xform --linear --xf a.xf a_map_sum.mrc {' '.join(parts)} a_aligned_map.mrc"
    assert commands[-1].startswith("fuse  --haadf a_ali.mrc ")


def test_every_line_for_serialem_works(tmp_path) -> None:
    """As SerialEM replaces the variables; its own commands are not tried."""
    text = recipe("serialem").read_text(encoding="utf-8")
    lines = re.findall(
        r"^NextProcessArgs (.*)\nRunProcess \$program\nIf \$reportedValue1 != 0$", text, re.MULTILINE
    )
    assert len(lines) == text.count("NextProcessArgs") == 5
    made = ["needle", "--size", 32, "--pixel", "2nm", "--range", -60, 60, 6, "--drift", "2px"]
    etcli("simulate", *made, tmp_path / "s.mrc")
    for line in lines:
        arguments = [word.strip('"') for word in line.replace("$series", str(tmp_path / "s.mrc")).split()]
        etcli(*arguments)
    assert (tmp_path / "s.mrc_rec.png").is_file()
    (tmp_path / "s.mrc_ali.mrc").unlink()
    etcli(
        *[word.strip('"') for word in lines[3].replace("$series", str(tmp_path / "s.mrc")).split()], status=3
    )
