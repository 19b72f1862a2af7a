"""``etcli measure``: table, totals, picture, and what is refused or warned of."""

import json
import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

import etcli as package
from etcli.core.volume_frame import VolumeFrame
from tests.bodies import ball
from tests.files import etcli, failure, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")

COLUMNS = (
    "label,volume_nm3,sigma_volume_nm3,surface_nm2,surface_crofton_nm2,eq_diameter_nm,sigma_eq_diameter_nm,"
    "sphericity,axis1_nm,axis2_nm,axis3_nm,axis1_x,axis1_y,axis1_z,angle_z_deg,x_nm,y_nm,z_nm,density_core,"
    "density_lsq,threshold,border,contacts,nearest_nm,gap_nm,flag"
)
SHAPE = (24, 40, 48)
PIXEL_A = 5.0
BALLS = ((12.2, 11.9, 12.3, 6, 1.0), (11.3, 20.2, 32.6, 7, 0.5), (12, 40, 15, 5, 1.0))
RECON = (
    "etcli recon 0.1: {}, nonnegative, 71 views\n  input: ts.mrc, 1 bytes, 8 x 8 x 71 of 5 A, -{} to {} deg"
)


def specimen() -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Two whole balls of two densities, and one that the end of y cuts; the labels are 2, 5 and 9."""
    volume, labels = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint16)
    for label, (z, y, x, radius, density) in zip((2, 5, 9), BALLS, strict=True):
        body = ball(SHAPE, (z, y, x), radius)
        volume += np.float32(density) * body
        labels[body > 0.5] = label
    return volume, labels


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    volume, labels = specimen()
    paths = tmp_path / "volume.mrc", tmp_path / "labels.mrc"
    for path, data in zip(paths, (volume, labels), strict=True):
        write_volume(path, data)
    return paths


def write_volume(path: Path, data: NDArray[Any], pixel_A: float = PIXEL_A) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NaN
        mrcfile.write(path, data, overwrite=True)
    with mrcfile.open(path, "r+") as mrc:
        mrc.set_volume()
        mrc.voxel_size = pixel_A
    return path


def table(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def totals(*arguments: object) -> dict[str, Any]:
    return json.loads(etcli("measure", "--json", *arguments).out)


def test_the_table(files: tuple[Path, Path], tmp_path: Path) -> None:
    csv = tmp_path / "out.csv"
    run = etcli("measure", *files, "--csv", csv)
    assert csv.read_text().splitlines()[0] == COLUMNS
    assert "3 labels, 1 of them cut by the border" in run.out and "2 whole bodies" in run.out
    rows = table(csv)
    assert [row["label"] for row in rows] == ["2", "5", "9"]
    assert [row["border"] for row in rows] == ["0", "0", "1"]
    for row, (z, y, x, radius, density) in zip(rows[:2], BALLS, strict=False):
        assert float(row["volume_nm3"]) == pytest.approx(4 / 3 * np.pi * (radius / 2) ** 3, rel=0.02)
        assert float(row["surface_nm2"]) == pytest.approx(4 * np.pi * (radius / 2) ** 2, rel=0.02)
        assert float(row["eq_diameter_nm"]) == pytest.approx(radius, rel=0.01)
        sigma = float(row["sigma_volume_nm3"])
        assert sigma == pytest.approx(float(row["surface_nm2"]) * 0.04, rel=1e-6)
        assert float(row["density_core"]) == pytest.approx(density)
        assert float(row["threshold"]) == pytest.approx(density / 2)
        place = [float(row[f"{name}_nm"]) for name in "zyx"]
        np.testing.assert_allclose(place, (np.array([z, y, x]) - (np.array(SHAPE) - 1) / 2) / 2, atol=0.03)
        assert row["density_lsq"] == row["axis1_x"] == row["flag"] == ""
    assert rows[2]["sphericity"] == "" and float(rows[1]["sphericity"]) == pytest.approx(1, abs=0.02)
    apart = np.linalg.norm(np.subtract(BALLS[0][:3], BALLS[1][:3]))
    assert float(rows[0]["nearest_nm"]) == pytest.approx(apart / 2, abs=0.05)
    assert float(rows[0]["gap_nm"]) == pytest.approx((apart - 13) / 2, abs=0.1)


def test_the_totals(files: tuple[Path, Path]) -> None:
    found = totals(*files)
    volume, surface, area = (found[name] for name in ("volume_nm3", "surface_nm2", "surface_per_volume_nm-1"))
    field = np.prod(SHAPE) / 8
    assert found["labels"] == 3 and found["labels_cut"] == 1 and found["contacts"] == []
    assert found["volume_fraction"] == pytest.approx(volume / field)
    assert area == pytest.approx(surface / field)
    assert found["sigma_volume_nm3"] == pytest.approx(surface * 0.04, rel=1e-6)
    assert found["mean_eq_diameter_nm"] == pytest.approx(6.5, rel=0.01)
    assert found["weighted_mean_eq_diameter_nm"] > found["mean_eq_diameter_nm"]
    assert found["method"] is None and found["expected_elongation"] is None
    assert "mass_volume_nm3" not in found


def test_a_region(files: tuple[Path, Path], tmp_path: Path) -> None:
    """It leaves the second ball out, cuts the first, and its volume is what fractions are of."""
    region = np.zeros(SHAPE, np.int8)
    region[:, :, :12] = 1
    roi, csv = write_volume(tmp_path / "roi.mrc", region), tmp_path / "out.csv"
    found = totals(*files, "--roi", roi, "--csv", csv)
    rows = table(csv)
    assert [row["label"] for row in rows] == ["2", "9"] and [row["border"] for row in rows] == ["1", "1"]
    assert float(rows[0]["surface_nm2"]) == pytest.approx(2 * np.pi * 6 * 5.2 / 4, rel=0.03)
    assert found["field_nm3"] == pytest.approx(region.sum() / 8)
    assert found["labels_whole"] == 0 and found["mean_eq_diameter_nm"] is None


def test_halves_and_series(files: tuple[Path, Path], tmp_path: Path) -> None:
    volume, _ = specimen()
    views = package.project(package.Volume(volume, pixel_A=PIXEL_A), np.arange(-60, 61, 15.0))
    package.write(views, tmp_path / "ts.mrc")
    halves = [write_volume(tmp_path / f"{k}.mrc", volume * k) for k in (2, 3)]
    csv = tmp_path / "out.csv"
    found = totals(*files, "--csv", csv, "--halves", *halves, "--series", tmp_path / "ts.mrc")
    rows = table(csv)
    assert [float(row["density_lsq"]) for row in rows] == pytest.approx([1, 0.5, 1], rel=0.03)
    assert float(rows[0]["sigma_volume_nm3"]) == pytest.approx(float(rows[0]["surface_nm2"]) * 0.04, rel=1e-3)
    assert found["reach_deg"] == 60 and found["expected_elongation"] == pytest.approx(1.55, abs=0.01)


def test_the_picture(files: tuple[Path, Path], tmp_path: Path) -> None:
    etcli("measure", *files, "--plot", tmp_path / "out.png")
    colours = np.asarray(Image.open(tmp_path / "out.png").convert("RGB")).reshape(-1, 3).astype(int)
    assert (np.ptp(colours, axis=1) > 60).mean() > 0.02


@pytest.mark.parametrize(
    ("method", "reach", "known", "has_mass"),
    [("SIRT 30", 70, True, False), ("SIRT 30", 50, False, False), ("FISTA 40 tv 3.4", 50, True, True)],
)
def test_the_history_tells_what_is_sure(
    tmp_path: Path, method: str, reach: int, known: bool, has_mass: bool
) -> None:
    volume, labels = specimen()
    history = (RECON.format(method, reach, reach + 2),)
    path = tmp_path / "volume.mrc"
    package.write(package.Volume(volume, pixel_A=PIXEL_A, history=history), path)
    write_volume(tmp_path / "labels.mrc", labels)
    run = etcli("measure", "--json", path, tmp_path / "labels.mrc", "--csv", tmp_path / "out.csv")
    found, (row, *_) = json.loads(run.out), table(tmp_path / "out.csv")
    assert found["reach_deg"] == reach + 1 and found["method"] == method.split()[0].lower()
    assert (found["sigma_volume_nm3"] is not None) == known == (row["sigma_volume_nm3"] != "")
    assert ("--method fista" in run.err) == (not known)
    assert ("mass_volume_nm3" in found) == has_mass


def test_the_residual_of_the_alignment_widens_errors() -> None:
    volume, labels = specimen()
    history = ("etcli register 0.1: match, residual 0.40 px, axis 1 deg", RECON.format("SIRT 30", 70, 70))
    found = package.measure(package.Volume(volume, pixel_A=PIXEL_A, history=history), labels)
    assert found.totals["surface_shift_px"] == pytest.approx(0.14)
    np.testing.assert_allclose(
        found.columns["sigma_volume_nm3"], found.columns["surface_nm2"] * 0.14 / 2, rtol=1e-6
    )


def test_long_axes_of_sirt_that_crowd_about_z() -> None:
    """Rods along z, as the missing wedge makes them: it is warned of, but not with total variation."""
    volume = np.zeros((30, 40, 40), np.float32)
    for k in range(16):
        y, x = 4 + 10 * (k // 4), 4 + 10 * (k % 4)
        volume[6:18, y : y + 4, x : x + 4] = 1
    labels = package.segment(package.Volume(volume), 0.5).labels.images()
    with pytest.warns(package.EtcliWarning, match="crowd about z"):
        package.measure(package.Volume(volume, pixel_A=4, history=(RECON.format("SIRT 30", 70, 70),)), labels)
    package.measure(
        package.Volume(volume, pixel_A=4, history=(RECON.format("FISTA 9 tv 1", 70, 70),)), labels
    )


def test_the_threshold_of_the_history() -> None:
    volume, labels = specimen()
    history = ("etcli segment 0.1: edge, threshold 0.3, split 0.75 px, 3 labels",)
    with pytest.warns(package.EtcliWarning, match="1 of 3 labels do not end"):  # the one of density 0.5
        found = package.measure(
            package.Volume(volume, pixel_A=PIXEL_A), package.Volume(labels, pixel_A=PIXEL_A, history=history)
        )
    assert found.columns["threshold"].tolist() == [0.3] * 3
    own = package.measure(package.Volume(volume, pixel_A=PIXEL_A), labels)
    assert (found.columns["surface_nm2"] > own.columns["surface_nm2"])[[0, 2]].all()


def test_without_a_pixel_size(tmp_path: Path) -> None:
    volume, labels = specimen()
    paths = [write_volume(tmp_path / "v.mrc", volume, 0), write_volume(tmp_path / "l.mrc", labels, 0)]
    run = etcli("measure", *paths, "--csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == COLUMNS.replace("_nm", "_px")
    assert "no pixel size; lengths are in px" in run.err
    assert float(table(tmp_path / "out.csv")[0]["eq_diameter_px"]) == pytest.approx(12, rel=0.01)


def test_places_are_from_the_rotation_centre() -> None:
    volume, labels = specimen()
    frame = VolumeFrame((100.0, 110.0, 60.0), PIXEL_A)
    found = package.measure(package.Volume(volume, pixel_A=PIXEL_A, frame=frame), labels)
    place = [found.columns[f"{name}_nm"][0] for name in "zyx"]
    expected = (np.array(BALLS[0][:3]) + 0.5) * PIXEL_A - [60, 110, 100]
    np.testing.assert_allclose(place, expected / 10, atol=0.03)


def test_one_label_and_one_voxel(tmp_path: Path) -> None:
    volume, labels = np.zeros((9, 9, 9), np.float32), np.zeros((9, 9, 9), np.uint16)
    volume[4, 4, 4] = labels[4, 4, 4] = 1
    found = totals(write_volume(tmp_path / "v.mrc", volume), write_volume(tmp_path / "l.mrc", labels))
    assert found["labels"] == 1 and found["volume_nm3"] == pytest.approx(1 / 8)
    assert found["sd_eq_diameter_nm"] is None


def test_labels_at_every_border() -> None:
    volume = np.zeros((20, 20, 20), np.float32)
    labels = np.zeros(volume.shape, np.uint16)
    for k in range(6):
        at = [10, 10, 10]
        at[k // 2] = 19 * (k % 2)
        body = ball(volume.shape, tuple(at), 4)
        volume, labels[body > 0.5] = volume + body, k + 1
    found = package.measure(package.Volume(volume, pixel_A=10), labels)
    assert found.columns["border"].tolist() == [1] * 6
    assert found.totals["labels_whole"] == 0 and np.isnan(found.totals["mean_eq_diameter_nm"])
    full = package.measure(package.Volume(volume, pixel_A=10), np.ones(volume.shape, np.uint8))
    assert full.totals["volume_fraction"] == 1 and full.columns["border"].tolist() == [1]


def bad(tmp_path: Path, labels: NDArray[Any], pixel_A: float = PIXEL_A) -> Path:
    return write_volume(tmp_path / "bad.mrc", labels, pixel_A)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda labels: labels[:-1], "48 x 40 x 23 voxels, but"),
        (lambda labels: labels + np.float32(0.5), "whole numbers"),
        (lambda labels: labels.astype(np.int16) - 1, "0 or more, but there is -1"),
        (lambda labels: np.where(labels == 5, np.float32(np.nan), labels), "whole numbers"),
        (lambda labels: labels * 0, "no label above 0"),
    ],
)
def test_labels_that_do_not_fit(files: tuple[Path, Path], tmp_path: Path, change: Any, said: str) -> None:
    assert said in failure("measure", files[0], bad(tmp_path, change(specimen()[1])))


def test_volumes_that_do_not_fit(files: tuple[Path, Path], tmp_path: Path) -> None:
    volume, labels = specimen()
    assert "voxels of 7 Å" in failure("measure", files[0], bad(tmp_path, labels, 7.0))
    constant = bad(tmp_path, np.ones(SHAPE, np.float32))
    assert "all voxels are 1" in failure("measure", constant, files[1])
    volume[3, 4, 5] = np.nan
    assert "NaN" in failure("measure", bad(tmp_path, volume), files[1])
    empty = bad(tmp_path, np.zeros(SHAPE, np.uint16))
    assert "no voxel is above 0" in failure("measure", *files, "--roi", empty)
    corner = np.zeros(SHAPE, np.uint16)
    corner[0, 0, 0] = 1
    assert "no label above 0 in the region" in failure("measure", *files, "--roi", bad(tmp_path, corner))
    assert "name in .csv" in failure("measure", *files, "--csv", tmp_path / "out.mrc", status=2)
    half = write_volume(tmp_path / "half.mrc", np.zeros((4, 4, 4), np.float32))
    assert "half.mrc: 4 x 4 x 4" in failure("measure", *files, "--halves", files[0], half)


def test_another_place(tmp_path: Path) -> None:
    volume, labels = specimen()
    frames = [VolumeFrame((100.0, 110.0, z), PIXEL_A) for z in (60.0, 80.0)]
    for name, data, frame in zip(("v.mrc", "l.mrc"), (volume, labels), frames, strict=True):
        package.write(package.Volume(data, pixel_A=PIXEL_A, frame=frame), tmp_path / name)
    assert "lies 0, 0, -4 voxels" in failure("measure", tmp_path / "v.mrc", tmp_path / "l.mrc")


def test_a_series_of_other_rows(files: tuple[Path, Path], tmp_path: Path) -> None:
    views = package.TiltSeries.of(np.ones((3, 8, 48), np.float32), [-60, 0, 60], pixel_A=PIXEL_A)
    package.write(views, tmp_path / "ts.mrc")
    assert "8 rows, but" in failure("measure", *files, "--series", tmp_path / "ts.mrc")
    assert "is a tilt series" in failure("measure", tmp_path / "ts.mrc", files[1])


def test_a_stack_is_a_volume_too(files: tuple[Path, Path], tmp_path: Path) -> None:
    stack = write_stack(tmp_path / "stack.mrc", specimen()[1].astype(np.float32), PIXEL_A)
    assert totals(files[0], stack) == totals(*files)


def test_labels_that_do_not_end_at_the_threshold(files: tuple[Path, Path], tmp_path: Path) -> None:
    """The first is grown by a voxel, as a threshold that is too low would make it."""
    _, labels = specimen()
    grown = ndimage.binary_dilation(labels == 2)
    labels[grown] = 2
    wide = write_volume(tmp_path / "wide.mrc", labels)
    run = etcli("measure", files[0], wide, "--csv", tmp_path / "out.csv")
    assert [row["flag"] for row in table(tmp_path / "out.csv")] == ["rough threshold", "", ""]
    assert "1 of 3 labels do not end at their threshold" in run.err
