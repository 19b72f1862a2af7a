"""``etcli simulate``: what it writes is what it says."""

import json
from pathlib import Path

import ase.io
import mdocfile
import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.atomic_model import Atoms
from etcli.io.atoms import read_atoms_file, write_atoms
from etcli.io.lattices import read_lattice
from tests.files import etcli, failure

SIZE = 32
ERRORS = ("--drift", "4px", "--axis", 20, "--offset", "-3.5px", "--tilt-error", 4, "--level", 2.5)


def simulate(folder: Path, kind: str, *options: object, size: int = SIZE) -> NDArray[np.generic]:
    """Write ``s.mrc`` with its truth and return its data."""
    truth = ("--write-truth", folder / "truth.json", "--write-truth", folder / "truth.mrc")
    etcli("simulate", kind, "--size", size, *options, *truth, folder / "s.mrc")
    return mrcfile.read(folder / "s.mrc")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", ["phantom", "particle", "needle"])
def test_the_seed_decides_every_byte(tmp_path: Path, kind: str) -> None:
    found = []
    for k, (seed, threads) in enumerate(((5, 1), (5, 2), (6, 1))):
        folder = tmp_path / str(k)
        folder.mkdir()
        simulate(folder, kind, "--range", -40, 40, 20, "--dose", 50, *ERRORS, "--seed", seed, "-j", threads)
        found.append(contents(folder))
    assert set(found[0]) == {"s.mrc", "s.mrc.mdoc", "truth.json", "truth.mrc", "truth.mrc.mdoc"}
    assert found[0] == found[1]
    for name in ("s.mrc", "truth.json"):
        assert found[0][name] != found[2][name]
    labels = [values["truth.mrc"][224:384] for values in (found[0], found[2])]
    volumes = [values["truth.mrc"][-4 * SIZE**3 :] for values in (found[0], found[2])]
    assert labels[0] != labels[1] and (volumes[0] == volumes[1]) == (kind == "phantom")


def splat(volume: NDArray[np.floating], truth: dict[str, object], view: int) -> NDArray[np.float64]:
    """Project voxel by voxel with the numbers of the truth, as their definition has it; slightly blurred."""
    _, ny, nx = volume.shape
    z, y, x = np.indices(volume.shape) - (np.array(volume.shape)[:, None, None, None] - 1) / 2
    tilt, axis = np.deg2rad(truth["tilt_deg"][view]), np.deg2rad(truth["axis_deg"])
    p = x * np.cos(tilt) + z * np.sin(tilt) + truth["axis_offset_px"]
    shift_x, shift_y = truth["shift_px"][view]
    u = p * np.cos(axis) - y * np.sin(axis) + shift_x + (nx - 1) / 2
    v = p * np.sin(axis) + y * np.cos(axis) + shift_y + (ny - 1) / 2
    edges = [np.arange(n + 1) - 0.5 for n in (ny, nx)]
    image = np.zeros((ny, nx))
    for du in (-0.25, 0.25):
        for dv in (-0.25, 0.25):
            image += np.histogram2d((v + dv).ravel(), (u + du).ravel(), edges, weights=volume.ravel() / 4)[0]
    return ndimage.gaussian_filter(image, 1.5)


def test_the_recorded_errors_explain_the_views(tmp_path: Path) -> None:
    data = simulate(tmp_path, "particle", "--range", -60, 60, 30, *ERRORS, "--seed", 2)
    truth = json.loads((tmp_path / "truth.json").read_text())
    volume = mrcfile.read(tmp_path / "truth.mrc").astype(float)
    assert truth["background"] == 2.5 and truth["axis_deg"] == 20 and truth["axis_offset_px"] == -3.5
    assert truth["electrons_per_unit"] is None
    assert np.abs(truth["shift_px"]).max() <= 4 and np.ptp(truth["shift_px"]) > 2
    nominal = np.arange(-60, 61, 30)
    assert np.std(truth["tilt_deg"] - nominal) > 1
    seen = [ndimage.gaussian_filter(view - 2.5, 1.5) for view in data.astype(float)]

    def worst(**changed: object) -> float:
        splats = [splat(volume, truth | changed, view) for view in range(5)]
        return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(splats, seen, strict=True))

    assert worst() < 0.01
    for changed in (
        {"axis_deg": -20},
        {"axis_offset_px": 3.5},
        {"axis_offset_px": -3.0},
        {"tilt_deg": (-np.array(truth["tilt_deg"])).tolist()},
        {"tilt_deg": nominal.tolist()},
        {"shift_px": (-np.array(truth["shift_px"])).tolist()},
        {"shift_px": np.fliplr(truth["shift_px"]).tolist()},
    ):
        assert worst(**changed) > 0.02, changed


