"""What an alignment says where its input is doubtful: the axis, views, pixels, moving parts."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.files import etcli, failure, mdoc_text, write_stack
from tests.series import left_over, particle_views, scattered

TILT_DEG = np.arange(-60.0, 61.0, 4.0)
SHAPE = (48, 48)
AXIS = "Tilt axis angle"

Views = NDArray[np.float32]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With views as small as these, more threads only take more time."""
    monkeypatch.setenv("ETCLI_THREADS", "1")


def drift() -> NDArray[np.float64]:
    """How far the content of each view is moved."""
    return np.random.default_rng(2).uniform(-3, 3, (len(TILT_DEG), 2))


@cache
def cluster() -> Views:
    """Views of some particles about an axis along y, counted, with drift; not to be changed."""
    views = particle_views(scattered(25, 0, (12, 12, 8)), TILT_DEG, SHAPE, moved_px=drift())
    counted = np.random.default_rng(3).poisson(views * (50 / views.max())).astype(np.float32)
    counted.flags.writeable = False
    return counted


def write(folder: Path, views: NDArray[np.floating], *, axis_deg: float | None = None) -> Path:
    """Write a series, with an mdoc that states the axis or without one."""
    path = write_stack(folder / "series.mrc", np.asarray(views, np.float32), 10.0)
    np.savetxt(folder / "series.rawtlt", TILT_DEG)
    if axis_deg is not None:
        Path(f"{path}.mdoc").write_text(mdoc_text(TILT_DEG, axis_deg=axis_deg, pixel_A=10))
    return path


def round_needle() -> Views:
    """Views of a needle along y that is round, so that no view tells its tilt."""
    rng = np.random.default_rng(0)
    x, shift = np.arange(64) - 31.5, rng.uniform(-3, 3, len(TILT_DEG))
    profile = np.sqrt(np.maximum(0, 12.0**2 - (x - shift[:, np.newaxis]) ** 2))
    taper = np.clip((np.arange(64)[:, np.newaxis] - 20) / 20, 0, 1)
    return rng.poisson(4 * profile[:, np.newaxis] * taper).astype(np.float32)


def turned(views: Views) -> Views:
    """Turn views counter-clockwise by 90°: an axis along y is at 90° then."""
    return np.ascontiguousarray(np.rot90(views, -1, axes=(1, 2)))


@pytest.mark.parametrize(("lying", "axis_deg"), [(False, 0.0), (True, 90.0)])
def test_the_direction_of_an_axis_that_no_file_states(tmp_path: Path, lying: bool, axis_deg: float) -> None:
    path = write(tmp_path, turned(cluster()) if lying else cluster())
    run = etcli("register", "--json", "--strict", "--write-xf", tmp_path / "r.xf", path, tmp_path / "out.mrc")
    numbers = json.loads(run.out)
    assert numbers["angle_deg"] == pytest.approx(axis_deg, abs=2)
    assert ("WARNING" in run.err) == lying
    assert ("taken as --axis 90; if --axis -90 is right, the volume is a mirror image" in run.err) == lying
    # what comes next finds it stated, or in the axis beside the transforms
    assert f"{AXIS} = {axis_deg:.2f}" in Path(tmp_path / "out.mrc.mdoc").read_text()
    run = etcli("tiltalign", "--json", "--strict", "--prexf", tmp_path / "r.xf", path, tmp_path / "ali.mrc")
    assert json.loads(run.out)["angle_deg"] == pytest.approx(axis_deg, abs=2)
    run = etcli("tiltalign", "--json", path, tmp_path / "alone.mrc")
    assert ("taken as --axis 90" in run.err) == lying


def test_views_that_do_not_show_the_direction_of_the_axis(tmp_path: Path) -> None:
    """Discs of random places show no motion about any axis."""
    rng = np.random.default_rng(0)
    views = np.array(
        [particle_views(scattered(25, seed, (12, 12, 8)), [0.0], SHAPE)[0] for seed in range(len(TILT_DEG))]
    ) + rng.normal(0, 0.02, (len(TILT_DEG), *SHAPE))
    path = write(tmp_path, views)
    said = failure("register", "-q", "--strict", path, tmp_path / "out.mrc")
    assert "do not show whether it lies along y or x; give --axis 0 or --axis 90" in said
    assert (
        "taken as vertical (--axis 90 where it lies along x)"
        in etcli("register", path, tmp_path / "o.mrc").err
    )


