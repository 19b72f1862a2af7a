"""``etcli simulate focal``: a model, its series, and the truth beside it."""

import json
from functools import cache
from pathlib import Path

import mdocfile
import mrcfile
import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.core.depth.focal_library import focal_library
from etcli.io.atoms import read_atoms_file, write_atoms
from etcli.pipeline.inputs import read_series
from etcli.pipeline.session import Session
from etcli.pipeline.simulate_focal import FocalSeriesRequest
from tests.files import etcli, failure

LIBRARY = cache(focal_library)
FRAME = ("--size", 32, "--pixel", "0.5A", "--defocus", 0.003, -0.003, 0.003)


@pytest.fixture(autouse=True)
def remembered_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate each library once for all tests."""
    monkeypatch.setattr("etcli.core.simulate.focal.focal_library", LIBRARY)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two columns of gold: of three atoms about z = 10 Å, and of one."""
    position = np.array([[-2.0, 1.0, 6.0], [-2.0, 1.0, 10.0], [-2.0, 1.0, 14.0], [3.0, -2.0, -5.0]])
    write_atoms(tmp_path / "m.xyz", Atoms(position, np.full(4, "Au")))
    return tmp_path / "m.xyz"


def focal(model: Path, *options: object, target: str = "s.mrc") -> np.ndarray:
    etcli("simulate", "focal", model, *FRAME, *options, model.parent / target)
    return mrcfile.read(model.parent / target)


def test_the_deep_column_is_sharp_at_underfocus(model: Path) -> None:
    data = focal(model)
    # columns at (11.5, 17.5) and (21.5, 11.5) px; focus at z = -30, 0, 30 Å
    deep, shallow = data[:, 17:19, 11:13].mean(axis=(1, 2)), data[:, 11:13, 21:23].mean(axis=(1, 2))
    assert deep[2] > 1.02 * deep[0] and shallow[0] > 1.02 * shallow[2]
    assert deep[1] > 1.8 * shallow[1]
    assert data.min() >= 0 and data.max() < 0.3


def test_the_series_is_a_focal_series(model: Path) -> None:
    focal(model, "--dose", 1000, "--kv", 200)
    found = mdocfile.read(model.parent / "s.mrc.mdoc")
    assert found.TiltAngle.tolist() == [0, 0, 0] and found.Defocus.tolist() == [0.003, 0, -0.003]
    assert set(found.ExposureDose) == {1000} and set(found.Voltage) == {200}
    assert set(found.PixelSpacing) == {0.5}
    series = read_series(Session(), str(model.parent / "s.mrc"))
    assert series.views.is_focal_series
    assert "[T = etcli simulate 0.1: focal 4 atoms, 2 columns, seed 0]\n" in (
        model.parent / "s.mrc.mdoc"
    ).read_text(encoding="utf-8")
    assert "Tilt axis" not in (model.parent / "s.mrc.mdoc").read_text(encoding="utf-8")


def test_the_default_series_has_41_views() -> None:
    defocus = FocalSeriesRequest("m.xyz").views().defocus_um
    np.testing.assert_allclose(defocus, np.linspace(0.02, -0.02, 41), atol=1e-9)


def test_counts_are_integers_of_the_dose(model: Path) -> None:
    clean = focal(model).astype(float)
    options = ("--dose", 20000, "--seed", 3)
    scaled, counts = focal(model, *options), focal(model, *options, "--mode", 1)
    assert counts.dtype == np.int16 and scaled.dtype == np.float32
    np.testing.assert_allclose(scaled * 5000, counts, atol=1e-3)
    expected = clean * 5000
    assert abs((counts - expected).sum()) < 5 * np.sqrt(expected.sum())


