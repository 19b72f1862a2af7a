"""``etcli simulate hrtem``: a model, its series, and the truth beside it."""

import json
from pathlib import Path

import mdocfile
import mrcfile
import numpy as np
import pytest

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import read_atoms_file, write_atoms
from etcli.pipeline.inputs import read_series
from etcli.pipeline.session import Session
from tests.files import etcli, failure

FRAME = ("--size", 32, "--range", -40, 40, 40, "--defocus", "0.02,-0.01")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Atoms of three elements within 5 Å."""
    position = np.array([[-2.0, 1.0, 4.0], [3.0, -2.0, -3.0], [0.0, 3.0, 0.0]])
    write_atoms(tmp_path / "m.xyz", Atoms(position, np.array(["Sr", "Ti", "O"])))
    return tmp_path / "m.xyz"


def hrtem(model: Path, *options: object, target: str = "s.mrc") -> np.ndarray:
    etcli("simulate", "hrtem", model, *FRAME, *options, model.parent / target)
    return mrcfile.read(model.parent / target)


def test_the_series(model: Path) -> None:
    data = hrtem(model, "--kv", 200, "--dose", 600)
    assert data.shape == (6, 32, 32) and data.mean() == pytest.approx(1, abs=0.01)
    found = mdocfile.read(model.parent / "s.mrc.mdoc")
    assert found.TiltAngle.tolist() == [-40, -40, 0, 0, 40, 40]
    assert found.Defocus.tolist() == [0.02, -0.01] * 3
    assert set(found.ExposureDose) == {100} and set(found.Voltage) == {200}
    assert set(found.PixelSpacing) == {0.5}
    series = read_series(Session(), str(model.parent / "s.mrc"))
    assert series.axis_deg == 0 and series.voltage_kv == 200 and series.pixel_A == 0.5
    assert series.views.focal_groups() == [[0, 1], [2, 3], [4, 5]]
    assert "[T = etcli simulate 0.1: hrtem 3 atoms, 2 defoci, seed 0]\n" in (
        model.parent / "s.mrc.mdoc"
    ).read_text(encoding="utf-8")


def test_overfocus_makes_atoms_bright(model: Path) -> None:
    data = hrtem(model)
    # the atom of Ti at 0°, where it is 3 Å from the middle to the right and 2 Å below it
    over, under = data[2:4, 11:13, 21:23].mean(axis=(1, 2))
    assert over > 1.05 and under < over - 0.1


def test_the_aperture_is_that_of_the_pixels(model: Path) -> None:
    # waves at the edge of the aperture are inside or outside as numbers are rounded
    np.testing.assert_allclose(hrtem(model), hrtem(model, "--alpha", 19.6875), atol=2e-3)
    small = hrtem(model, "--alpha", 10)
    assert small.std() < 0.9 * hrtem(model).std()


def test_lens_and_coherence_reach_the_images(model: Path) -> None:
    plain = hrtem(model)
    for options in (
        ("--cs", 0.5),
        ("--astigmatism", 60, 30),
        ("--focal-spread", "60A"),
        ("--convergence", 1),
        ("--debye-waller", 4),
        ("--debye-waller", "Sr:0.5,Ti:0.5,O:4"),
    ):
        assert np.abs(hrtem(model, *options) - plain).max() > 0.003, options
    np.testing.assert_array_equal(hrtem(model, "--debye-waller", "sr:0.5, Ti:0.5,O:0.5"), plain)


def test_counts_are_integers_of_the_dose(model: Path) -> None:
    clean = hrtem(model).astype(float)
    options = ("--dose", 2400, "--seed", 3)
    scaled, counts = hrtem(model, *options), hrtem(model, *options, "--mode", 1)
    assert counts.dtype == np.int16 and scaled.dtype == np.float32
    np.testing.assert_allclose(scaled * 100, counts, atol=1e-3)
    assert abs((counts - clean * 100).sum()) < 5 * np.sqrt(clean.sum() * 100)


def test_the_truth_beside_the_series(model: Path) -> None:
    names = [model.parent / name for name in ("t.json", "t.xyz", "t.mrc")]
    truth = [word for name in names for word in ("--write-truth", name)]
    hrtem(model, "--drift", "1px", "--axis", 3, "--tilt-error", 0.5, *truth, "--beam", 0, 0, -1)
    errors = json.loads(names[0].read_text())
    assert errors["axis_deg"] == 3 and errors["electrons_per_unit"] is None
    assert errors["tilt_deg"][0] == errors["tilt_deg"][1] != -40
    assert len({tuple(shift) for shift in errors["shift_px"]}) == 6
    atoms = read_atoms_file(names[1]).atoms
    np.testing.assert_allclose(atoms.position_A[0], [2, 1, -4], atol=1e-9)
    volume = mrcfile.read(names[2])
    assert volume.shape == (32, 32, 32)
    # the atom of Sr is 4 Å below the centre, 1 Å behind, 2 Å to the right, between voxels
    assert np.unravel_index(volume.argmax(), volume.shape)[0] in (7, 8)
    assert volume[7:9, 17:19, 19:21].min() > 0.9 * volume.max() > 50


def test_the_seed_decides_every_byte(model: Path) -> None:
    for name, seed, threads in (("a.mrc", 5, 1), ("b.mrc", 5, 2), ("c.mrc", 6, 1)):
        hrtem(model, "--drift", "1px", "--dose", 900, "--seed", seed, "-j", threads, target=name)
    a, b, c = ((model.parent / name).read_bytes()[1024:] for name in ("a.mrc", "b.mrc", "c.mrc"))
    assert a == b != c


def test_a_ball_of_a_lattice_in_dose_symmetric_order(tmp_path: Path) -> None:
    options = ("--diameter", "9A", "--order", "dose-symmetric", "--size", 24, "--range", -60, 60, 30)
    etcli("simulate", "hrtem", "diamond:Si:5.431", *options, "--defocus", "-0.03", tmp_path / "s.mrc")
    found = mdocfile.read(tmp_path / "s.mrc.mdoc")
    assert found.TiltAngle.tolist() == [0, 30, -30, -60, 60]
    assert set(found.Defocus) == {-0.03}


def test_atoms_outside_are_told(model: Path) -> None:
    atoms = read_atoms_file(model).atoms
    write_atoms(model, Atoms(atoms.position_A + np.array([0, 6.5, 0]), atoms.species))
    run = etcli("simulate", "hrtem", model, *FRAME, model.parent / "s.mrc")
    assert "1 of 3 atoms lie outside views; --size 40 shows all of them" in run.err
    etcli("simulate", "hrtem", model, *FRAME, "--size", 40, "-q", model.parent / "s.mrc")
    write_atoms(model, Atoms(atoms.position_A + np.array([0, 50, 0]), atoms.species))
    line = failure("simulate", "hrtem", model, *FRAME, model.parent / "x.mrc", status=2)
    assert "3 of 3 atoms lie outside views; --size 214" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--defocus", "0.02,a"), "'0.02,a' is not a list of defoci in µm, such as 0.02,0.045,0.1"),
        (("--defocus", ""), "is not a list of defoci"),
        (("--defocus", "200"), "give a smaller defocus (--defocus is in µm)"),
        (("--debye-waller", "Si:0.5,0.8"), "is not a factor of 0 or more, or a list such as Si:0.5,O:0.8"),
        (("--debye-waller", "-1"), "is not a factor of 0 or more"),
        (("--debye-waller", "Sr:0.5"), "no Debye-Waller factor of O; give one for all elements, or for each"),
        (("--alpha", 60), "larger than the 47.25 mrad"),
        (("--kv", 300000), "give it in kV, not in V"),
        (("--cs", "nan"), "cs_mm nan is not a number"),
        (("--mode", 1), "--mode 1 writes counted electrons; give their number with --dose"),
        (("--pixel", "1px"), "--pixel is the length of a pixel"),
        (("--write-truth", "t.csv"), "writes .json (the errors) or"),
    ],
)
def test_what_is_asked_for_is_checked(model: Path, options: tuple[object, ...], words: str) -> None:
    line = failure("simulate", "hrtem", model, *FRAME, *options, model.parent / "x.mrc", status=2)
    assert words in line
    assert not (model.parent / "x.mrc").exists()


def test_an_unknown_element(model: Path) -> None:
    write_atoms(model, Atoms(np.zeros((1, 3)), np.array(["X"])))
    line = failure("simulate", "hrtem", model, *FRAME, model.parent / "x.mrc", status=2)
    assert "no scattering factor of 'X'" in line