def test_the_axis_of_the_microscopes_log(tmp_path: Path) -> None:
    """Xplore3D writes it to STEM.txt, in the code page of its computer."""
    path = write(tmp_path, turned(cluster()))
    lines = ["   Pixel size: 1", "11/18/11 10:36:43   Tilt Axis Angle [°]:90.00", ""]
    (tmp_path / "series.txt").write_bytes("\r\n".join(lines).encode("latin-1"))
    run = etcli("register", "--json", "--strict", path, tmp_path / "out.mrc")
    assert json.loads(run.out)["angle_deg"] == pytest.approx(90, abs=1.5)
    assert "tilt axis at 90° by" in run.err
    assert json.loads(etcli("info", "--json", path).out)["axis_deg"] == 90
    inputs = json.loads(etcli("info", "--json", tmp_path / "out.mrc").out)["steps"][-1]["inputs"]
    assert sum("series.txt, " in name for name in inputs) == 1
    words = ("--write-tlt", tmp_path / "series.txt", path, tmp_path / "t.mrc")
    assert "series.txt: is an input" in failure("tiltalign", "-q", "--angle", 90, *words, status=2)
    (tmp_path / "series.txt").write_text("Tilt Axis Angle: 90\nTilt Axis Angle: 12\n")  # of several series
    assert json.loads(etcli("info", "--json", path).out)["axis_deg"] is None


def test_an_axis_given_the_other_way_round_than_the_log_says(tmp_path: Path) -> None:
    """The views fit both; the volume of the wrong one is a mirror image."""
    path = write(tmp_path, turned(cluster()))
    (tmp_path / "series.txt").write_text("Tilt Axis Angle: 90\n")
    xf, out = tmp_path / "r.xf", tmp_path / "out.mrc"
    said = etcli("register", "--axis", "-90", "--write-xf", xf, path, out).err
    assert "--axis -90 contradicts the tilt axis at 90° by" in said and "mirror image" in said
    said = failure("tiltalign", "-q", "--prexf", xf, path, tmp_path / "ali.mrc", status=2)
    assert "r.xf: was found with the tilt axis at -9" in said and "it is at 90° by" in said
    assert "give --axis" in said and "series.txt" in said
    assert "mirror image" in etcli("xform", "--xf", xf, path, tmp_path / "moved.mrc").err
    run = etcli("tiltalign", "--json", "--axis", "-90", "--prexf", xf, path, tmp_path / "ali.mrc")
    assert json.loads(run.out)["angle_deg"] == pytest.approx(-90, abs=2)
    said = etcli("register", "--axis", "80", path, out, "--overwrite").err
    assert "contradicts" not in said


@pytest.mark.parametrize(("lying", "given"), [(False, 90), (True, 0)])
def test_a_given_axis_that_the_views_contradict(tmp_path: Path, lying: bool, given: int) -> None:
    path = write(tmp_path, turned(cluster()) if lying else cluster())
    for command in ("register", "tiltalign"):
        said = etcli(command, "--axis", given, path, tmp_path / "out.mrc", "--overwrite", status=None).err
        assert f"--axis {given} contradicts the views" in said
        assert f"times better with one along {'x' if lying else 'y'}" in said
    for right in (90 - given, 45):
        said = etcli("register", "--axis", right, path, tmp_path / "out.mrc", "--overwrite", status=None).err
        assert "contradicts" not in said


