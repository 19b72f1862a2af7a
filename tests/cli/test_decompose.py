"""``etcli decompose``: outputs, what it says, and what it refuses."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as package
from etcli.io.mdoc import read_mdoc
from tests.files import etcli, failure
from tests.spectrum_images import AXIS, TILTS, Imperfection, record, true_maps
from tests.unit.test_spectrum_files import hspy

SPECTRA = record(Imperfection(offset_keV=0.02))


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spectra") / "si.npz"
    np.savez_compressed(path, counts=SPECTRA, energy_keV=AXIS.energy_keV, tilt_deg=TILTS, pixel_A=12.0)
    return path


def saved(path: Path, **changed: object) -> Path:
    """Write spectra as NPZ with other contents."""
    known = {"counts": SPECTRA[:, :6, :6], "energy_keV": AXIS.energy_keV, "tilt_deg": TILTS, "pixel_A": 12.0}
    np.savez(path, **{name: value for name, value in (known | changed).items() if value is not None})
    return path


def test_maps_of_elements(spectra: Path, tmp_path: Path) -> None:
    wanted = ("--elements", "Ti,Fe,Mo,Cr", "--json", "--plot", tmp_path / "p.png")
    run = etcli("decompose", *wanted, spectra, tmp_path / "m.mrc")
    numbers = json.loads(run.out)
    assert [one["name"] for one in numbers["maps"]] == ["Ti", "Fe", "Mo", "Cr"]
    assert [one["is_there"] for one in numbers["maps"]] == [True, True, True, False]
    assert "Cr is named but not seen in the sum of all spectra" in run.err
    assert {"O K", "Cu K+L", "background"} <= set(numbers["others"])
    assert "O" in run.err and "Cu" in run.err
    assert numbers["calibration"]["offset_keV"] == pytest.approx(AXIS.offset_keV - 0.02, abs=2e-3)
    for name in ("Ti", "Fe", "Mo"):
        with mrcfile.open(tmp_path / f"m_{name}.mrc") as file:
            true = true_maps()[name]
            assert file.data.shape == true.shape
            assert np.corrcoef(file.data.ravel(), true.ravel())[0, 1] > 0.85
            assert float(file.voxel_size.x) == pytest.approx(12.0)
    with mrcfile.open(tmp_path / "m_sum.mrc") as file:
        assert np.array_equal(file.data, SPECTRA.sum(axis=-1))
    with mrcfile.open(tmp_path / "m_Cr.mrc") as file:
        assert not file.data.any()
    table = np.genfromtxt(tmp_path / "m_spectra.csv", delimiter=",", names=True)
    assert table["sum_counts"].sum() == SPECTRA.sum()
    assert table["fit_counts"].sum() == pytest.approx(SPECTRA.sum(), rel=0.01)
    assert (tmp_path / "p.png").stat().st_size > 20_000


def test_the_mdoc_tells_what_a_map_is(spectra: Path, tmp_path: Path) -> None:
    etcli("decompose", "--elements", "Ti_K,Fe", "-q", spectra, tmp_path / "m.mrc")
    whole, test = (read_mdoc(tmp_path / f"m_Ti{part}.mrc.mdoc") for part in ("", "_test"))
    assert (whole.globals["Element"], whole.globals["Line"]) == ("Ti", "K")
    assert whole.globals["Values"] == "expected counts"
    assert (test.globals["Part"], test.globals["Thinning"]) == ("test", "0.2")
    assert whole.tilt_deg.tolist() == TILTS.tolist()
    assert 0 < float(whole.globals["Sensitivity"]) <= 1
    assert "etcli decompose" in " ".join(whole.titles)
    sums = [float(mrcfile.read(tmp_path / f"m_Ti{part}.mrc").sum()) for part in ("", "_train", "_test")]
    assert sums[1] / 0.8 == pytest.approx(sums[0], rel=0.03)
    assert sums[2] / 0.2 == pytest.approx(sums[0], rel=0.05)
    assert sums[1] + sums[2] == pytest.approx(sums[0], rel=1e-4)


def test_without_names_the_elements_are_found(spectra: Path, tmp_path: Path) -> None:
    run = etcli("decompose", "--json", spectra, tmp_path / "m.mrc")
    assert {one["name"] for one in json.loads(run.out)["maps"]} == {"Ti", "Fe", "Mo", "O", "Cu"}
    assert "elements that the sum of all spectra shows" in run.err


@pytest.mark.parametrize("components", ["auto", "3"])
def test_components(spectra: Path, tmp_path: Path, components: str) -> None:
    pytest.importorskip("sklearn", reason="components need scikit-learn")
    wanted = ("--components", components, "--json", "--plot", tmp_path / "p.svg")
    run = etcli("decompose", *wanted, spectra, tmp_path / "m.mrc")
    numbers = json.loads(run.out)
    assert len(numbers["maps"]) == (4 if components == "auto" else 3)
    assert any("Ti" in one["line"] for one in numbers["maps"])
    assert ("components" in numbers) == (components == "auto")
    assert (tmp_path / "m_C1_train.mrc").exists()


def test_windows(spectra: Path, tmp_path: Path) -> None:
    wanted = ("--elements", "Ti,Fe", "--method", "windows", "-q", "--plot", tmp_path / "p.png")
    etcli("decompose", *wanted, spectra, tmp_path / "m.mrc")
    assert read_mdoc(tmp_path / "m_Fe.mrc.mdoc").globals["Values"] == "net signal"
    assert np.corrcoef(mrcfile.read(tmp_path / "m_Ti.mrc").ravel(), true_maps()["Ti"].ravel())[0, 1] > 0.5


def test_one_file_a_tilt_is_one_series(tmp_path: Path) -> None:
    files = [hspy(tmp_path / f"si_{k}.hspy", data=view[::-1]) for k, view in enumerate(SPECTRA[:3])]
    (tmp_path / "a.rawtlt").write_text("\n".join(map(str, TILTS[:3])))
    # the files have another energy axis, voltage and resolution
    given = ("--energy-axis", AXIS.offset_keV, AXIS.step_keV, "--kv", "200", "--fwhm", "130")
    wanted = ("-q", "--elements", "Ti,Fe", "--tilts", tmp_path / "a.rawtlt")
    etcli("decompose", *wanted, *given, *files, tmp_path / "m.mrc")
    assert read_mdoc(tmp_path / "m_Ti.mrc.mdoc").tilt_deg.tolist() == TILTS[:3].tolist()
    one = saved(tmp_path / "one.npz", counts=SPECTRA[:3], tilt_deg=TILTS[:3])
    etcli("decompose", "-q", "--elements", "Ti,Fe", one, tmp_path / "n.mrc")
    assert np.array_equal(mrcfile.read(tmp_path / "m_Ti.mrc"), mrcfile.read(tmp_path / "n_Ti.mrc"))
    text = failure("decompose", "--elements", "Ti", *given, *files, tmp_path / "k.mrc")
    assert "no tilt angles" in text and "--tilts" in text


def test_energy_losses(tmp_path: Path) -> None:
    energy_keV = 0.35 + 0.001 * np.arange(256)
    expected = 400 * (energy_keV / 0.35) ** -3.0 * np.ones((2, 8, 8, 1))
    expected[:, :, 4:] += 100.0 * (energy_keV > 0.456)
    path = saved(tmp_path / "e.npz", counts=expected, energy_keV=energy_keV, tilt_deg=[0.0, 10.0])
    etcli("decompose", "--method", "power-law", "--elements", "Ti", "-q", "--plot", tmp_path / "p.png", path,
          tmp_path / "m.mrc")  # fmt: skip
    found = mrcfile.read(tmp_path / "m_Ti.mrc")
    assert abs(found[:, :, :4]).max() < 30
    assert found[:, :, 5:].min() > 4000
    assert not (tmp_path / "m_Ti_train.mrc").exists()
    assert "--elements" in failure("decompose", "--method", "power-law", path, tmp_path / "k.mrc", status=2)


def test_the_function_does_what_the_command_does(spectra: Path, tmp_path: Path) -> None:
    etcli("decompose", "--elements", "Ti,Mo", "-q", spectra, tmp_path / "m.mrc")
    found = package.decompose(SPECTRA, AXIS.energy_keV, TILTS, elements=("Ti", "Mo"))
    assert np.array_equal(mrcfile.read(tmp_path / "m_Mo.mrc"), found.maps[1])
    assert np.array_equal(
        mrcfile.read(tmp_path / "m_Mo_train.mrc"), found.series("Mo", part="train").images()
    )


def test_the_function_takes_files(spectra: Path, tmp_path: Path) -> None:
    found = package.decompose(package.read_spectra(spectra), elements=("Ti", "Mo"))
    arrays = package.decompose(SPECTRA, AXIS.energy_keV, TILTS, pixel_A=12.0, elements=("Ti", "Mo"))
    assert np.array_equal(found.maps, arrays.maps)
    assert found.like.pixel_A == 12.0
    halves = [
        saved(tmp_path / f"{k}.npz", counts=SPECTRA[k::2], tilt_deg=TILTS[k::2], energy_keV=None)
        for k in (0, 1)
    ]
    both = package.read_spectra(halves, energy_keV=(AXIS.offset_keV, AXIS.step_keV))
    assert both.shape == SPECTRA.shape
    assert both.tilt_deg.tolist() == [*TILTS[::2], *TILTS[1::2]]


def test_wrong_arguments_of_the_function(spectra: Path) -> None:
    with pytest.raises(package.UsageError, match="read_spectra"):
        package.decompose(str(spectra), elements=("Ti",))  # type: ignore[arg-type]
    with pytest.raises(package.UsageError, match="energy_keV"):
        package.decompose(SPECTRA, elements=("Ti",))
    with pytest.raises(package.UsageError, match="read_spectra"):
        package.decompose(package.read_spectra(spectra), pixel_A=3.0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--elements", "Nickel"], "no element"),
        (["--elements", "Ti,Ti"], "each once"),
        (["--elements", "He"], "He has no X-ray lines"),
        (["--elements", "Be"], "Be has no"),
        (["--elements", "Ti_M"], "take Ti_K or Ti_L"),
        (["--elements", "Ti", "--components", "3"], "cannot go together"),
        (["--components", "3", "--method", "fit"], "leave --components out"),
        (["--elements", "Ti", "--method", "nmf"], "leave --elements out"),
        (["--elements", "Ti", "--training", "1"], "between 0 and 1"),
        (["--elements", "Ti", "--fwhm", "-1"], "more than 0"),
    ],
)
def test_wrong_requests(spectra: Path, tmp_path: Path, options: list[str], text: str) -> None:
    assert text in failure("decompose", *options, spectra, tmp_path / "m.mrc", status=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"counts": SPECTRA[:, :6, :6] - 1.0}, "negative"),
        ({"counts": SPECTRA[:, :6, :6] * 0.5}, "fractional"),
        ({"counts": np.where(SPECTRA[:, :6, :6] > 2, np.nan, SPECTRA[:, :6, :6])}, "NaN"),
        ({"counts": 0 * SPECTRA[:, :6, :6]}, "no counts"),
        ({"energy_keV": None}, "--energy-axis"),
        ({"tilt_deg": None}, "no tilt angles"),
        ({"tilt_deg": TILTS[:-1]}, "6 tilt angles"),
    ],
)
def test_wrong_files(tmp_path: Path, changed: dict[str, object], text: str) -> None:
    path = saved(tmp_path / "a.npz", **changed)
    assert text in failure("decompose", "--elements", "Ti", path, tmp_path / "m.mrc")
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_differ(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.npz")
    for k, (changed, text) in enumerate((
        ({"counts": SPECTRA[:, :5, :6]}, "5 x 6 rows x columns, but 6 x 6"),
        ({"energy_keV": 2 * AXIS.energy_keV}, "unlike"),
        ({"pixel_A": 13.0}, "13 Å, but 12 Å"),
    )):  # fmt: skip
        other = saved(tmp_path / f"b{k}.npz", **changed)
        assert text in failure("decompose", "--elements", "Ti", first, other, tmp_path / "m.mrc")
    given = tmp_path / "a.tlt"
    given.write_text("1\n2\n")
    assert "14 views" in failure("decompose", "--tilts", given, first, first, tmp_path / "m.mrc")


def test_too_little_memory(spectra: Path, tmp_path: Path) -> None:
    text = failure("decompose", "--memory", "100K", "--elements", "Ti", spectra, tmp_path / "m.mrc", status=2)
    assert "--memory" in text
