"""No command writes over a file that it reads, under whatever name; not even with --overwrite."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import write_atoms
from tests.files import etcli, images, mdoc_text, mrc_bytes, write_series

COMMANDS = {
    "bin": "bin s.mrc OUT",
    "filter": "filter --method gaussian s.mrc OUT",
    "stack": "stack s.mrc r.mrc OUT",
    "stack tilts": "stack --tilts t.txt --defocus d.txt s.mrc OUT",
    "stack volume": "stack v.mrc OUT",
    "xform": "xform --xf x.xf s.mrc OUT",
    "register": "register --method com --tilts t.txt s.mrc OUT",
    "register xf": "register --method com --write-xf OUT s.mrc o.mrc",
    "register plot": "register --method com --plot OUT s.mrc o.mrc",
    "register mask": "register --method match --mask m.mrc s.mrc OUT",
    "tiltalign": "tiltalign --angle 0 --prexf x.xf s.mrc OUT",
    "tiltalign xf": "tiltalign --angle 0 --prexf x.xf --write-xf OUT s.mrc o.mrc",
    "tiltalign tlt": "tiltalign --angle 0 --write-tlt OUT --tilts t.txt s.mrc o.mrc",
    "recon": "recon --iterations 1 --mask m.mrc --initial i.mrc --upper u.mrc --view-weights w.txt s.mrc OUT",
    "recon curve": "recon --iterations 1 --view-weights w.txt --error-curve OUT s.mrc o.mrc",
    "recon plot": "recon --iterations 1 --plot OUT s.mrc o.mrc",
    "recon euler": "recon --iterations 1 --euler e.csv s.mrc OUT",
    "project tilts": "project --tilts t.txt v.mrc OUT",
    "project euler": "project --euler e.csv v.mrc OUT",
    "compare": "compare v.mrc i.mrc --plot OUT",
    "compare report": "compare a.xyz b.xyz --report OUT",
    "simulate": "simulate adf --size 16 --pixel 1 --range 0 10 10 a.xyz OUT",
    "simulate truth": "simulate adf --size 16 --pixel 1 --range 0 10 10 --write-truth OUT a.xyz o.mrc",
    "trace": "trace-atoms --halves i.mrc u.mrc --refine s.mrc v.mrc OUT",
    "entropy csv": "entropy --as-counts --csv OUT s.mrc",
    "entropy output": "entropy --as-counts --select 2 --output OUT s.mrc",
    "depthsect": "depthsect --stop-after align f.mrc OUT",
    "depthsect csv": "depthsect --columns c.csv --stop-after find --csv OUT f.mrc o.csv",
    "view": "view s.mrc OUT",
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Every kind of input."""
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "s.mrc", images(4, 16, 16))
    write_series(tmp_path / "r.mrc", images(4, 16, 16))
    write_series(tmp_path / "f.mrc", images(4, 16, 16), [0] * 4, defocus_um=[-0.01, -0.02, -0.03, -0.04])
    for name in "vmiu":
        (tmp_path / f"{name}.mrc").write_bytes(mrc_bytes(images(16, 16, 16), (16, 16, 16), 2))
    for name, text in {
        "t.txt": "-40\n0\n20\n61.25\n",
        "d.txt": "-1\n-2\n-3\n-4\n",
        "w.txt": "1\n1\n1\n1\n",
        "x.xf": "1 0 0 1 0 0\n" * 4,
        "e.csv": "phi,theta,psi\n0,-40,0\n0,0,0\n0,20,0\n0,61,0\n",
        "c.csv": "x_px,y_px\n4,4\n10,10\n",
    }.items():
        (tmp_path / name).write_text(text)
    for name in "ab":
        atoms = Atoms(np.array([[0.0, 0, 0], [2, 1, 0], [0, 3, 1]]), np.array(["Au", "Au", "Pt"]))
        write_atoms(tmp_path / f"{name}.xyz", atoms)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_input_is_an_output(folder, name) -> None:
    words = COMMANDS[name].split()
    inputs = [word for word in words if (folder / word).is_file()]
    inputs += [f"{word}.mdoc" for word in inputs if (folder / f"{word}.mdoc").is_file()]
    before = contents(folder)
    for source in inputs:
        for how in ("same", "spelling", "symbolic", "hard"):
            target = Path(source)
            if how == "spelling":
                target = Path("..", folder.name, ".", source)
            elif how != "same":
                target = Path(
                    f"link{target.suffix}" if target.suffix != ".mdoc" else f"link.mrc{target.suffix}"
                )
                (target.symlink_to if how == "symbolic" else target.hardlink_to)(source)
            # an mdoc is written beside images
            given = target.with_suffix("") if target.suffix == ".mdoc" else target
            for over in ((), ("--overwrite",)):
                arguments = [str(given) if word == "OUT" else word for word in words]
                run = etcli("-q", *over, *arguments, status=None)
                # another file beside an mdoc is none of its images
                assert "ERROR: " in run.err or source.endswith(".mdoc"), (arguments, how)
                found = contents(folder)
                assert {key: found[key] for key in before} == before, (arguments, how)
            if how in ("symbolic", "hard"):
                target.unlink()


def test_what_is_derived_from_the_name_of_an_output_is_no_input_either(folder) -> None:
    (folder / "o.mrc.euler.csv").write_text((folder / "e.csv").read_text())
    (folder / "p.mrc.mdoc").write_text(mdoc_text((-40, 0, 20, 61.25)))
    for name in ("h_odd.mrc", "h_even.mrc"):
        (folder / name).write_bytes((folder / "v.mrc").read_bytes())
    (folder / "x.xf.axis").write_text("axis")
    (folder / "l.tlt").symlink_to("x.xf.axis")
    before = contents(folder)
    for line in (
        "project --euler o.mrc.euler.csv v.mrc o.mrc",
        "recon --iterations 1 --half-sets --mask h_odd.mrc s.mrc h.mrc",
        "recon --iterations 1 --half-sets --mask h_even.mrc s.mrc h.mrc",
        "project --tilts p.mrc.mdoc v.mrc p.mrc",
        "tiltalign --angle 0 --prexf x.xf --write-tlt l.tlt s.mrc o.mrc",
    ):
        assert "is an input" in etcli("-q", "--overwrite", *line.split(), status=None).err, line
        assert contents(folder) == before, line


def test_names_that_differ_in_case_only_are_one_file_where_the_disk_says_so(folder, monkeypatch) -> None:
    """As on Windows and macOS, whose ``samefile`` looks the names up on the disk."""

    def samefile(path: Path, other: object) -> bool:
        return str(path).lower() == str(Path(str(other)).resolve()).lower()

    monkeypatch.setattr(Path, "samefile", samefile)
    assert "S.MRC: is an input" in etcli("-q", "--overwrite", "bin", "s.mrc", "S.MRC", status=None).err
