"""``etcli info``: what scripts may rely on."""

import json
import math

import numpy as np
import pytest
import tifffile

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import Box, write_atoms
from tests.files import TILT_DEG, etcli, failure, images, mdoc_text, mrc_bytes, write_series, write_stack


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc")


def test_json_holds_what_is_known(series) -> None:
    run = etcli("info", "--json", series)
    facts, data = json.loads(run.out), images()
    assert facts["labels"].pop(0).startswith("Created by mrcfile")
    assert facts == {
        "file": str(series),
        "size": [10, 12, 4],
        "pixel_A": 2.5,
        "mode": 2,
        "type": "float32",
        "min": data.min(),
        "max": data.max(),
        "mean": pytest.approx(data.mean(dtype=np.float64), rel=1e-6),
        "origin_A": [0, 0, 0],
        "tilt_deg": list(TILT_DEG),
        "axis_deg": 85.3,
        "registered_axis": None,
        "empty_views": [],
        "dose_e_A2": [1, 1.1, 1.2, 1.3],
        "defocus_um": [-1, -1.01, -1.02, -1.03],
        "voltage_kv": 200,
        "map": None,
        "segmentation": None,
        "labels": [],
        "history": [],
        "steps": [],
        "source": f"{series}.mdoc",
        "diameter_A": None,
        # steps of 20, 40 and 41.25 degrees over a field of 25 Å
        "resolution_A": pytest.approx(25 * math.radians(40), rel=1e-3),
    }
    assert run.err == ""


def test_json_of_a_file_that_says_nothing(tmp_path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=0))
    facts = json.loads(etcli("info", "--json", path).out)
    unknown = {key for key, value in facts.items() if value is None}
    assert unknown == {
        *("pixel_A", "tilt_deg", "axis_deg", "registered_axis", "dose_e_A2"),
        *("defocus_um", "voltage_kv", "map", "segmentation", "source", "resolution_A", "diameter_A"),
    }


def test_json_of_several_files_is_a_list(series, tmp_path) -> None:
    other = write_stack(tmp_path / "b.mrc", images(2))
    facts = json.loads(etcli("info", series, "--json", other).out)
    assert [fact["size"] for fact in facts] == [[10, 12, 4], [10, 12, 2]]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("size", "10 12 4"),
        ("pixel", "67.2"),
        ("mode", "1"),
        ("min", "-1.5"),
        ("max", "1234.568"),
        ("mean", "616.5339"),
        ("origin", "0.1 -5 0"),
        ("tilts", "-40.00\n0.00\n20.00\n61.250488"),
    ],
)
def test_field_prints_bare_numbers(tmp_path, field, expected) -> None:
    path = tmp_path / "a.mrc"
    content = mrc_bytes(
        images().astype("<i2"), (10, 12, 4), 1, pixel_A=67.2, span=(-1.5, 1234.5678), origin=(0.1, -5, 0)
    )
    path.write_bytes(content)
    (tmp_path / "a.rawtlt").write_text("-40\n0\n20\n61.250488\n")
    assert etcli("info", "--field", field, path).out == f"{expected}\n"


def test_several_fields_of_several_files(series, tmp_path) -> None:
    """A line for each field, in the order asked for, file after file."""
    other = write_stack(tmp_path / "b.mrc", images(2))
    fields = ("--field", "pixel", "--field", "size")
    assert etcli("info", *fields, series, other).out == "2.5\n10 12 4\n2.5\n10 12 2\n"
    assert etcli("info", "--field", "size", "--field", "tilts", series).out == (
        "10 12 4\n-40.00\n0.00\n20.00\n61.25\n"
    )


def test_statistics_that_the_header_does_not_know_are_computed(tmp_path) -> None:
    data = images()
    for span in ((0, -1), (0, 0)):
        (tmp_path / "a.mrc").write_bytes(mrc_bytes(data.astype("<f4"), (10, 12, 4), 2, span=span))
        facts = json.loads(etcli("info", "--json", tmp_path / "a.mrc").out)
        assert (facts["min"], facts["max"]) == (data.min(), data.max())
        assert facts["mean"] == pytest.approx(data.mean(dtype=np.float64), rel=1e-6)


def test_a_field_that_is_not_known_is_an_error(tmp_path) -> None:
    path = write_stack(tmp_path / "a.mrc", images())
    line = failure("info", "--field", "tilts", path)
    assert line.startswith(f"ERROR: info - {path}: no tilt angles (looked for ")
    assert f"{tmp_path / 'a.tlt'}" in line
    path.write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=0))
    assert "its pixel is not known" in failure("info", "--field", "pixel", path)


@pytest.mark.parametrize(("diameter", "resolution_A"), [("100", 69.81), ("10nm", 69.81), ("40px", 69.81)])
def test_resolution_is_crowthers(series, diameter, resolution_A) -> None:
    """D Δθ, with the median step of 40 degrees."""
    facts = json.loads(etcli("info", "--json", "--diameter", diameter, series).out)
    assert facts["resolution_A"] == resolution_A


