"""``etcli stack``, and that no later command loses what it put together."""

import json

import mrcfile
import numpy as np
import pytest
import tifffile

from etcli.io.mrc import open_mrc
from tests.files import TILT_DEG, etcli, failure, images, mdoc_text, mrc_bytes, write_series, write_stack


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc")


def about(path) -> dict:
    return json.loads(etcli("info", "--json", path).out)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), [0, 1, 2, 3]),
        (("--views", "4,1-2"), [3, 0, 1]),
        (("--views", "3-1"), [2, 1, 0]),
        (("--exclude", "2"), [0, 2, 3]),
        (("--exclude", "1,3-4"), [1]),
        (("--views", "2,4,1", "--sort", "tilt"), [0, 1, 3]),
    ],
)
def test_views_take_everything_with_them(series, tmp_path, options, kept) -> None:
    """Counted from 1."""
    target = tmp_path / "b.mrc"
    etcli("stack", *options, series, target)
    np.testing.assert_array_equal(open_mrc(target)[1], images()[kept])
    facts = about(target)
    assert facts["tilt_deg"] == [TILT_DEG[k] for k in kept]
    assert facts["dose_e_A2"] == [pytest.approx(1 + k / 10) for k in kept]
    assert facts["defocus_um"] == [pytest.approx(-1 - k / 100) for k in kept]
    mdoc = (tmp_path / "b.mrc.mdoc").read_text()
    assert [line for line in mdoc.splitlines() if line.startswith("Mark")] == [f"Mark = m{k}" for k in kept]
    assert [line for line in mdoc.splitlines() if line.startswith("[Z")] == [
        f"[ZValue = {place}]" for place in range(len(kept))
    ]


def test_sorting_goes_by_the_angle(tmp_path) -> None:
    tilts = [3.0, -6.0, 60.0, -60.5, 0.0]
    source = write_series(tmp_path / "a.mrc", images(5), tilts)
    etcli("stack", "--sort", "tilt", source, tmp_path / "b.mrc")
    assert about(tmp_path / "b.mrc")["tilt_deg"] == sorted(tilts)
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "b.mrc"), images(5)[[3, 1, 4, 0, 2]])


def test_several_files_become_one_series(tmp_path) -> None:
    data = images(6)
    parts = [
        write_series(tmp_path / f"{k}.mrc", data[2 * k : 2 * k + 2], tilts)
        for k, tilts in enumerate([(0.0, 3.0), (-3.0, -6.0), (6.0, 9.0)])
    ]
    etcli("stack", "--sort", "tilt", "--exclude", "5", *parts, tmp_path / "all.mrc")
    facts = about(tmp_path / "all.mrc")
    assert facts["tilt_deg"] == [-6, -3, 0, 3, 9]
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "all.mrc"), data[[3, 2, 0, 1, 5]])
    assert facts["history"] == ["etcli stack 0.1: 5 views of 3 files, sorted by tilt"]


@pytest.mark.parametrize(("frames", "n"), [("mean", 2), ("sum", 2), ("keep", 4)])
def test_frames(tmp_path, frames, n) -> None:
    data = images()
    source = write_series(tmp_path / "a.mrc", data, (3.0, 3.004, 0.0, 0.0), defocus_um=[-1] * 4)
    run = etcli("stack", "--frames", frames, source, tmp_path / "b.mrc")
    found = mrcfile.read(tmp_path / "b.mrc")
    pairs = data.reshape(2, 2, 12, 10)
    expected = {"mean": pairs.mean(axis=1), "sum": pairs.sum(axis=1), "keep": data}[frames]
    np.testing.assert_array_equal(found, expected)
    facts = about(tmp_path / "b.mrc")
    assert len(facts["tilt_deg"]) == n
    if frames != "keep":
        assert f"4 sections give 2 views: {frames} of frames" in run.err
        assert facts["tilt_deg"] == [3, 0]
        assert facts["dose_e_A2"] == [2.1, 2.5]
    else:
        assert run.err == ""


