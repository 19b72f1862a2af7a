"""``etcli xform``: the sense of shifts and turns, and what becomes of the tilt axis."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import TILT_DEG, etcli, failure, images, mdoc_text, mrc_bytes, write_series, write_stack


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc")


@pytest.fixture
def moved(tmp_path):
    def run(source, *lines: str, options=()) -> np.ndarray:
        (tmp_path / "a.xf").write_text("".join(f"{line}\n" for line in lines))
        etcli("xform", "--xf", tmp_path / "a.xf", *options, source, tmp_path / "b.mrc")
        return mrcfile.mmap(tmp_path / "b.mrc").data

    return run


def axis_deg(path) -> float:
    return json.loads(etcli("info", "--json", path).out)["axis_deg"]


def test_transforms_applied_twice_are_warned_of(tmp_path) -> None:
    raw = write_series(tmp_path / "a.mrc")
    moved, xf = tmp_path / "b.mrc", tmp_path / "a.xf"
    xf.write_text("1 0 0 1 1 0\n" * len(TILT_DEG))
    assert "applied already" not in etcli("xform", "--xf", xf, raw, moved).err
    assert "a.xf was applied already" in etcli("xform", "--xf", xf, moved, tmp_path / "c.mrc").err
    other = tmp_path / "other.xf"
    other.write_text(xf.read_text())
    assert "applied already" not in etcli("xform", "--xf", other, moved, tmp_path / "c.mrc").err
    # register moves its output itself, and its transforms are for the raw series
    blocks = np.zeros((len(TILT_DEG), 32, 32), np.float32)
    for k, block in enumerate(blocks):
        block[10:20, 8 + k : 18 + k] = 5
    raw = write_stack(tmp_path / "raw.mrc", blocks)
    raw.with_suffix(".rawtlt").write_text("".join(f"{angle}\n" for angle in TILT_DEG))
    xf = tmp_path / "r.xf"
    etcli("register", "-q", "--method", "com", "--write-xf", xf, raw, moved)
    assert "r.xf was applied already" in etcli("xform", "--xf", xf, moved, tmp_path / "c.mrc").err
    assert "applied already" not in etcli("xform", "--xf", xf, raw, tmp_path / "c.mrc").err


def test_nothing_to_do_changes_nothing(series, moved) -> None:
    np.testing.assert_array_equal(moved(series, *["1 0 0 1 0 0"] * 4), images())


def test_content_moves_by_dx_and_dy(series, moved) -> None:
    """To larger x and y; what comes in is the median of the rim of its view."""
    found, data = moved(series, *["1 0 0 1 3 -2"] * 4), images()
    np.testing.assert_array_equal(found[:, :-2, 3:], data[:, 2:, :-3])
    rims = [[*view[0], *view[-1], *view[1:-1, 0], *view[1:-1, -1]] for view in data]
    for view, rim in zip(found, rims, strict=True):
        np.testing.assert_allclose(view[-2:], np.median(rim), rtol=1e-6)
        np.testing.assert_allclose(view[:, :3], np.median(rim), rtol=1e-6)


def test_every_view_has_its_own_line(series, moved) -> None:
    found, data = moved(series, *(f"1 0 0 1 {k} 0" for k in range(4))), images()
    for k in range(4):
        np.testing.assert_array_equal(found[k, :, k:], data[k, :, : 10 - k])


def test_a_quarter_turn_is_counter_clockwise(tmp_path, moved) -> None:
    """x' = A x with A = ((0, -1), (1, 0)) takes +x to +y, and rows run upwards."""
    data = images(1, 12, 12)
    source = write_series(tmp_path / "a.mrc", data, [0])
    np.testing.assert_array_equal(moved(source, "0 -1 1 0 0 0").reshape(12, 12), data[0].T[:, ::-1])


