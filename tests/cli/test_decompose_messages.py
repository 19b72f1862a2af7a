"""What ``etcli decompose`` tells of absent and forgotten elements, and of a wrong method."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as package
from tests.files import etcli, failure
from tests.spectrum_images import AXIS, TILTS, record
from tests.unit.test_spectrum_files import hspy

SPECTRA = record(size=12, counts=120.0)


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spectra") / "si.npz"
    np.savez(path, counts=SPECTRA, energy_keV=AXIS.energy_keV, tilt_deg=TILTS, pixel_A=12.0)
    return path


def warnings_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("WARNING")]


def test_x_rays_have_no_edges(tmp_path: Path) -> None:
    path = hspy(tmp_path / "a.hspy", data=SPECTRA[:, ::-1])
    wanted = ("--method", "power-law", "--elements", "Ti", "--energy-axis", AXIS.offset_keV, AXIS.step_keV)
    text = failure("decompose", *wanted, path, tmp_path / "m.mrc", status=2)
    assert "X-rays" in text and "take fit" in text


def test_spectra_that_look_like_x_rays(spectra: Path, tmp_path: Path) -> None:
    run = etcli("decompose", "--method", "power-law", "--elements", "Ti", spectra, tmp_path / "m.mrc")
    (line,) = warnings_of(run.err)
    assert "look like X-rays" in line and "si.npz" in line


@pytest.mark.parametrize(("exponent", "warned"), [(0.9, True), (2.0, False), (4.5, False)])
def test_the_background_tells_x_rays_from_energy_losses(exponent: float, warned: bool) -> None:
    energy_keV = 0.35 + 0.001 * np.arange(256)
    expected = 400 * (energy_keV / 0.35) ** -exponent * np.ones((2, 4, 4, 1))
    arguments = (expected, energy_keV, [0.0, 10.0])
    if not warned:
        package.decompose(*arguments, elements=("Ti",), method="power-law")
        return
    with pytest.warns(package.EtcliWarning, match="look like X-rays"):
        package.decompose(*arguments, elements=("Ti",), method="power-law")
    package.decompose(*arguments, elements=("Ti",), eels=True)


def test_strays_are_these_and_no_others(spectra: Path, tmp_path: Path) -> None:
    wanted = ("--elements", "Ti,Fe,Mo", "--json")
    run = etcli("decompose", *wanted, "--strays", "O", spectra, tmp_path / "m.mrc")
    (line,) = warnings_of(run.err)
    assert "lines of Cu" in line and "--strays O,Cu" in line
    assert "Cu" not in str(json.loads(run.out)["others"])
    run = etcli("decompose", *wanted, "--strays", "O,Cu", spectra, tmp_path / "m.mrc")
    assert not warnings_of(run.err)
    assert {"O K", "Cu K+L"} <= set(json.loads(run.out)["others"])


def test_a_sum_that_is_not_explained(spectra: Path, tmp_path: Path) -> None:
    given = ("--no-calibrate", "--energy-axis", AXIS.offset_keV, 0.98 * AXIS.step_keV, "--strays", "O,Cu")
    run = etcli("decompose", "--elements", "Ti,Fe,Mo", *given, spectra, tmp_path / "m.mrc")
    assert "do not explain the sum" in run.err or "also shows lines" in run.err


def test_windows_fit_nothing(spectra: Path, tmp_path: Path) -> None:
    run = etcli(
        "decompose", "--method", "windows", "--elements", "Ti,Cr", "--json", spectra, tmp_path / "m.mrc"
    )
    assert "they are fitted" not in run.err
    assert "they count for its element" in run.err
    assert "its map is noise" in run.err
    titanium = json.loads(run.out)["maps"][0]
    assert titanium["counts_sd"] == pytest.approx(titanium["counts"] ** 0.5, rel=1.0)


def test_the_significance_of_each_element_is_told(spectra: Path, tmp_path: Path) -> None:
    run = etcli("decompose", "--elements", "Ti,Cr", "--json", spectra, tmp_path / "m.mrc")
    titanium, chromium = json.loads(run.out)["maps"]
    assert titanium["significance"] > 50
    assert titanium["counts_of_sum"] == pytest.approx(titanium["counts"], rel=1e-3)
    assert abs(chromium["significance"]) < 4 and chromium["counts"] == 0
    assert f"({chromium['counts_of_sum']:.0f} ± {chromium['counts_sd']:.0f} counts)" in run.err
    assert not mrcfile.read(tmp_path / "m_Cr.mrc").any()
    text = etcli("decompose", "--elements", "Ti,Cr", "-q", spectra, tmp_path / "m.mrc").out
    assert "not seen: " in text and " ± " in text


def test_copper_of_the_holder_is_told(tmp_path: Path) -> None:
    path = tmp_path / "si.npz"
    np.savez(path, counts=record(size=32)[:2], energy_keV=AXIS.energy_keV, tilt_deg=TILTS[:2], pixel_A=9.0)
    run = etcli("decompose", "--elements", "Fe,Mo,Cu", path, tmp_path / "m.mrc")
    (line,) = warnings_of(run.err)
    assert "Cu is also where no other element is" in line