def test_a_crop_is_recorded_in_the_origin(series, tmp_path) -> None:
    """Columns 3 to 8 and rows 2 to 12, counted from 1 and from the bottom; and a crop of the crop."""
    etcli("stack", "--crop", "3-8,2-12", series, tmp_path / "b.mrc")
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, images()[:, 1:12, 2:8])
        assert mrc.header.origin.item() == (5, 2.5, 0)
        assert mrc.voxel_size.x == 2.5
    assert "ImageSize = 6 11\n" in (tmp_path / "b.mrc.mdoc").read_text()
    etcli("stack", "--crop", "2-3,4-4", tmp_path / "b.mrc", tmp_path / "c.mrc")
    with mrcfile.open(tmp_path / "c.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, images()[:, 4:5, 3:5])
        assert mrc.header.origin.item() == (7.5, 10, 0)
    etcli("bin", tmp_path / "b.mrc", tmp_path / "d.mrc")
    # of 11 rows one is left over, half on each side
    assert etcli("info", "--field", "origin", tmp_path / "d.mrc").out == "5 3.75 0\n"


def test_to_tiff_and_back(series, tmp_path) -> None:
    """The last row comes first in a TIFF; the mdoc beside it carries the rest."""
    etcli("stack", series, tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), images()[:, ::-1])
    facts = about(tmp_path / "b.tif")
    assert (facts["pixel_A"], facts["tilt_deg"], facts["axis_deg"]) == (2.5, list(TILT_DEG), 85.3)
    etcli("stack", tmp_path / "b.tif", tmp_path / "c.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "c.mrc"), images())
    again = about(tmp_path / "c.mrc")
    assert again["history"] == ["etcli stack 0.1: 4 views of 1 file"] * 2
    assert again["mean"] == pytest.approx(facts["mean"], rel=2e-7)
    for key in ("size", "pixel_A", "min", "max", "tilt_deg", "axis_deg", "dose_e_A2", "defocus_um"):
        assert again[key] == facts[key]


@pytest.mark.parametrize(
    ("command", "factor"),
    [
        (("bin", "-b", "2"), 2),
        (("bin", "-b", "2.5", "--method", "fourier"), 2.5),
        (("filter",), 1),
        (("filter", "--method", "gaussian"), 1),
        (("xform", "--xf", "a.xf"), 1),
        (("stack", "--crop", "2-9,2-9"), 1),
    ],
)
def test_no_command_loses_what_stack_put_together(tmp_path, monkeypatch, command, factor) -> None:
    """Files at one tilt each with two frames, views out of order, one left out; then any command."""
    monkeypatch.chdir(tmp_path)
    data = images(8)
    for k, tilt in enumerate((3.0, -3.0, 0.0, 6.0)):
        frames, defocus_um = data[2 * k : 2 * k + 2], [-k - 0.5] * 2
        write_series(tmp_path / f"{k}.mrc", frames, (tilt, tilt), defocus_um=defocus_um)
    etcli("stack", "--exclude", "7-8", "--sort", "tilt", *(f"{k}.mrc" for k in range(4)), "s.mrc")
    (tmp_path / "a.xf").write_text("1 0 0 1 0.5 -1\n" * 3)
    etcli(*command, "s.mrc", "t.mrc")
    before, after = about("s.mrc"), about("t.mrc")
    assert before["tilt_deg"] == after["tilt_deg"] == [-3, 0, 3]
    assert before["dose_e_A2"] == after["dose_e_A2"] == [2.1, 2.1, 2.1]
    assert before["defocus_um"] == after["defocus_um"] == [-1.5, -2.5, -0.5]
    assert before["axis_deg"] == after["axis_deg"] == 85.3
    assert before["voltage_kv"] == after["voltage_kv"] == 200
    assert after["pixel_A"] == 2.5 * factor
    assert len(after["history"]) == 2
    assert (
        after["history"][0] == before["history"][0] == "etcli stack 0.1: 3 views of 4 files, sorted by tilt"
    )
    assert after["history"][1].startswith(f"etcli {command[0]} 0.1: ")
    steps = [label for label in after["labels"] if not label.startswith("etcli frame: ")]  # of a crop
    assert steps[-2:] == after["history"]


def test_labels_make_room_for_new_ones(tmp_path) -> None:
    labels = [f"label {k}" for k in range(10)]
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(images().astype("<f4"), (10, 12, 4), 2, labels=labels))
    etcli("stack", tmp_path / "a.mrc", tmp_path / "b.mrc")
    facts = about(tmp_path / "b.mrc")
    assert facts["labels"] == ["label 0", *labels[2:], "etcli stack 0.1: 4 views of 1 file"]


def test_what_a_left_out_view_lacks_does_not_matter(series, tmp_path) -> None:
    lines = mdoc_text(TILT_DEG).split("[ZValue = 2]")
    (tmp_path / "a.mrc.mdoc").write_text(f"{lines[0]}{lines[1][lines[1].index('[ZValue = 3]') :]}")
    line = failure("stack", series, tmp_path / "b.mrc")
    assert "4 sections but" in line
    assert "--exclude 3" in line
    etcli("stack", "--exclude", "3", series, tmp_path / "b.mrc")
    facts = about(tmp_path / "b.mrc")
    assert facts["tilt_deg"] == [TILT_DEG[k] for k in (0, 1, 3)]
    assert facts["defocus_um"] == [-1, -1.01, -1.03]


def test_given_angles_are_written(tmp_path) -> None:
    source = write_stack(tmp_path / "a.mrc", images(3))
    (tmp_path / "given").write_text("-10.123\n0\n10\n")
    etcli("stack", "--tilts", tmp_path / "given", "--views", "3,1", source, tmp_path / "b.mrc")
    assert about(tmp_path / "b.mrc")["tilt_deg"] == [10, -10.123]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--views", "5"), "view 5 asked for, but there are 4; count from 1"),
        (("--exclude", "0"), "'0' is not a list counted from 1, such as 1,4-7,60"),
        (("--views", "1,x"), "'1,x' is not a list"),
        (("--views", "1", "--exclude", "2"), "--views and --exclude cannot go together"),
        (("--crop", "1-11,1-12"), "--crop reaches beyond the image of 10 x 12"),
        (("--crop", "5-3,1-2"), "'5-3,1-2' is not a region"),
        (("--frames", "none"), "--frames none: give mean, sum or keep, or a folder that exists"),
        (("--frames", "mean", "--frames", "sum"), "--frames mean and sum cannot go together"),
        (("--frames", "."), "--frames .: a folder is for an INPUT.mdoc"),
    ],
)
def test_wrong_usage(series, tmp_path, options, message) -> None:
    assert message in failure("stack", *options, series, tmp_path / "b.mrc", status=2)
    assert not (tmp_path / "b.mrc").exists()


def test_defoci_go_with_one_file(series, tmp_path) -> None:
    files = series, series, tmp_path / "b.mrc"
    assert "--defocus goes with one INPUT" in failure("stack", "--defocus", "x", *files, status=2)


def test_leaving_nothing_is_an_error(series, tmp_path) -> None:
    assert "no view is left" in failure("stack", "--exclude", "1-4", series, tmp_path / "b.mrc")


def test_sorting_needs_angles(tmp_path) -> None:
    source = write_stack(tmp_path / "a.mrc", images())
    line = failure("stack", "--sort", "tilt", source, tmp_path / "b.mrc")
    assert "no tilt angles (looked for" in line
