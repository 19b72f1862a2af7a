"""Cropped series: the tilt axis stays where it was, through every command."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

import etcli
from tests.blobs import Point, blob_near, blob_views
from tests.files import etcli as run
from tests.files import mdoc_text, write_stack

TILTS = np.arange(-69, 70, 4.6)
SHAPE = 30, 64
PIXEL_A = 2.5
POINTS: tuple[Point, ...] = ((-4.3, 3.4, 5.2), (-11.0, -2.1, -6.5))
CROP = "1-44,9-30"
"""The axis is 10 px beyond the middle of the columns, the centre 4 px below that of the rows."""


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = write_stack(tmp_path / "whole.mrc", blob_views(POINTS, TILTS, SHAPE), PIXEL_A)
    Path(f"{path}.mdoc").write_text(mdoc_text(TILTS.tolist(), pixel_A=PIXEL_A, axis_deg=0))
    return path


@pytest.fixture
def cropped(whole: Path, tmp_path: Path) -> Path:
    said = run("stack", "--crop", CROP, whole, tmp_path / "c.mrc").err
    assert "+10 px (+25 Å) along x and -4 px along y from the middle of the crop" in said
    assert "WARNING" not in said and "recon takes the tilt axis of before from the header" in said
    return tmp_path / "c.mrc"


def found_px(volume: Path) -> NDArray[np.float64]:
    """Find the blobs (x, y, z), in pixels from the rotation centre that the volume records."""
    read = etcli.read(volume)
    data, frame = np.asarray(read.images()), read.frame
    middle = frame.middle_A(data.shape, read.origin_A, read.pixel_A) / read.pixel_A
    scale = PIXEL_A / read.pixel_A
    places = [tuple(scale * np.array(point) - middle) for point in POINTS]
    return np.array([(blob_near(data, place) + middle) / scale for place in places])


def recon(series: Path, *options: object) -> Path:
    volume = series.with_name("rec.mrc")
    options = options if "fbp" in options else ("--iterations", 60, *options)
    said = run("recon", *options, series, volume).err
    assert "explained better" not in said
    return volume


def test_recon_takes_the_axis_from_the_header(cropped: Path) -> None:
    said = run("recon", "--iterations", 60, cropped, cropped.with_name("rec.mrc")).err
    assert "tilt axis +10 px (+25 Å) from the middle of the views, as their header says" in said
    volume = cropped.with_name("rec.mrc")
    assert mrcfile.read(volume).shape == (44, 22, 64)  # as wide as all that the views show
    assert np.abs(found_px(volume) - POINTS).max() < 0.15


@pytest.mark.parametrize("options", [("--method", "fbp"), ("--euler", "e.csv"), ("--slices", "3-20")])
def test_other_ways_to_reconstruct(options: tuple[str, str], cropped: Path, monkeypatch) -> None:
    monkeypatch.chdir(cropped.parent)
    rows = "".join(f"0,{-tilt:.4f},0\n" for tilt in TILTS)
    Path("e.csv").write_text("phi,theta,psi\n" + rows)
    assert np.abs(found_px(recon(cropped, *options)) - POINTS).max() < 0.2


@pytest.mark.parametrize("step", ["no mdoc", "tif", "bin", "filter", "crop of the crop", "stack --views"])
def test_the_axis_goes_from_file_to_file(step: str, cropped: Path, tmp_path: Path) -> None:
    again = tmp_path / ("again.tif" if step == "tif" else "again.mrc")
    if step == "no mdoc":
        cropped.rename(again)
        np.savetxt(tmp_path / "again.tlt", TILTS)
    elif step == "tif":
        run("stack", cropped, again)
    elif step == "bin":
        run("bin", "--factor", 2, cropped, again)
    elif step == "filter":
        run("filter", "--method", "gaussian", "--sigma", 0.5, cropped, again)
    elif step == "crop of the crop":
        run("stack", "--crop", "3-44,1-21", cropped, again)
    else:
        run("stack", "--views", "1-31", cropped, again)
    assert np.abs(found_px(recon(again)) - POINTS).max() < 0.3


def test_an_offset_that_is_given_counts(cropped: Path) -> None:
    volume = recon(cropped, "--axis-offset", 10)
    assert mrcfile.read(volume).shape == (44, 22, 44)
    assert np.abs(found_px(volume)[0] - POINTS[0]).max() < 0.15
    said = run("recon", "--axis-offset", 0, cropped, cropped.with_name("r.mrc")).err
    assert "as their header says" not in said


def test_python_does_the_same(cropped: Path) -> None:
    series = etcli.read(cropped)
    assert series.centre_px == (10, -4)
    volume = etcli.reconstruct(series, iterations=60).volume
    np.testing.assert_array_equal(volume.images(), mrcfile.read(recon(cropped)))
    projected = etcli.project(volume, TILTS)
    assert projected.centre_px == (0, -4)


def test_projections_of_the_volume_match_the_views(cropped: Path, tmp_path: Path) -> None:
    volume, projected = recon(cropped), tmp_path / "p.mrc"
    run("project", "--tilts", cropped, volume, projected)
    views, again = mrcfile.read(cropped), mrcfile.read(projected)
    # the volume is as wide as the whole views were
    difference = again[:, :, :44] - views
    assert np.linalg.norm(difference) < 0.05 * np.linalg.norm(views)
    assert np.abs(found_px(recon(projected)) - POINTS).max() < 0.3


@pytest.mark.parametrize("command", ["tiltalign", "xform"])
def test_aligned_anew_the_axis_is_in_the_middle(command: str, cropped: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.mrc"
    if command == "tiltalign":
        run("tiltalign", "--angle", 0, "--offset", 10, cropped, again)
    else:
        Path(tmp_path / "a.xf").write_text("1 0 0 1 -10 0\n" * len(TILTS))
        run("xform", "--xf", tmp_path / "a.xf", cropped, again)
    series = etcli.read(again)
    assert series.centre_px == (0, -4)
    assert "as their header says" not in run("recon", again, tmp_path / "r.mrc").err


@pytest.mark.parametrize("command", ["tiltalign", "register"])
def test_xform_follows_one_rule_in_python_and_from_files(command: str, cropped: Path, tmp_path: Path) -> None:
    """Transforms of tiltalign bring the axis to the middle, those of register leave it where it is."""
    xf, again = tmp_path / "a.xf", tmp_path / "again.mrc"
    how = ("--angle", 0, "--offset", 10) if command == "tiltalign" else ("--method", "pc")
    run("-q", command, *how, "--write-xf", xf, cropped, tmp_path / "aligned.mrc")
    assert "WARNING" not in run("xform", "--xf", xf, cropped, again).err
    series = etcli.read(cropped)
    if command == "tiltalign":
        found = etcli.tiltalign(series, angle_deg=0, offset=10).transforms
    else:
        with pytest.warns(etcli.EtcliWarning, match="as their header says; use tiltalign before recon"):
            found = etcli.register(series, method="pc").transforms
    moved = etcli.xform(series, found)
    expected = (0, -4) if command == "tiltalign" else (10, -4)
    assert moved.centre_px == etcli.read(again).centre_px == expected


def test_transforms_that_tell_nothing_are_told_in_both_ways(cropped: Path, tmp_path: Path) -> None:
    (tmp_path / "a.xf").write_text("1 0 0 1 -10 0\n" * len(TILTS))
    again = tmp_path / "again.mrc"
    said = run("xform", "--xf", tmp_path / "a.xf", cropped, again).err
    assert "whether the transforms bring the tilt axis to the middle is not known" in said
    with pytest.warns(etcli.EtcliWarning, match="whether the transforms bring the tilt axis to the middle"):
        moved = etcli.xform(etcli.read(cropped), etcli.Transforms.shifts([[-10, 0]] * len(TILTS)))
    assert moved.centre_px == etcli.read(again).centre_px == (0, -4)


@pytest.mark.parametrize("given", ["tiltalign", "xform", "Python"])
def test_turned_about_an_inclined_axis_rows_keep_their_place(
    given: str, cropped: Path, tmp_path: Path
) -> None:
    """The centre of the whole views is at M c along y, and at the middle along x."""
    again, xf = cropped.with_name("again.mrc"), cropped.with_name("a.xf")
    run("tiltalign", "--angle", 30, "--offset", 3, "--write-xf", xf, cropped, again)
    if given == "xform":
        run("xform", "--xf", xf, cropped, again, "--overwrite")
    series = etcli.read(again)
    if given == "Python":
        series = etcli.tiltalign(etcli.read(cropped), angle_deg=30, offset=3).series
    assert series.centre_px == pytest.approx((0, -4 * np.cos(np.pi / 6) - 10 * np.sin(np.pi / 6)), abs=1e-3)


def test_a_volume_of_aligned_crops_lies_where_that_of_the_whole_does(whole: Path, tmp_path: Path) -> None:
    crop = tmp_path / "c.mrc"
    run("stack", "--crop", "1-64,9-30", whole, crop)
    for series in (whole, crop):
        run("tiltalign", "--angle", 0.5, "--offset", 1, series, f"{series}.ali.mrc")
        run("recon", "--method", "bp", f"{series}.ali.mrc", f"{series}.rec.mrc")
    said = run("compare", "--json", f"{crop}.rec.mrc", f"{whole}.rec.mrc")
    assert "y 9-30" in said.err + said.out


@pytest.mark.parametrize("found_on", ["whole", "crop"])
def test_transforms_of_the_whole_for_a_crop_and_back(
    found_on: str, whole: Path, cropped: Path, tmp_path: Path
) -> None:
    """Applied to a crop, they show the crop of what they make of the whole."""
    first, second = (whole, cropped) if found_on == "whole" else (cropped, whole)
    xf = tmp_path / "a.xf"
    run("tiltalign", "--angle", 4, "--offset", 2.5, "--write-xf", xf, first, tmp_path / "first.mrc")
    said = run("xform", "--xf", xf, second, tmp_path / "second.mrc").err
    assert "WARNING" not in said and "whose middle is" in said
    views = {name: mrcfile.read(tmp_path / f"{name}.mrc") for name in ("first", "second")}
    large, small = (
        views[name] for name in (("first", "second") if found_on == "whole" else ("second", "first"))
    )
    inside = slice(None), slice(4, -4), slice(8, -8)  # what the sides of the crop do not cut
    np.testing.assert_allclose(small[inside], large[:, 8:30, :44][inside], atol=0.02 * large.max())
    places = [etcli.read(tmp_path / f"{name}.mrc").centre_px for name in ("first", "second")]
    shift = 10 if found_on == "whole" else -10
    assert places[1][0] - places[0][0] == pytest.approx(shift, abs=0.01)
    assert places[1][1] - places[0][1] == pytest.approx(-4 if found_on == "whole" else 4, abs=0.01)


def test_transforms_for_views_of_another_size_at_an_unknown_place(whole: Path, tmp_path: Path) -> None:
    xf, other = tmp_path / "a.xf", tmp_path / "other.mrc"
    run("tiltalign", "--angle", 4, "--write-xf", xf, whole, tmp_path / "ali.mrc")
    write_stack(other, mrcfile.read(whole)[:, :20, :40], PIXEL_A)
    Path(f"{other}.mdoc").write_text(mdoc_text(TILTS.tolist(), pixel_A=PIXEL_A, axis_deg=0))
    said = run("xform", "--xf", xf, other, tmp_path / "moved.mrc").err
    assert "was found on views of 64 x 30 pixels" in said and "40 x 20" in said
    run("bin", "--factor", 2, whole, tmp_path / "binned.mrc")
    assert "found on views" not in run("xform", "--xf", xf, tmp_path / "binned.mrc", tmp_path / "b.mrc").err


def test_without_a_pixel_size_the_offset_has_to_be_given(whole: Path, tmp_path: Path) -> None:
    with mrcfile.open(whole, "r+") as mrc:
        mrc.voxel_size = 0
    Path(f"{whole}.mdoc").unlink()
    np.savetxt(tmp_path / "whole.tlt", TILTS)
    said = run("stack", "--crop", CROP, whole, tmp_path / "c.mrc").err
    assert (
        "WARNING" in said
        and "is now +10 px along x from the middle of the crop; a tilt axis there has to be given as recon "
        "--axis-offset +10"
        in said
    )
