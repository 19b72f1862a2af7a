"""Spectrum images in files: blocks, axes, units, orientation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.spectrum_images import SpectrumImages, open_spectra

COUNTS = np.random.default_rng(2).poisson(0.5, (3, 7, 5, 32)).astype(np.uint8)
ENERGY = 0.05 + 0.02 * np.arange(32)


def npz(path: Path, *, packed: bool = True, **arrays: Any) -> Path:
    known = {"counts": COUNTS, "energy_keV": ENERGY, "tilt_deg": [-10.0, 0.0, 20.0], "pixel_nm": 1.5}
    write = np.savez_compressed if packed else np.savez
    write(path, **{name: value for name, value in (known | arrays).items() if value is not None})
    return path


def hspy(path: Path, *, data: np.ndarray = COUNTS[:, ::-1], energy: dict[str, Any] | None = None) -> Path:
    """Write spectra as HyperSpy does, with the rows from the top."""
    writer = pytest.importorskip("rsciio.hspy").file_writer

    def axis(name: str, scale: float, offset: float, units: str, size: int, navigate: bool) -> dict[str, Any]:
        kind = {"_type": "UniformDataAxis", "name": name, "units": units, "navigate": navigate}
        return kind | {"scale": scale, "offset": offset, "size": size, "is_binned": not navigate}

    axes = [
        axis("tilt", 10.0, -10.0, "°", data.shape[0], True),
        axis("y", 1.5, 0.0, "nm", data.shape[-3], True),
        axis("x", 1.5, 0.0, "nm", data.shape[-2], True),
        axis("Energy", 0.02, 0.05, "keV", data.shape[-1], False) | (energy or {}),
    ][4 - data.ndim :]
    acquisition = {"TEM": {"beam_energy": 300.0, "Detector": {"EDS": {"energy_resolution_MnKa": 125.0}}}}
    writer(
        str(path),
        {
            "data": np.ascontiguousarray(data),
            "axes": axes,
            "metadata": {
                "General": {"title": "test"},
                "Signal": {"signal_type": "EDS_TEM"},
                "Acquisition_instrument": acquisition,
            },
            "original_metadata": {},
            "attributes": {"_lazy": False, "ragged": False},
            "models": {},
            "learning_results": {},
            "package_info": {"package": "test", "package_version": "1"},
            "tmp_parameters": {},
        },
        show_progressbar=False,
    )
    return path


def whole(images: SpectrumImages, most_bytes: int = 1 << 30) -> np.ndarray:
    """Read all blocks."""
    found = np.zeros(images.shape, np.int64)
    for views, rows in images.blocks(most_bytes):
        found[views, rows] = images.read(views, rows)
    return found


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("most_bytes", [1, 3 * 5 * 32 * 8, 1 << 30])
def test_blocks_of_an_npz_are_its_rows(tmp_path: Path, packed: bool, most_bytes: int) -> None:
    images = open_spectra(npz(tmp_path / "a.npz", packed=packed))
    assert np.array_equal(whole(images, most_bytes), COUNTS)
    assert np.array_equal(images.read(slice(0, 2), slice(1, 3)), COUNTS[:2, 1:3])
    assert (images.pixel_A, images.energy.n) == (15.0, 32)
    assert images.energy.step_keV == pytest.approx(0.02)
    assert images.tilt_deg is not None and images.tilt_deg.tolist() == [-10, 0, 20]


def test_rows_from_the_top_are_turned(tmp_path: Path) -> None:
    images = open_spectra(hspy(tmp_path / "a.hspy"))
    assert np.array_equal(whole(images), COUNTS)
    assert np.array_equal(images.read(slice(1, 3), slice(2, 5)), COUNTS[1:3, 2:5])
    assert images.tilt_deg is not None and images.tilt_deg.tolist() == [-10, 0, 10]
    assert (images.pixel_A, images.beam_kV, images.fwhm_keV) == (15.0, 300.0, 0.125)
    assert images.energy.energy_keV == pytest.approx(ENERGY)


def test_one_tilt(tmp_path: Path) -> None:
    images = open_spectra(hspy(tmp_path / "a.hspy", data=COUNTS[0, ::-1]))
    assert images.shape == (1, 7, 5, 32)
    assert np.array_equal(whole(images)[0], COUNTS[0])
    assert images.tilt_deg is None
    assert np.array_equal(whole(open_spectra(npz(tmp_path / "b.npz", counts=COUNTS[0])))[0], COUNTS[0])


@pytest.mark.parametrize(
    ("energy", "first_keV", "warned"),
    [
        ({"units": "eV", "scale": 20.0, "offset": 50.0}, 0.05, False),
        ({"units": "", "scale": 20.0, "offset": 50.0}, 0.05, True),
        ({"units": "", "scale": 0.02, "offset": 0.05}, 0.05, True),
    ],
)
def test_units_of_the_energy(tmp_path: Path, energy: dict[str, Any], first_keV: float, warned: bool) -> None:
    images = open_spectra(hspy(tmp_path / "a.hspy", energy=energy))
    assert images.energy.offset_keV == pytest.approx(first_keV)
    assert images.energy.step_keV == pytest.approx(0.02)
    assert bool(images.warnings) == warned


@pytest.mark.parametrize("name", ["Energy", ""])
def test_an_axis_without_calibration(tmp_path: Path, name: str) -> None:
    path = hspy(tmp_path / "a.hspy", energy={"name": name, "units": "", "scale": 1.0, "offset": 0.0})
    with pytest.raises(DataError, match="--energy-axis"):
        open_spectra(path)
    assert open_spectra(path, energy_keV=(0.1, 0.01)).energy.energy_keV[-1] == pytest.approx(0.41)


def test_an_npz_with_energies_in_ev_or_none(tmp_path: Path) -> None:
    in_eV = open_spectra(npz(tmp_path / "a.npz", energy_keV=None, energy_eV=1e3 * ENERGY))
    assert in_eV.energy.energy_keV == pytest.approx(ENERGY)
    with pytest.raises(DataError, match="energy_keV"):
        open_spectra(npz(tmp_path / "b.npz", energy_keV=None))
    with pytest.raises(DataError, match="32 channels but 31"):
        open_spectra(npz(tmp_path / "c.npz", energy_keV=ENERGY[:-1]))
    with pytest.raises(DataError, match="not evenly spaced"):
        open_spectra(npz(tmp_path / "d.npz", energy_keV=ENERGY**2))


def test_what_holds_no_spectra(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", energy_keV=ENERGY)
    with pytest.raises(DataError, match=r"no spectra among energy_keV"):
        open_spectra(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DataError, match="cannot be read"):
        open_spectra(tmp_path / "b.npz")
    (tmp_path / "c.mrc").write_bytes(b"")
    with pytest.raises(DataError, match="read from"):
        open_spectra(tmp_path / "c.mrc")
    whole_file = npz(tmp_path / "d.npz", packed=False).read_bytes()
    assert len(whole_file) > COUNTS.nbytes
