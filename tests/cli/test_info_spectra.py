"""``etcli info`` of spectrum images."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.files import etcli, failure
from tests.unit.test_spectrum_files import COUNTS, hspy, npz


def facts(*arguments: object) -> dict[str, object]:
    found = json.loads(etcli("info", "--json", *arguments).out)
    assert isinstance(found, dict)
    return found


def test_an_hspy_file(tmp_path: Path) -> None:
    path = hspy(tmp_path / "a.hspy")
    found = facts(path)
    spectra = found.pop("spectra")
    assert found["size"] == [5, 7, 3] and found["pixel_A"] == 15.0 and found["voltage_kv"] == 300
    assert found["tilt_deg"] == [-10, 0, 10] and found["type"] == "uint8"
    assert (found["min"], found["max"]) == (COUNTS.min(), COUNTS.max())
    assert found["mean"] == pytest.approx(COUNTS.mean(), rel=1e-6)
    assert spectra == {
        "channels": 32,
        "offset_eV": 50.0,
        "dispersion_eV": 20.0,
        "last_eV": 670.0,
        "kind": "X-rays",
        "detector": None,
        "fwhm_Mn_Ka_eV": 125.0,
        "counts": COUNTS.sum(),
        "counts_per_spectrum": pytest.approx(COUNTS.sum(axis=-1).mean()),
        "counts_of_views": COUNTS.sum(axis=(1, 2, 3)).tolist(),
    }
    text = etcli("info", path).out
    assert "5 x 7 x 3, 32 channels" in text
    assert "50 to 670 eV in steps of 20 eV" in text
    assert "X-rays, FWHM 125 eV at Mn Kα" in text
    assert f"{COUNTS.sum()}, " in text and "3, -10 to 10°" in text


def test_an_npz_file(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz")
    found = facts(path)
    assert found["spectra"]["counts"] == COUNTS.sum() and found["spectra"]["kind"] is None  # type: ignore[index]
    assert etcli("info", "--field", "tilts", path).out.split() == ["-10.00", "0.00", "20.00"]
    assert "32 channels from 50 eV" in etcli("info", "--history", path).out


def test_angles_that_are_not_in_the_file(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", tilt_deg=None)
    assert facts(path)["tilt_deg"] is None
    assert "no tilt angles" in failure("info", "--field", "tilts", path)
    (tmp_path / "t.tlt").write_text("1\n2\n3\n")
    assert facts("--tilts", tmp_path / "t.tlt", path)["tilt_deg"] == [1, 2, 3]


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    assert "no spectra among x" in failure("info", tmp_path / "a.npz")
    path = npz(tmp_path / "b.npz", counts=np.where(COUNTS > 2, np.nan, COUNTS))
    assert "NaN" in failure("info", path)
    assert "origin is not known" in failure("info", "--field", "origin", npz(tmp_path / "c.npz"))
