"""`etcli measure`: pores, networks, local thickness and tortuosity."""

import csv
import json
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as api
from etcli.core.errors import UsageError
from etcli.pipeline.inputs import read_images
from etcli.pipeline.session import Mute
from etcli.pipeline.view import ViewRequest, _quantity
from tests.files import etcli, failure

SILENT = api.Session(reporter=Mute())
N = 48
AXIS = np.arange(N) - (N - 1) / 2


def ball(radius: float, z: float, y: float, x: float) -> np.ndarray:
    distance = np.sqrt((AXIS[:, None, None] - z) ** 2 + (AXIS[:, None] - y) ** 2 + (AXIS - x) ** 2)
    return np.clip(radius + 0.5 - distance, 0, 1)


def specimen() -> np.ndarray:
    """A ball of radius 20 with a closed pore of radius 5, and an open one of radius 5."""
    solid = ball(20, 0, 0, 0) * (1 - ball(5, 0.2, 8, 3)) * (1 - ball(5, -1, -18, 0))
    return solid.astype(np.float32)


def write(path: Path, data: np.ndarray, pixel_A: float = 5.0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(data)
        file.voxel_size = pixel_A
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    grey = specimen()
    return write(tmp_path / "v.mrc", grey), write(tmp_path / "l.mrc", (grey > 0.5).astype(np.uint16))


def test_pores_are_a_table_beside_that_of_the_labels(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = etcli(
        "measure", "--pores", "--envelope", "5nm", "--csv", tmp_path / "t.csv", "--json",
        "--plot", tmp_path / "p.png", *files,
    ).out  # fmt: skip
    result = json.loads(out)
    found, rows = result["pores"], result["pore_table"]
    closed, opened = csv.DictReader((tmp_path / "t_pores.csv").read_text().splitlines())
    assert (closed["kind"], opened["kind"]) == ("closed", "open")
    assert (closed["border"], opened["border"]) == ("0", "1")  # the envelope cuts what is open
    assert float(closed["volume_nm3"]) == pytest.approx(4 / 3 * np.pi * 2.5**3, rel=0.03)
    assert float(closed["surface_nm2"]) == pytest.approx(4 * np.pi * 2.5**2, rel=0.04)
    assert float(closed["threshold"]) == pytest.approx(0.5, abs=0.02)
    assert float(closed["density_core"]) == pytest.approx(0, abs=0.02)
    assert [float(closed[f"{axis}_nm"]) for axis in "zyx"] == pytest.approx([0.1, 4, 1.5], abs=0.05)
    assert (found["closed"], found["open"]) == (1, 1)
    assert found["closed_volume_nm3"] == float(closed["volume_nm3"]) == rows["volume_nm3"][0]
    assert rows["kind"] == ["closed", "open"] and result["table"]["label"] == [1]
    assert found["porosity"] == pytest.approx(found["closed_porosity"] + found["open_porosity"])
    whole = 4 / 3 * np.pi * 10**3
    assert found["envelope_volume_nm3"] == pytest.approx(whole, rel=0.01)
    assert found["closed_porosity"] == pytest.approx(1 / 64, rel=0.04)
    assert found["sigma_closed_porosity"] > 0
    assert (tmp_path / "p.png").stat().st_size and (tmp_path / "p_pores.png").stat().st_size


def test_without_an_envelope_open_pores_are_left_blank(files: tuple[Path, Path]) -> None:
    run = etcli("measure", "--pores", "--json", *files)
    found = json.loads(run.out)["pores"]
    assert "without --envelope open pores are left blank" in run.err
    assert found["closed"] == 1
    assert found["open"] is found["open_porosity"] is found["porosity"] is None


def test_the_result_is_said_in_words(files: tuple[Path, Path]) -> None:
    out = etcli("measure", "--pores", "--envelope", "10px", "--thickness", *files).out
    assert "1 label: volume 4076 ± 54 nm³" in out and "of 1 whole body\n" in out
    assert "1 closed pore, 1 open; 0 would be" in out
    assert "1 piece (100.0% in the largest), 0 loops, 1 cavity: Euler number 2" in out
    assert "local thickness of the pores (closed and open)" in out
    assert " ± " in out.partition("porosity: closed ")[2].partition(", open ")[2].partition(",")[0]
    assert "nan" not in out and "e+" not in out


def test_pores_without_bounds_have_no_tortuosity(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The vacuum around the solid joins both ends, but is no pore."""
    free = etcli("measure", "--tortuosity", "z", "--json", *files)
    assert json.loads(free.out)["tortuosity"] == {"axis": "z", "solid": None, "pores": None}
    assert "tortuosity of the pores is left blank" in free.err
    tube = np.ones((24, 24, 24), np.float32)
    tube[:, 4:10, 6:12] = 0
    bounds = [write(tmp_path / "w.mrc", tube), write(tmp_path / "m.mrc", tube.astype(np.uint16))]
    roi = write(tmp_path / "r.mrc", np.ones((24, 24, 24), np.int8))
    found = json.loads(etcli("measure", "--tortuosity", "z", "--roi", roi, "--json", *bounds).out)
    assert found["tortuosity"]["pores"] == pytest.approx(1)
    assert "give one axis" in failure("measure", "--tortuosity", "z", "--tortuosity", "x", *files, status=2)


def test_open_pores_of_sirt_have_no_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    for words, is_known in (("SIRT 30", False), ("FISTA TV 30", True)):
        step = (
            f"etcli recon 0.1: {words}, 71 views\n  input: ts.mrc, 1 bytes, 8 x 8 x 71 of 5 A, -70 to 70 deg"
        )
        volume = api.Volume(specimen(), pixel_A=5, history=(step,), name="v")
        labels = (specimen() > 0.5).astype(np.uint16)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = api.measure(volume, labels, pores=True, envelope="10px").totals["pores"]
        assert np.isfinite(found["sigma_open_porosity"]) == is_known
        assert any("makes open pores" in str(one.message) for one in said) != is_known


def test_thickness_is_a_volume_in_nm(files: tuple[Path, Path], tmp_path: Path) -> None:
    out = etcli("measure", "--thickness-out", tmp_path / "t.mrc", "--json", *files).out
    found = json.loads(out)["thickness"]
    with mrcfile.open(tmp_path / "t.mrc") as file:
        values, pixel_A = file.data.copy(), float(file.voxel_size.x)
    grey = specimen()
    assert pixel_A == 5
    assert ((values > 0) == ((grey > 0.5) | (ball(5, 0.2, 8, 3) > 0.5))).mean() > 0.999
    assert found["pores"]["mean_nm"] == pytest.approx(5 - 0.1, abs=0.1)
    assert found["solid"]["mean_nm"] == pytest.approx(values[grey > 0.5].mean(), rel=1e-3)
    assert sum(found["solid"]["share_by_bin"]) == pytest.approx(1)
    told = etcli("info", tmp_path / "t.mrc").out
    assert "local thickness in nm" in told and "shows        local thickness (nm)" in told
    stack = read_images(SILENT, str(tmp_path / "t.mrc")).images()
    assert _quantity(stack, ViewRequest()) == "local thickness (nm)"  # the caption of its greys


def test_the_region_is_where_pores_and_networks_are_measured(tmp_path: Path) -> None:
    walls = np.zeros((30, 30, 30), np.float32)
    for first in (2, 12, 22):
        walls[:, :, first : first + 5] = 1
    region = np.zeros((30, 30, 30), np.int8)
    region[5:25, 5:25, :] = 1
    volume, labels = write(tmp_path / "v.mrc", walls), write(tmp_path / "l.mrc", walls.astype(np.uint16))
    roi = write(tmp_path / "r.mrc", region)
    run = etcli(
        "measure", "--pores", "--thickness", "--tortuosity", "y", "--roi", roi, "--json", volume, labels
    )
    found = json.loads(run.out)
    assert found["pores"]["porosity"] == pytest.approx(1 / 2)
    assert found["network"]["chord_zyx_nm"] == [None, None, pytest.approx(2.5, rel=0.05)]
    assert found["network"]["pieces"] == 3
    assert found["thickness"]["solid"]["mean_nm"] == pytest.approx(2.5, abs=0.05)
    assert found["tortuosity"] == {
        "axis": "y", "solid": pytest.approx(1), "pores": pytest.approx(1)
    }  # fmt: skip


def test_the_same_in_python() -> None:
    grey = specimen()
    labels = (grey > 0.5).astype(np.uint16)
    with pytest.warns(api.EtcliWarning, match="no pixel size"):
        found = api.measure(grey, labels, pores=True, envelope=10, thickness=True)
    assert found.pore_columns is not None
    assert found.pore_columns["kind"].tolist() == ["closed", "open"]
    assert found.pore_columns["volume_px3"][0] == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.03)
    assert found.thickness is not None
    assert found.thickness[labels > 0].min() > 0


def test_pores_of_half_sets_have_errors_of_noise() -> None:
    grey = specimen()
    labels = (grey > 0.5).astype(np.uint16)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, *grey.shape)).astype(np.float32)
    volume = api.Volume(grey, pixel_A=5)
    halves = (api.Volume(grey + noise[0], pixel_A=5), api.Volume(grey + noise[1], pixel_A=5))
    sigma = [
        api.measure(volume, labels, halves=given, pores=True, envelope="10px").pore_columns[
            "sigma_volume_nm3"
        ][0]
        for given in (None, halves)
    ]
    assert sigma[1] > sigma[0]


def test_pores_of_a_dark_solid_are_the_same() -> None:
    grey = specimen()
    labels = (grey > 0.5).astype(np.uint16)
    bright, dark = (
        api.measure(
            api.Volume(data, pixel_A=5), labels, pores=True, envelope="10px", thickness=True, session=SILENT
        )
        for data in (grey, 3 - grey)
    )
    assert dark.totals["pores"] == pytest.approx(bright.totals["pores"])
    assert abs(dark.thickness - bright.thickness).mean() < 1e-3
    assert dark.pore_columns["threshold"] == pytest.approx(3 - bright.pore_columns["threshold"], abs=1e-3)
    assert dark.pore_columns["density_core"] == pytest.approx(
        3 - bright.pore_columns["density_core"], abs=1e-3
    )


def test_a_label_of_one_voxel_has_no_pores() -> None:
    grey = np.zeros((12, 12, 12), np.float32)
    grey[5, 5, 5] = 1
    found = api.measure(
        api.Volume(grey, pixel_A=5),
        (grey > 0).astype(np.uint16),
        pores=True,
        envelope=3,
        thickness=True,
        session=SILENT,
    )
    assert found.totals["pores"]["closed"] == found.totals["pores"]["open"] == 0
    assert found.totals["network"]["pieces"] == 0
    assert found.totals["thickness"]["solid"]["mean_nm"] == pytest.approx(0.5, abs=0.1)


def test_labels_that_fill_the_volume_have_no_thickness(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    files = write(tmp_path / "v.mrc", grey), write(tmp_path / "l.mrc", np.ones((8, 8, 8), np.uint16))
    run = etcli(
        "measure",
        "--pores",
        "--thickness",
        "--tortuosity",
        "x",
        "--plot",
        tmp_path / "p.png",
        "--json",
        *files,
    )
    found = json.loads(run.out)
    assert found["thickness"]["solid"]["mean_nm"] is None
    assert found["tortuosity"] == {"axis": "x", "solid": pytest.approx(1), "pores": None}
    assert "tortuosity of the pores is left blank" in run.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--envelope", "5nm"], "--envelope is for --pores; give both"),
        (["--pores", "--envelope", "0"], "--envelope must be more than 0"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(
    files: tuple[Path, Path], options: list[str], says: str
) -> None:
    assert says in failure("measure", *options, *files, status=2)


def test_an_envelope_that_does_not_fit_is_refused(files: tuple[Path, Path]) -> None:
    """The radius may be meant in Å; and its margin must fit into the memory."""
    large = failure("measure", "--pores", "--envelope", "120", *files, status=2)
    assert "--envelope 120px: a ball of 120 voxels radius is larger than" in large
    assert "48 x 48 x 48 voxels; give twice the radius of the mouths" in large
    full = failure("measure", "--memory", "6M", "--pores", "--envelope", "24", *files, status=2)
    assert "with a margin of that width takes 9M of memory, but only 6M are allowed" in full


def test_an_unknown_axis_is_refused() -> None:
    grey = specimen()
    with pytest.raises(UsageError, match="no axis named 'w'"):
        api.measure(grey, (grey > 0.5).astype(np.uint16), tortuosity="w")