def test_without_errors_the_volume_is_enough(tmp_path: Path) -> None:
    data = simulate(tmp_path, "phantom", "--range", 0, 90, 90, "--pixel", "5A")
    with mrcfile.open(tmp_path / "truth.mrc") as mrc:
        volume = mrc.data.astype(float)
        assert mrc.is_volume() and mrc.voxel_size.z == 5
    # at 0° z is summed, at 90° p = z and x is summed; half a pixel off would be 0.2 and more
    for view, sums in zip(data, (volume.sum(axis=0), volume.sum(axis=2).T), strict=True):
        assert np.linalg.norm(view - sums) < 0.02 * np.linalg.norm(sums)
        assert np.linalg.norm(view - np.roll(sums, 1, axis=1)) > 0.2 * np.linalg.norm(sums)


def test_a_needle_points_up_and_goes_on_below(tmp_path: Path) -> None:
    data = simulate(tmp_path, "needle", "--range", 0, 0, 1)
    rows = data.reshape(SIZE, SIZE).sum(axis=1)
    assert rows[0] > 0 and rows[-2:].max() == 0


def test_counts_are_those_of_the_dose(tmp_path: Path) -> None:
    options = ("--range", -60, 60, 10, "--dose", 40, "--level", 3, "--pixel", "2nm", "--seed", 4)
    clean = simulate(tmp_path, "particle", "--range", -60, 60, 10, "--level", 3, "--seed", 4)
    untilted = clean[6].astype(float) - 3
    scaled = simulate(tmp_path, "particle", *options)
    electrons = json.loads((tmp_path / "truth.json").read_text())["electrons_per_unit"]
    assert electrons == pytest.approx(0.1 * 40 * 20**2 / untilted.max(), rel=1e-5)
    counts = simulate(tmp_path, "particle", *options, "--mode", 1)
    assert counts.dtype == np.int16
    np.testing.assert_allclose(counts, scaled.astype(float) * electrons, atol=1e-3)
    expected = clean.astype(float) * electrons
    # chi squared of Poisson counts: as many as there are, give or take sqrt(2 n)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi2 - expected.size) < 5 * np.sqrt(2 * expected.size)


def test_the_mdoc_is_as_serialem_writes_it(tmp_path: Path) -> None:
    simulate(tmp_path, "particle", "--range", -6, 6, 3, "--dose", 25, "--pixel", "0.8nm", "--axis", 7)
    text = (tmp_path / "s.mrc.mdoc").read_text()
    assert "[T =     Tilt axis angle = 0.00, binning = 1  spot = 0  camera = 0]\n" in text
    assert "[T = etcli simulate 0.1: particle 32, seed 0]\n" in text
    found = mdocfile.read(tmp_path / "s.mrc.mdoc")
    assert found.TiltAngle.tolist() == [-6, -3, 0, 3, 6]
    assert found.ExposureDose.tolist() == [25] * 5 and found.ZValue.tolist() == list(range(5))
    assert set(found.PixelSpacing) == {8} and set(found.Voltage) == {300}
    assert str(found.ImageFile[0]) == "s.mrc" and tuple(found.ImageSize[0]) == (SIZE, SIZE)
    run = json.loads(etcli("info", "--json", tmp_path / "s.mrc").out)
    assert run["dose_e_A2"] == [25] * 5 and run["pixel_A"] == 8 and run["axis_deg"] == 0
    with mrcfile.open(tmp_path / "s.mrc") as mrc:
        assert mrc.is_image_stack() and mrc.voxel_size.x == 8


def test_without_a_dose_none_is_recorded(tmp_path: Path) -> None:
    simulate(tmp_path, "particle", "--range", 0, 4, 2)
    assert "ExposureDose" not in (tmp_path / "s.mrc.mdoc").read_text()