def test_the_table_tells_it_in_words(series) -> None:
    out = etcli("info", series).out
    for text in (
        "10 x 12 x 4",
        "2.5 Å",
        "4, -40 to 61.25°, from",
        "85.3° from +y",
        "200 kV",
        "4.6 e/Å² in all",
        "-1, -1.01, -1.02, -1.03 µm",
        "2 (float32)",
    ):
        assert text in out


def test_defoci_are_listed_or_their_range(tmp_path) -> None:
    """And the tilts counted where there are several defoci at each."""
    tilts = [-30.0, 0.0, 30.0]
    for n_defoci, shown in ((2, "-1, -0.9 µm at 3 tilts"), (7, "-1 to -0.4 µm at 3 tilts")):
        defoci = [-1 + 0.1 * k for k in range(n_defoci)] * 3
        angles = [tilt for tilt in tilts for _ in range(n_defoci)]
        path = tmp_path / f"{n_defoci}.mrc"
        write_series(path, np.ones((3 * n_defoci, 8, 8), np.float32), angles, defocus_um=defoci)
        assert shown in etcli("info", path).out


def test_angles_come_from_the_first_source_and_disagreement_is_told(series, tmp_path) -> None:
    """--tilts, STEM.tlt, the mdoc, STEM.rawtlt."""
    (tmp_path / "a.rawtlt").write_text("-40\n0\n20.04\n61.25\n")
    assert etcli("info", "--field", "tilts", series).err == ""
    (tmp_path / "a.rawtlt").write_text("-40\n0\n20.06\n61.25\n")
    run = etcli("info", "--json", series)
    assert json.loads(run.out)["source"] == f"{series}.mdoc"
    assert run.err.startswith("WARNING: info - ")
    assert "20.06" in run.err
    (tmp_path / "a.tlt").write_text("-41\n1\n21\n62\n")
    assert json.loads(etcli("-q", "info", "--json", series).out)["tilt_deg"] == [-41, 1, 21, 62]
    (tmp_path / "given").write_text("1\n2\n3\n4\n")
    given = etcli("-q", "info", "--json", "--tilts", tmp_path / "given", series)
    assert json.loads(given.out)["tilt_deg"] == [1, 2, 3, 4]
    assert given.err == ""


@pytest.mark.parametrize("arguments", [("-v", "info"), ("info", "-v")])
def test_verbose_names_the_source(series, arguments) -> None:
    assert f"{series}: 4 views, tilt angles from {series}.mdoc" in etcli(*arguments, series).err


def test_a_wrong_count_of_angles_names_both(series, tmp_path) -> None:
    (tmp_path / "given").write_text("1\n2\n3\n")
    line = failure("info", "--tilts", tmp_path / "given", series)
    assert f"{series}: 4 sections but 3 tilt angles in {tmp_path / 'given'}" in line
    (tmp_path / "a.mrc.mdoc").write_text(mdoc_text([*TILT_DEG, 70]))
    assert "4 sections but" in failure("info", series)


def test_json_and_field_exclude_each_other(series) -> None:
    assert "not both" in failure("info", "--json", "--field", "size", series, status=2)


def test_a_step_is_told_once_in_each_way(series, tmp_path) -> None:
    """As a label of the header, in the history, and with its details, which do not repeat it."""
    out = tmp_path / "b.mrc"
    etcli("-q", "bin", series, out)
    text = etcli("info", "--json", out).out
    assert json.loads(text)["history"] == ["etcli bin 0.1: mean of 2 x 2"]
    assert set(json.loads(text)["steps"][0]) == {"version", "command", "inputs"}
    assert text.count("etcli bin 0.1: mean") == 2
    assert etcli("info", out).out.count("etcli bin 0.1: mean") == 1


@pytest.mark.parametrize(
    ("dtype", "mode"),
    [("uint8", 0), ("int8", 0), ("int16", 1), ("uint16", 6), ("float32", 2), ("float64", None)],
)
def test_a_tiff_has_a_type_and_what_its_program_said(tmp_path, dtype, mode) -> None:
    how = {
        "photometric": "minisblack",
        "description": "needle 3\nmore",
        "software": "Velox 3",
        "metadata": None,
    }
    tifffile.imwrite(tmp_path / "a.tif", (images() / 10).astype(dtype), **how)
    facts = json.loads(etcli("info", "--json", tmp_path / "a.tif").out)
    assert (facts["type"], facts["mode"], facts["labels"]) == (dtype, mode, ["needle 3", "Velox 3"])
    out = etcli("info", tmp_path / "a.tif").out
    assert f"{mode} ({dtype})" in out if mode is not None else f"  type         {dtype}" in out
    etcli("-q", "stack", tmp_path / "a.tif", tmp_path / "b.tif")
    facts = json.loads(etcli("info", "--json", tmp_path / "b.tif").out)
    assert facts["type"] == "float32"
    assert facts["history"] == ["etcli stack 0.1: 4 views of 1 file"]
    assert "  step         etcli stack 0.1: 4 views of 1 file" in etcli("info", tmp_path / "b.tif").out