def test_transforms_of_other_pixels_are_rescaled(series, moved) -> None:
    """Pixels of 2.5 Å here."""
    expected = moved(series, *["1 0 0 1 4 -2"] * 4).copy()
    np.testing.assert_array_equal(moved(series, *["1 0 0 1 2 -1"] * 4, options=["--xf-pixel", "5"]), expected)
    np.testing.assert_array_equal(
        moved(series, *["1 0 0 1 40 -20"] * 4, options=["--xf-pixel", "0.025nm"]), expected
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 0 0 1 5 5", 85.3),
        ("0.0819386 0.9966374 -0.9966374 0.0819386 0 0", 0.0),  # cos R, sin R, -sin R, cos R
        ("0 -1 1 0 0 0", 175.3),
        ("-1 0 0 1 0 0", -85.3),
    ],
)
def test_the_tilt_axis_turns_with_the_images(series, moved, tmp_path, line, expected) -> None:
    moved(series, *[line] * 4)
    assert axis_deg(tmp_path / "b.mrc") == pytest.approx(expected, abs=0.01)
    titles = [text for text in (tmp_path / "b.mrc.mdoc").read_text().splitlines() if "axis angle" in text]
    assert titles == [f"[T =     Tilt axis angle = {titles[0].split()[6]} binning = 2  spot = 8  camera = 0]"]


def test_an_unknown_axis_stays_unknown(tmp_path, moved) -> None:
    source = write_series(tmp_path / "a.mrc")
    text = "\n".join(line for line in mdoc_text([-40, 0, 20, 61.25]).split("\n") if "axis" not in line)
    (tmp_path / "a.mrc.mdoc").write_text(text)
    moved(source, *["0 -1 1 0 0 0"] * 4)
    assert axis_deg(tmp_path / "b.mrc") is None


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("1 0 0 1 0 0\n" * 3, 1, "3 transforms for the 4 views"),
        ("1 0 0 1 0\n" * 4, 1, "line 1: expected A11 A12 A21 A22 DX DY, not '1 0 0 1 0'"),
        ("1 0 0 1 0 nan\n" * 4, 1, "line 1: expected"),
        ("1 0 0 1 0 0\n" * 3 + "1 1 1 1 0 0\n", 1, "the transform of view 4 cannot be inverted"),
        ("", 1, "empty"),
        (None, 1, "no such file or directory"),
    ],
)
def test_damaged_transforms(series, tmp_path, content, status, message) -> None:
    xf = tmp_path / "a.xf"
    if content is not None:
        xf.write_text(content)
    line = failure("xform", "--xf", xf, series, tmp_path / "b.mrc", status=status)
    assert message in line
    assert str(xf) in line
    assert not (tmp_path / "b.mrc").exists()


def test_the_other_pixel_size_needs_one_here(tmp_path) -> None:
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=0))
    (tmp_path / "a.xf").write_text("1 0 0 1 0 0\n")
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    line = failure("xform", "--xf", tmp_path / "a.xf", "--xf-pixel", "5", *files, status=2)
    assert "pixel size unknown" in line


def test_transforms_are_asked_for(series, tmp_path) -> None:
    assert "Missing option '--xf'" in failure("xform", series, tmp_path / "b.mrc", status=2)