def test_a_dose_symmetric_series_changes_sides(tmp_path: Path) -> None:
    rising = simulate(tmp_path, "needle", "--range", -6, 6, 2)
    turns = simulate(tmp_path, "needle", "--range", -6, 6, 2, "--order", "dose-symmetric")
    tilts = [float(word) for word in etcli("info", "--field", "tilts", tmp_path / "s.mrc").out.split()]
    assert tilts == [0, 2, -2, -4, 4, 6, -6]
    np.testing.assert_array_equal(turns, rising[(np.array(tilts) + 6).astype(int) // 2])


def test_a_level_is_added_to_every_pixel(tmp_path: Path) -> None:
    plain = simulate(tmp_path, "needle", "--range", 0, 0, 1)
    raised = simulate(tmp_path, "needle", "--range", 0, 0, 1, "--level", 7)
    np.testing.assert_allclose(raised - plain, 7, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mode", 1), "give their number with --dose"),
        (("--mode", 6), "give their number with --dose"),
        (("--write-truth", "truth.xyz"), "writes .json (the errors) or .mrc (the volume)"),
        (("--pixel", "2px"), "give it in Å or nm"),
        (("--pixel", "0nm"), "0.0 Å"),
        (("--size", 8), "--size"),
        (("--dose", 0), "--dose"),
        (("--tilt-error", -1), "--tilt-error"),
        (("--drift", "-3px"), "use zero or positive numbers"),
        (("--axis", "nan"), "finite"),
        (("--range", 10, 0, 1), "no tilt angles from 10 to 0"),
        (("--range", 10, 0, -1, "--order", "dose-symmetric"), "tilt angles that rise"),
    ],
)
def test_wrong_usage(tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    line = failure("simulate", "particle", *options, tmp_path / "s.mrc", status=2)
    assert line.startswith("ERROR: simulate - ") and words in line
    assert not contents(tmp_path)


def test_simulate_writes_no_stream(tmp_path: Path) -> None:
    assert "only bin, filter, xform and stack take -" in failure("simulate", "needle", "-", status=2)
    assert "no such kind 'cube'; use phantom, particle, needle, spectral, adf, hrtem or focal" in failure(
        "simulate", "cube", tmp_path / "s.mrc", status=2
    )
    twice = ("--size", SIZE, "--write-truth", tmp_path / "s.mrc")
    assert "named as output twice" in failure("simulate", "needle", *twice, tmp_path / "s.mrc", status=2)
    assert not contents(tmp_path)


def test_counts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    options = ("--dose", 1e6, "--range", 0, 0, 1, "--mode", 1)
    line = failure("simulate", "needle", *options, tmp_path / "s.mrc", status=1)
    assert "do not fit mode 1" in line and not contents(tmp_path)


def test_options_may_stand_before_the_kind(tmp_path: Path) -> None:
    after, before = tmp_path / "a.mrc", tmp_path / "b.mrc"
    etcli("simulate", "phantom", "--size", SIZE, "--range", 0, 10, 5, after)
    etcli("simulate", "--size", SIZE, "-q", "--range", 0, 10, 5, "phantom", before)
    assert after.read_bytes() == before.read_bytes()


def test_a_kind_has_a_help_of_its_own() -> None:
    text = etcli("simulate", "--help").out
    assert text.startswith("Usage: etcli simulate KIND [OPTIONS] [MODEL] OUTPUT")
    assert "\nKinds:\n  phantom " in text and "--drift" not in text.split("\nExample:")[0]
    text = etcli("simulate", "needle", "--help").out
    assert text.startswith("Usage: etcli simulate needle [OPTIONS] OUTPUT") and "--drift" in text
    assert failure("simulate", "nedle", "x.mrc", status=2).endswith(
        "no such kind 'nedle'; did you mean needle?"
    )
    assert failure("simulate", "needle", "--sise", 3, "x.mrc", status=2).startswith(
        "ERROR: simulate - No such"
    )


def test_the_value_of_an_option_is_not_the_kind(tmp_path: Path) -> None:
    truth = ("--write-truth", "needle.mrc", "--level", 2)
    etcli("simulate", *truth, "phantom", "--size", 16, "--range", -20, 20, 20, "s.mrc", cwd=tmp_path)
    said = failure(
        "simulate", "--write-truth", "needle", "phantom", "--size", 16, "s.mrc", cwd=tmp_path, status=2
    )
    assert "needle" in said and "phantom" not in said


ATOMS = ("--size", 40, "--pixel", "0.4A", "--range", -30, 30, 15)
CRYSTAL = ("diamond:Si:5.431", "--diameter", "12A")


def adf(folder: Path, *options: object) -> NDArray[np.generic]:
    """Write ``s.mrc`` and return its data."""
    etcli("simulate", "adf", *ATOMS, *options, folder / "s.mrc")
    return mrcfile.read(folder / "s.mrc")


@pytest.mark.parametrize("signal", [(), ("--spheres", "0.3A")])
def test_the_seed_decides_every_byte_of_a_series_of_atoms(tmp_path: Path, signal: tuple[str, ...]) -> None:
    found = []
    for k, (seed, threads) in enumerate(((5, 1), (5, 2), (6, 1))):
        folder = tmp_path / str(k)
        folder.mkdir()
        truth = ("--write-truth", folder / "t.json", "--write-truth", folder / "t.xyz")
        errors = ("--drift", "0.6A", "--tilt-error", 1, "--axis", 3, "--offset", "1px")
        adf(folder, *CRYSTAL, *signal, *errors, *truth, "--counts", 1e5, "--seed", seed, "-j", threads)
        found.append(contents(folder))
    assert set(found[0]) == {"s.mrc", "s.mrc.mdoc", "t.json", "t.xyz"}
    assert found[0] == found[1]
    assert all(found[0][name] != found[2][name] for name in found[0])


def test_the_true_atoms_explain_the_views(tmp_path: Path) -> None:
    truth = ("--write-truth", tmp_path / "t.json", "--write-truth", tmp_path / "t.xyz")
    errors = ("--drift", "1px", "--tilt-error", 2, "--axis", 8, "--offset", "-1.5px")
    directions = ("--axis-direction", 1, 1, 0, "--beam", 0, 0, 1)
    data = adf(tmp_path, *CRYSTAL, *errors, *directions, *truth, "--spheres", 0)
    file, true = read_atoms_file(tmp_path / "t.xyz"), json.loads((tmp_path / "t.json").read_text())
    np.testing.assert_allclose(file.box.origin_A, -8)
    (step,) = file.history
    assert step.split("\n")[0] == f"etcli simulate 0.1: adf {len(file.atoms)} atoms, R 0 A, seed 0"
    x, y, z = file.atoms.position_A.T / 0.4
    axis = np.deg2rad(true["axis_deg"])
    for k, view in enumerate(data):
        tilt = np.deg2rad(true["tilt_deg"][k])
        p = x * np.cos(tilt) + z * np.sin(tilt) + true["axis_offset_px"]
        u = p * np.cos(axis) - y * np.sin(axis) + true["shift_px"][k][0]
        v = p * np.sin(axis) + y * np.cos(axis) + true["shift_px"][k][1]
        wanted = np.histogram2d(v, u, [np.arange(-20, 21)] * 2)[0]
        # positions are written to 1e-5 Å, so that one on an edge may change sides
        assert np.abs(view - wanted).sum() <= 2
    # of diamond, planes across [110] are a √2 / 4 apart
    levels = np.unique((file.atoms.position_A[:, 1] / (5.431 * np.sqrt(2) / 4)).round(3) % 1)
    assert np.ptp(levels) < 0.002


def test_a_model_stands_as_it_is(tmp_path: Path) -> None:
    write_atoms(
        tmp_path / "m.xyz", Atoms(np.array([[2.2, -1.0, 3.0], [0.1, 0.2, 5.8]]), np.array(["Au", "Si"]))
    )
    data = adf(
        tmp_path, tmp_path / "m.xyz", "--diameter", "9A", "--spheres", 0, "--write-truth", tmp_path / "t.pdb"
    )
    assert data.sum(axis=(1, 2)).tolist() == [1] * 5
    assert read_atoms_file(tmp_path / "t.pdb").atoms.position_A.tolist() == [[2.2, -1.0, 3.0]]
    row, column = np.argwhere(data[3])[0]  # at 15°
    assert (row, column) == (17, int(20 + (2.2 * 0.96593 + 3.0 * 0.25882) / 0.4))


def test_weights_and_counts_of_a_model(tmp_path: Path) -> None:
    write_atoms(tmp_path / "m.xyz", Atoms(np.array([[-4.0, 0, 0], [4.0, 0, 0]]), np.array(["Au", "Si"])))
    view = adf(tmp_path, tmp_path / "m.xyz", "--resolution", "0.8A", "--counts", 5000, "--no-noise")[2]
    assert view.dtype == np.float32 and view.sum() == pytest.approx(5000, rel=1e-6)
    assert view[:, :20].max() / view[:, 20:].max() == pytest.approx((79 / 14) ** 1.64, rel=0.02)
    counts = adf(tmp_path, tmp_path / "m.xyz", "--counts", 5000, "--mode", 1)
    assert counts.dtype == np.int16
    np.testing.assert_allclose(counts.sum(axis=(1, 2)), 5000, atol=5 * np.sqrt(5000))


def test_the_cell_of_a_cif_is_a_lattice(tmp_path: Path) -> None:
    cell = read_lattice("hcp:Ti:2.95:4.68")
    ase.io.write(
        tmp_path / "m.cif",
        ase.Atoms(cell.atoms.species, cell.atoms.position_A, cell=cell.box.lattice_A, pbc=True),
    )
    options = ("--diameter", "12A", "--axis-direction", 0, 0, 1, "--beam", 1, 1, 0)
    np.testing.assert_allclose(
        adf(tmp_path, tmp_path / "m.cif", *options), adf(tmp_path, "hcp:Ti:2.95:4.68", *options), atol=1e-4
    )
    line = failure("simulate", "adf", tmp_path / "m.cif", tmp_path / "x.mrc", status=2)
    assert "a crystal has no end; give the --diameter" in line


def test_the_mdoc_of_a_series_of_atoms(tmp_path: Path) -> None:
    etcli("simulate", "adf", *CRYSTAL, "--seed", 3, "--counts", 1e6, tmp_path / "s.mrc")
    found = mdocfile.read(tmp_path / "s.mrc.mdoc")
    assert found.TiltAngle.tolist() == list(range(0, 178, 3)) and set(found.Voltage) == {300}
    assert set(found.PixelSpacing) == {0.405} and tuple(found.ImageSize[0]) == (140, 140)
    text = (tmp_path / "s.mrc.mdoc").read_text()
    assert "atoms, d 1.6 A, 1e+06 counts, seed 3]\n" in text and "ExposureDose" not in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("fcc:Au",), "a crystal has no end; give the --diameter"),
        (("cube:Au", "--diameter", 9), "no structure 'cube'; use one of sc, fcc"),
        (("fcc:Au:4:5", "--diameter", 9), "a cubic lattice has one constant"),
        (("fcc:Au:x", "--diameter", 9), "lattice constants are lengths in Å"),
        (("fcc:Au:4:5:6", "--diameter", 9), "a lattice is written STRUCTURE:ELEMENT[:A[:C]]"),
        (("fcc:Qq:4", "--diameter", 9), "ASE cannot build this lattice"),
        (("model.txt",), "cannot tell the format of the atoms"),
        (("fcc:Au", "--diameter", 1e-3), "no atoms in a ball of 0.001 Å"),
        (("fcc:Au", "--diameter", 0), "holds nothing"),
        (("fcc:Au", "--diameter", "1um"), "too many"),
        (("fcc:Au", "--diameter", 60), "atoms lie outside view 1; give --size 1"),
        ((*CRYSTAL, "--spheres", "5A"), "atoms lie outside view 1; give --size 5"),
        ((*CRYSTAL, "--drift", "60px"), "atoms lie outside view"),
        ((*CRYSTAL, "--spheres", -1), "the radius of spheres is -2.5 px"),
        ((*CRYSTAL, "--resolution", 0.1), "use at least 0.5 px"),
        ((*CRYSTAL, "--resolution", 2, "--spheres", 0), "give one"),
        ((*CRYSTAL, "--counts", 0), "must be above 0"),
        ((*CRYSTAL, "--counts", "nan"), "must be above 0"),
        ((*CRYSTAL, "--no-noise"), "there is no noise without --counts"),
        ((*CRYSTAL, "--mode", 1), "give their number with --counts"),
        ((*CRYSTAL, "--beam", 0, 2, 0), "--beam is parallel to --axis-direction"),
        ((*CRYSTAL, "--axis-direction", 0, 0, 0), "--axis-direction must be a direction"),
        ((*CRYSTAL, "--write-truth", "t.mrc"), "writes .json (the errors) or .xyz"),
        ((*CRYSTAL, "--pixel", "2px"), "give it in Å or nm"),
        ((*CRYSTAL, "--pixel", "0A"), "a pixel of 0.0 Å"),
    ],
)
def test_wrong_usage_of_atoms(tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    line = failure("simulate", "adf", *ATOMS, *options, tmp_path / "s.mrc", status=2)
    assert line.startswith("ERROR: simulate - ") and words in line
    assert not contents(tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    line = failure("simulate", "adf", tmp_path / "m.xyz", tmp_path / "s.mrc")
    assert "m.xyz: no such file" in line and not contents(tmp_path)


def test_a_model_is_not_replaced_by_its_truth(tmp_path: Path) -> None:
    write_atoms(tmp_path / "m.xyz", Atoms(np.zeros((1, 3)), np.array(["Au"])))
    truth = ("--write-truth", tmp_path / "m.xyz")
    assert "is an input" in failure(
        "simulate", "adf", tmp_path / "m.xyz", *truth, tmp_path / "s.mrc", status=2
    )
