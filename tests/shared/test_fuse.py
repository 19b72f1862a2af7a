"""``etcli.fuse`` on counts of an independent simulation, binned to a quarter of the pixels."""

import json
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

import etcli

pytestmark = pytest.mark.filterwarnings("ignore:Cr. less than 5 %")

ELEMENTS = ("Ni", "Co", "Pt", "Cr")


def binned(views: NDArray[Any], axes: tuple[int, ...] = (1, 2)) -> NDArray[np.float64]:
    """Sum pairs of pixels along some axes."""
    for axis in axes:
        views = np.add.reduceat(np.asarray(views, np.float64), np.arange(0, views.shape[axis], 2), axis=axis)
    return views


class Specimen:
    """Maps, HAADF series and truth, of pixels of 20 Å."""

    def __init__(self, folder: Path, dose: int) -> None:
        known = json.loads((folder / "parameters.json").read_text())
        tilt_deg = np.array(known["edx_tilts"])
        self.maps = {
            name: self.series(binned(mrcfile.read(folder / f"edx_d{dose}_s1_{name}.mrc")), tilt_deg)
            for name in ELEMENTS
        }
        # a line integral in voxels twice as large is half as long
        self.haadf = self.series(
            binned(mrcfile.read(folder / "haadf.mrc")) / 4, np.array(known["haadf_tilts"])
        )
        # 2 x 2 pixels, and 2 voxels along the ray
        self.truth = {
            name: 8 * dose * known["sensitivity"][name]
            * binned(mrcfile.read(folder / f"truth_{name}.mrc"), (0, 1, 2)) / 8
            for name in ELEMENTS
        }  # fmt: skip
        self.signal = {name: 2 * 50 * known["haadf_weight"][name] for name in ELEMENTS}
        self.sensitivity = {name: 8 * dose * known["sensitivity"][name] for name in ELEMENTS}
        self.thickness = f"{len(self.truth['Ni'])}px"

    @staticmethod
    def series(views: NDArray[Any], tilt_deg: NDArray[np.float64]) -> etcli.TiltSeries:
        """Return a series in memory."""
        return etcli.TiltSeries.of(views.astype(np.float32), tilt_deg, pixel_A=20.0)

    def errors(self, result: Any) -> dict[str, float]:
        """Return the relative error of each volume."""
        return {
            name: float(np.linalg.norm(volume.images() - self.truth[name]) / np.linalg.norm(self.truth[name]))
            for name, volume in result.volumes.items()
        }


@pytest.fixture(scope="module")
def specimen(shared_data: Path) -> Specimen:
    """The specimen at four times the dose."""
    folder = shared_data / "spectral"
    if not folder.is_dir():
        pytest.skip(f"no element maps at {folder}")
    return Specimen(folder, 4)


@pytest.fixture(scope="module")
def free(specimen: Specimen) -> Any:
    """The elements without HAADF."""
    with pytest.warns(etcli.EtcliWarning, match="Cr: less than 5 % of the counts"):
        return etcli.fuse(specimen.maps, thickness=specimen.thickness)


def test_haadf_lowers_the_errors_of_all_but_the_minor_element(specimen, free):
    tied = etcli.fuse(specimen.maps, haadf=specimen.haadf, thickness=specimen.thickness)
    without, errors = specimen.errors(free), specimen.errors(tied)
    assert tied.numbers["haadf"]["kept"]
    assert not tied.numbers["rest"]
    assert tied.numbers["elements"]["Cr"]["minor"]
    for name in ("Ni", "Co", "Pt"):
        assert errors[name] < 0.85 * without[name]
        found = tied.numbers["haadf"]["signal_per_count"][name] * specimen.sensitivity[name]
        assert found == pytest.approx(specimen.signal[name], rel=0.08)
    assert errors["Pt"] < 0.5 * without["Pt"]
    assert errors["Cr"] < 1.05 * without["Cr"]


def test_shifted_haadf_is_dropped_and_harms_nothing(specimen, free):
    shifted = specimen.series(np.roll(specimen.haadf.images(), 1, axis=2), specimen.haadf.tilt_deg)
    with pytest.warns(etcli.EtcliWarning, match="HAADF is not used"):
        result = etcli.fuse(specimen.maps, haadf=shifted, thickness=specimen.thickness)
    assert not result.numbers["haadf"]["kept"]
    for name, error in specimen.errors(result).items():
        assert error < 1.05 * specimen.errors(free)[name]