def test_the_truth_beside_the_series(model: Path) -> None:
    names = [model.parent / name for name in ("t.json", "t.xyz", "t.csv")]
    focal(
        model, "--drift", "0.2A", "--seed", 4, *(word for name in names for word in ("--write-truth", name))
    )
    errors = json.loads(names[0].read_text())
    assert errors["focus_A"] == [-30, 0, 30] and errors["electrons_per_unit"] is None
    shift = np.array(errors["shift_px"])
    assert shift[1].tolist() == [0, 0] and 0.05 < np.abs(shift).max() < 2
    file = read_atoms_file(names[1])
    np.testing.assert_allclose(file.atoms.position_A, read_atoms_file(model).atoms.position_A)
    assert file.atoms.columns["column"].tolist() == [0, 0, 0, 1]
    (step,) = file.history
    assert step.split("\n")[0] == "etcli simulate 0.1: focal 4 atoms, 2 columns, seed 4"
    assert names[2].read_text().splitlines() == [
        "x_A,y_A,col_px,row_px,count,z_A",
        "-2,1,11.5,17.5,3,10",
        "3,-2,21.5,11.5,1,-5",
    ]


def test_the_seed_decides_every_byte(model: Path) -> None:
    for name, seed in (("a.mrc", 5), ("b.mrc", 5), ("c.mrc", 6)):
        focal(model, "--drift", "1px", "--dose", 900, "--seed", seed, target=name)
    a, b, c = ((model.parent / name).read_bytes()[1024:] for name in ("a.mrc", "b.mrc", "c.mrc"))
    assert a == b != c


def test_columns_outside_are_told(model: Path) -> None:
    atoms = read_atoms_file(model).atoms
    write_atoms(model, Atoms(atoms.position_A + np.array([6.5, 0, 0]), atoms.species))
    run = etcli("simulate", "focal", model, *FRAME, model.parent / "s.mrc")
    assert "1 of 2 columns lie outside the views; --size 40 shows all of them" in run.err
    etcli("simulate", "focal", model, *FRAME, "--size", 40, "-q", model.parent / "s.mrc")
    write_atoms(model, Atoms(atoms.position_A + np.array([50, 0, 0]), atoms.species))
    line = failure("simulate", "focal", model, *FRAME, model.parent / "x.mrc", status=2)
    assert "2 of 2 columns lie outside the views; --size 214" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--defocus", 0, 0, 1), "no focal series from 0 to 0 µm"),
        (("--defocus", 200, -200, 10), "the probe is too wide to be simulated"),
        (("--detector", "48"), "not an inner and an outer angle in mrad, such as 48,180"),
        (("--detector", "180,48"), "not an inner and an outer angle"),
        (("--detector", "15,180"), "its inner angle must lie outside the probe"),
        (("--alpha", 0), "--alpha"),
        (("--kv", -1), "--kv"),
        (("--source-fwhm", "2px"), "give lengths in A"),
        (("--debye-waller", -1), "--debye-waller"),
        (("--drift", "-1px"), "--drift -1.0 must be 0 or more"),
        (("--pixel", "0A"), "a pixel of 0.0 Å"),
        (("--mode", 1), "give their number with --dose"),
        (("--write-truth", "t.mrc"), "writes .json (the errors) or .xyz, .extxyz, .pdb, .cif, .csv"),
    ],
)
def test_wrong_usage(model: Path, options: tuple[object, ...], words: str) -> None:
    line = failure("simulate", "focal", model, *FRAME, *options, model.parent / "s.mrc", status=2)
    assert line.startswith("ERROR: simulate - ") and words in line
    assert [path.name for path in model.parent.iterdir()] == ["m.xyz"]


def test_a_model_out_of_zone_axis_is_named(model: Path) -> None:
    write_atoms(
        model, Atoms(np.array([[0.0, 0, 0], [0.25, 0, 3], [0.5, 0, 6], [0.75, 0, 9]]), np.full(4, "Au"))
    )
    line = failure("simulate", "focal", model, *FRAME, model.parent / "s.mrc")
    assert "m.xyz: the model is not in zone axis" in line
    write_atoms(model, Atoms(np.zeros((1, 3)), np.array(["X"])))
    assert "'X'" in failure("simulate", "focal", model, *FRAME, model.parent / "s.mrc", status=2)