@pytest.mark.parametrize("beside", ["raw.st", "raw.mrc", "raw.st.mdoc", "raw.mdoc"])
@pytest.mark.parametrize("name", ["raw.xf", "raw_fid.xf", "raw.prexf", "raw.prexg"])
def test_the_raw_series_of_their_name_tells_the_pixels_of_other_programs(tmp_path, beside, name) -> None:
    """IMOD's shifts are in pixels of the raw series, 2.5 Å, here applied to pixels of 5 Å."""
    source = write_series(tmp_path / "small.mrc")
    with mrcfile.open(source, "r+") as mrc:
        mrc.voxel_size = 5
    Path(f"{source}.mdoc").write_text(mdoc_text(TILT_DEG, pixel_A=5))
    if beside.endswith("mdoc"):
        (tmp_path / beside).write_text(mdoc_text(TILT_DEG))
    else:
        write_series(tmp_path / beside)
    (tmp_path / name).write_text("1 0 0 1 4 -2\n" * 4)
    run = etcli("xform", "--xf", tmp_path / name, source, tmp_path / "o.mrc")
    assert f"{name}: shifts in pixels of 2.5 Å, as those of {tmp_path / beside}" in run.err
    assert "shifts times 0.5" in run.err
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "o.mrc")[:, :-1, 2:], images()[:, 1:, :-2])
    etcli("xform", "--xf", tmp_path / name, "--xf-pixel", 5, source, tmp_path / "p.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "p.mrc")[:, :-2, 4:], images()[:, 2:, :-4])


def test_a_binned_series_is_no_raw_one(tmp_path: Path) -> None:
    """Two of one name: transforms of IMOD are for the one that etcli did not make."""
    raw, xf = write_series(tmp_path / "a.st"), tmp_path / "a.xf"
    xf.write_text("1 0 0 1 4 -2\n" * 4)
    etcli("bin", raw, tmp_path / "a.mrc")
    said = etcli("xform", "--xf", xf, tmp_path / "a.mrc", tmp_path / "o.mrc").err
    assert "shifts times 0.5" in said and f"as those of {raw}" in said
    write_stack(tmp_path / "a.mrcs", images(), pixel_A=4)
    said = etcli("xform", "--xf", xf, tmp_path / "a.mrc", tmp_path / "o.mrc").err
    assert f"WARNING: xform - {xf}: does not say on which pixels" in said
    assert f"{raw} has pixels of 2.5 Å and {tmp_path / 'a.mrcs'} has pixels of 4 Å; shifts" in said


def test_what_is_assumed_of_pixels_is_told(series, tmp_path) -> None:
    (tmp_path / "other.xf").write_text("1 0 0 1 4 -2\n" * 4)
    words = ("xform", "--xf", tmp_path / "other.xf", series, tmp_path / "other.mrc")
    for _ in range(2):  # also with the output of before, which is no raw series, beside it
        err = etcli(*words).err
        assert (
            "other.xf: does not say on which pixels it was found; shifts are taken as pixels of 2.5 Å" in err
        )
        assert "(else give xform --xf-pixel)" in err
    write_series(tmp_path / "other.st", images(3), [0, 1, 2])  # of other views
    assert "does not say on which pixels" in etcli(*words).err
    assert "pixels" not in etcli("xform", "--xf-pixel", 2.5, *words[1:]).err
    (tmp_path / "other.xf").write_text("0 -1 1 0 0 0\n" * 4)  # no shifts
    assert "pixels" not in etcli(*words).err


def test_pixel_sizes_tell_how_shifts_are_scaled(tmp_path: Path) -> None:
    """What register found on the raw series aligns the binned one just as well."""
    views = np.zeros((4, 48, 40), np.float32)
    for k, (x, y) in enumerate([(20, 24), (24, 22), (14, 26), (18, 30)]):
        views[k, y - 4 : y + 4, x - 6 : x + 6] = 100 + np.add.outer(np.arange(8), np.arange(12))
    source, small, xf = write_series(tmp_path / "raw.mrc", views), tmp_path / "b.mrc", tmp_path / "r.xf"
    etcli(
        "-q", "register", "--method", "pc", "--background", 0, "--write-xf", xf, source, tmp_path / "pre.mrc"
    )
    shift_px = np.loadtxt(xf)[:, 4:]
    assert np.abs(shift_px).max() > 3
    etcli("bin", source, small)
    run = etcli("xform", "--xf", xf, small, tmp_path / "told.mrc")
    assert f"{xf}: shifts times 0.5" in run.err
    etcli("xform", "--xf", xf, "--xf-pixel", 2.5, small, tmp_path / "given.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "told.mrc"), mrcfile.read(tmp_path / "given.mrc"))
    etcli("bin", tmp_path / "pre.mrc", tmp_path / "expected.mrc")
    expected = mrcfile.read(tmp_path / "expected.mrc")
    assert np.linalg.norm(mrcfile.read(tmp_path / "told.mrc") - expected) < 0.15 * np.linalg.norm(expected)
    # --prexf of tiltalign follows the same rule
    etcli(
        "-q",
        "tiltalign",
        "--angle",
        0,
        "--prexf",
        xf,
        "--write-xf",
        tmp_path / "a.xf",
        small,
        tmp_path / "t.mrc",
    )
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.xf")[:, 4:], shift_px / 2, atol=2e-3)
    # a file that is edited is no longer that of which the pixel size is known
    np.savetxt(xf, np.loadtxt(xf), fmt="%.3f")
    assert "shifts times" not in etcli("xform", "--xf", xf, small, tmp_path / "same.mrc").err
    # neither is there a factor for the same pixels
    assert "shifts times" not in etcli("xform", "--xf", tmp_path / "a.xf", small, tmp_path / "same.mrc").err