def test_the_line_says_where_views_do_not_show_their_order(tmp_path: Path) -> None:
    """A round needle fits any order of its angles: the residual says nothing about them."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for folder in (right, wrong):
        folder.mkdir()
    views = round_needle()
    for folder, order in ((right, slice(None)), (wrong, np.random.default_rng(0).permutation(len(views)))):
        run = etcli("register", write(folder, views[order], axis_deg=0), folder / "out.mrc")
        assert "px (" in run.err
        assert "look alike at all tilts: any order of the tilt angles would fit as well" in run.err
    run = etcli("register", "--strict", write(tmp_path, cluster(), axis_deg=0), tmp_path / "out.mrc")
    assert "alike" not in run.err


def test_swapped_views_are_named_and_fail_when_strict(tmp_path: Path) -> None:
    views = cluster().copy()
    views[[7, 20]] = views[[20, 7]]
    path = write(tmp_path, views, axis_deg=0)
    said = failure("register", "-q", "--strict", path, tmp_path / "out.mrc")
    assert "look at views 8,21: unlike what other views predict" in said
    run = etcli("register", "--json", "--write-xf", tmp_path / "r.xf", path, tmp_path / "out.mrc")
    assert json.loads(run.out)["doubtful"] == [8, 21]
    run = etcli("tiltalign", "--prexf", tmp_path / "r.xf", path, tmp_path / "ali.mrc")
    assert "look at views 8,21" in run.err


def test_what_is_left_is_told_in_pixels_for_every_view(tmp_path: Path) -> None:
    path = write(tmp_path, cluster(), axis_deg=0)
    run = etcli("register", "-v", "--json", "--plot", tmp_path / "p.svg", path, tmp_path / "out.mrc")
    numbers = json.loads(run.out)
    left_px = np.hypot(*np.array(numbers["deviation_px"]).T)
    assert left_px.shape == TILT_DEG.shape
    assert 0 < np.sqrt(np.mean(left_px**2)) <= numbers["residual_px"]
    assert f"{left_px[0]:9.2f} {numbers['quality'][0]:12.3f}" in run.err
    assert f"largest shift {np.hypot(*np.array(numbers['shift_px']).T).max():.2f} px" in run.err
    assert (tmp_path / "p.svg").stat().st_size > 1000


@pytest.mark.parametrize("method", ["match", "pc", "stackreg", "com", "com-cl"])
def test_a_hot_pixel_is_named_and_does_not_move_a_view(tmp_path: Path, method: str) -> None:
    views = cluster() * np.float32(2 / cluster().max())
    views[9, 11, 30] = 1e6
    path = write(tmp_path, views, axis_deg=0)
    run = etcli("register", "--json", "--method", method, path, tmp_path / "out.mrc")
    assert "1 outlying pixel in view 10, such as 1e+06" in run.err
    assert "in column 31, row 12 of view 10" in run.err
    assert "filter --method despike" in run.err
    assert max(left_over(np.array(json.loads(run.out)["shift_px"]), drift(), TILT_DEG)) < 0.3


def test_a_hot_pixel_is_named_by_all_that_use_the_views(tmp_path: Path) -> None:
    views = particle_views(scattered(25, 0, (12, 12, 8)), TILT_DEG, SHAPE)
    views[9, 11, 30] = 1e6
    path = write(tmp_path, views, axis_deg=0)
    for command in (("tiltalign",), ("recon", "--iterations", "2")):
        assert "1 outlying pixel in view 10" in etcli(*command, path, tmp_path / "out.mrc", "--overwrite").err
    assert "1 outlying pixel in view 10" in etcli("entropy", "--background", "0", path).err
    cleaned = tmp_path / "clean.mrc"
    etcli("filter", "--method", "despike", path, cleaned)
    assert "outlying" not in etcli("recon", "--iterations", "2", cleaned, tmp_path / "v.mrc").err


def test_a_feature_that_moves_by_itself_is_left_out(tmp_path: Path) -> None:
    """It dominates the views; with a mask, or a region, matching follows the specimen."""
    rng = np.random.default_rng(1)
    own = np.cumsum(rng.normal(0, 0.6, (len(TILT_DEG), 2)), axis=0) + np.array([9, 50])
    y, x = np.mgrid[:60, :60]
    views = np.pad(cluster(), ((0, 0), (2, 10), (10, 2))).copy()
    for view, (right, up) in zip(views, own, strict=True):
        view += 300 * np.exp(-0.5 * ((x - right) ** 2 + (y - up) ** 2) / 2.5**2)
    path = write(tmp_path, views, axis_deg=0)
    mask = np.ones((1, 60, 60), np.float32)
    mask[:, 41:, :20] = 0
    write_stack(tmp_path / "mask.mrc", mask, 10.0)
    worst = {}
    for name, options in {
        "all": (),
        "masked": ("--mask", tmp_path / "mask.mrc"),
        "region": ("--region", "21-60,1-60"),
    }.items():
        run = etcli("register", "--json", *options, path, tmp_path / f"{name}.mrc")
        numbers = json.loads(run.out)
        assert numbers["method"] == "match"
        worst[name] = max(left_over(np.array(numbers["shift_px"]), drift(), TILT_DEG))
    assert worst["all"] > 0.5
    assert worst["masked"] < 0.15
    assert worst["region"] < 0.4
    said = failure("register", "-q", "--mask", path, path, tmp_path / "out.mrc")
    assert "mask is one image" in said