ATOMS = Atoms(np.array([[-1.5, 0, 0], [2, 1, 0], [0, 3, 1]]), np.array(["Pt", "Au", "Au"]))


@pytest.mark.parametrize("ending", ["xyz", "plain.xyz", "pdb", "cif"])
def test_atoms_are_told(tmp_path, ending) -> None:
    """Their number, elements, extent, box and history, whatever the format."""
    box = Box(np.diag([10.0, 11, 12]), np.array([-5, -5.5, -6]))
    command = " ".join(["etcli", *["a.mrc"] * 30])
    step = f"etcli trace-atoms 1.0: 3 atoms\n  version: 1.0.2\n  command: {command}"
    path = tmp_path / f"m.{ending}"
    write_atoms(path, ATOMS, box=box, history=["etcli recon 1.0: SIRT 30", step])
    facts = json.loads(etcli("info", "--json", path).out)
    assert (facts["atoms"], facts["elements"]) == (3, {"Au": 2, "Pt": 1})
    assert facts["extent_A"] == [[-1.5, 2], [0, 3], [0, 1]]
    if ending != "plain.xyz":
        assert facts["cell_A"] == [[10, 0, 0], [0, 11, 0], [0, 0, 12]]
        assert facts["cell_origin_A"] == [-5, -5.5, -6]
    assert facts["history"] == ["etcli recon 1.0: SIRT 30", "etcli trace-atoms 1.0: 3 atoms"]
    assert facts["steps"][1]["command"] == command
    assert facts["steps"][1]["version"] == "1.0.2"
    out = etcli("info", path).out
    for text in (
        "atoms        3",
        "Au 2, Pt 1",
        "x -1.5 to 2, y 0 to 3, z 0 to 1 Å",
        "etcli trace-atoms 1.0",
    ):
        assert text in out
    assert ("10 x 11 x 12 Å, from (-5, -5.5, -6)" in out) == (ending != "plain.xyz")
    assert "command  etcli a.mrc a.mrc" in etcli("info", "--history", path).out


PDB_RECORD = f"HETATM    1 AU   MOL A   1    {'   0.000' * 3}  1.00  0.00          AU"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.xyz", "1\nGold, from the web\nAu 0 0 0\n"),
        (
            "a.pdb",
            f"TITLE     Gold, from the web\n{PDB_RECORD}\nEND\n",
        ),
        (
            "a.cif",
            "# Gold, from the web\ndata_a\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n"
            "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\nloop_\n_atom_site_label\n"
            "_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
            "Au1 Au 0 0 0\n",
        ),
    ],
)
def test_what_another_program_said_of_atoms_is_told(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text)
    facts = json.loads(etcli("info", "--json", tmp_path / name).out)
    assert (facts["comment"], facts["history"]) == ("Gold, from the web", [])
    assert "comment      Gold, from the web" in etcli("info", tmp_path / name).out


def test_columns_and_notes_of_atoms_are_told(tmp_path) -> None:
    atoms = ATOMS.with_columns(sigma_A=np.array([0.5, 0.6, 0.7]))
    write_atoms(tmp_path / "a.xyz", atoms, notes={"scale": "3"})
    out = etcli("info", tmp_path / "a.xyz").out
    assert "columns      sigma_A" in out
    assert "note         scale: 3" in out


def test_bare_numbers_are_those_of_images(tmp_path) -> None:
    write_atoms(tmp_path / "a.xyz", ATOMS)
    line = failure("info", "--field", "size", tmp_path / "a.xyz", status=2)
    assert "a.xyz: --field is for images; --json tells everything about atoms" in line


@pytest.mark.parametrize("diameter", ["0", "0nm", "-5px"])
def test_a_specimen_has_a_diameter(series, diameter) -> None:
    assert "give a positive length" in failure("info", "--diameter", diameter, series, status=2)


@pytest.mark.parametrize("how", [(), ("--json",), ("--field", "size"), ("--history",)])
def test_what_can_be_read_is_told_before_the_error(tmp_path, how) -> None:
    for name in ("a.mrc", "c.mrc"):
        write_stack(tmp_path / name, np.ones((3, 4, 5), np.float32))
    run = etcli("info", *how, tmp_path / "a.mrc", tmp_path / "b.mrc", tmp_path / "c.mrc", status=1)
    assert run.out == etcli("info", *how, tmp_path / "a.mrc", tmp_path / "c.mrc").out != ""
    assert "b.mrc: no such file" in run.err
