"""``etcli segment``: labels, thresholds, twin, and what it says of unsuitable volumes."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

import etcli as library
from etcli.io.segmentation_step import global_threshold_of
from tests.files import etcli, failure

Z, Y, X = np.mgrid[:40, :40, :64].astype(np.float32)


def ball(z: float, y: float, x: float, radius: float, density: float = 1.0) -> np.ndarray:
    far = np.sqrt((Z - z) ** 2 + (Y - y) ** 2 + (X - x) ** 2)
    return density * np.clip((radius - far) / 2 + 0.5, 0, 1).astype(np.float32)


def volume(path: Path, data: np.ndarray, pixel_A: float = 10.0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(data.astype(np.float32))
        file.set_volume()
        file.voxel_size = pixel_A
    return path


def read(path: Path) -> np.ndarray:
    with mrcfile.open(path) as file:
        return np.array(file.data)


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    """Two balls that touch and a lighter one that the border cuts."""
    data = ball(20, 20, 14, 8) + ball(20, 20, 28, 6) + ball(20, 36, 50, 9, 0.5)
    return volume(tmp_path / "bodies.mrc", data + np.random.default_rng(2).normal(0, 0.01, data.shape))


def volumes_of(numbers: dict) -> list[int]:
    return numbers["labels"]["volume_px"]


def test_bodies_are_parted_and_end_at_half_of_their_own_contrast(bodies: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.mrc"
    numbers = json.loads(etcli("segment", "--json", bodies, out).out)
    labels = read(out)
    assert labels.dtype == np.uint16
    assert numbers["n_labels"] == labels.max() == 3
    assert numbers["local"]
    assert numbers["labels"]["border"] == [True, False, False]
    assert volumes_of(numbers) == np.bincount(labels.ravel())[1:].tolist()
    true = [4 / 3 * np.pi * radius**3 for radius in (8, 6)]
    assert volumes_of(numbers)[1:] == pytest.approx(true, rel=0.03)
    assert numbers["volume_nm3"] == numbers["volume_px"]
    assert numbers["cuts"][0]["labels"] == [2, 3]
    assert "local half, found by otsu" in etcli("info", out).out
    assert global_threshold_of(library.read(out).history) is None


def test_one_threshold_for_all_is_in_the_history(bodies: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.mrc"
    numbers = json.loads(etcli("segment", "--global", "--json", bodies, out).out)
    assert (numbers["method"], numbers["local"]) == ("edge", False)
    assert global_threshold_of(library.read(out).history) == pytest.approx(numbers["thresholds"][0], rel=1e-5)
    solid = read(bodies) > numbers["thresholds"][0]
    assert ((read(out) > 0) == solid).mean() > 0.9999  # but for what is too small


def test_one_body_gets_the_threshold_of_its_edges_and_keeps_its_pores(tmp_path: Path) -> None:
    hollow = volume(tmp_path / "hollow.mrc", ball(20, 20, 32, 15) - ball(20, 24, 36, 5) - ball(16, 13, 28, 4))
    numbers = json.loads(etcli("segment", "--json", hollow, tmp_path / "l.mrc").out)
    assert (numbers["method"], numbers["n_labels"]) == ("edge", 1)
    true = 4 / 3 * np.pi * (15**3 - 5**3 - 4**3)
    assert numbers["volume_px"] == pytest.approx(true, rel=0.02)
    filled = json.loads(etcli("segment", "--fill-holes", "--json", hollow, tmp_path / "f.mrc").out)
    assert filled["volume_px"] == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)
    pores = json.loads(etcli("segment", "--invert", "--json", hollow, tmp_path / "p.mrc").out)
    digitised = [int((ball(z, y, x, r) > 0.5).sum()) for z, y, x, r in ((20, 24, 36, 5), (16, 13, 28, 4))]
    assert volumes_of(pores) == pytest.approx(digitised, rel=0.02)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--split", "none"), 2),
        (("--split", "5nm"), 2),
        (("--method", "0.75"), 2),
        (("--method", "hysteresis:0.3,0.75", "--split", "none"), 1),
        (("--method", "multi-otsu", "--global"), 3),
        (("--min-size", "1500"), 2),
        (("--smooth", "0.7px"), 3),
    ],
)
def test_options_change_what_is_labelled(
    bodies: Path, tmp_path: Path, options: tuple[str, ...], count: int
) -> None:
    run = etcli("segment", *options, bodies, tmp_path / "labels.mrc")
    assert read(tmp_path / "labels.mrc").max() == count, run.err
    assert run.err.startswith(f"{count} label")


@pytest.mark.parametrize("outside", [False, True])
def test_metal_on_a_support_is_told_and_labelled_on_request(tmp_path: Path, outside: bool) -> None:
    """Metal is 1 % of the support; where it is inside only, it does not move the support's surface."""
    places = ((20, 20, 32, 3), (20, 27, 40, 2.5), (20, 34, 32, 3.5) if outside else (16, 16, 24, 3.5))
    metal = np.sum([ball(*place) for place in places], axis=0)
    data = (1 - metal) * ball(20, 20, 32, 14) + 4 * metal
    data += np.random.default_rng(3).normal(0, 0.05, data.shape).astype(np.float32)
    catalyst, out = volume(tmp_path / "catalyst.mrc", data), tmp_path / "labels.mrc"
    run = etcli("segment", "--json", catalyst, out)
    assert "the solid has two densities" in run.err
    assert "--method dense labels the denser bodies" in run.err
    numbers = json.loads(run.out)
    if not outside:
        assert numbers["method"] == "edge"
        assert numbers["thresholds"][0] == pytest.approx(0.5, abs=0.05)
    run = etcli("segment", "--method", "dense", "--json", catalyst, out)
    assert "WARNING" not in run.err
    digitised = sorted((int((ball(*place) > 0.5).sum()) for place in places), reverse=True)
    assert volumes_of(json.loads(run.out)) == pytest.approx(digitised, rel=0.15)
    assert "local half, found by dense" in etcli("info", out).out


def test_a_support_without_metal_is_not_said_to_have_any(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).normal(0, 0.15, X.shape)
    bare, out = volume(tmp_path / "bare.mrc", ball(20, 20, 32, 14) + noise), tmp_path / "labels.mrc"
    assert "densities" not in etcli("segment", bare, out).err
    assert "nothing stands out" in etcli("segment", "--method", "dense", "--min-size", 1, bare, out).err
    flat = volume(tmp_path / "flat.mrc", ball(20, 20, 32, 14) > 0.5)
    assert "has one density" in failure("segment", "--method", "dense", flat, out)


def test_masks_go_in_and_out(bodies: Path, tmp_path: Path) -> None:
    left = volume(tmp_path / "left.mrc", X < 21)
    out, mask = tmp_path / "labels.mrc", tmp_path / "mask.mrc"
    etcli("segment", "--mask", left, "--mask-out", mask, "--grow", "2px", bodies, out)
    labels, grown = read(out), read(mask)
    assert not labels[:, :, 21:].any()
    assert grown.dtype == np.int8
    assert set(np.unique(grown)) == {0, 1}
    assert (grown[labels > 0] == 1).all()
    across = grown[20, 20].sum() - (labels[20, 20] > 0).sum()
    assert across == 4
    assert "is empty" in failure("segment", "--mask", volume(tmp_path / "0.mrc", 0 * X), bodies, out)
    small = volume(tmp_path / "small.mrc", np.ones((4, 5, 6)))
    message = failure("segment", "--mask", small, bodies, out)
    assert "small.mrc: 6 x 5 x 4 voxels, but" in message
    assert "bodies.mrc has 64 x 40 x 40" in message
    other = volume(tmp_path / "other.mrc", X < 21, pixel_A=20)
    message = failure("segment", "--mask", other, bodies, out)
    assert "other.mrc: voxels of 20 Å, but those of" in message
    assert "bodies.mrc are 10 Å" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "li"), "no method named 'li'"),
        (("--method", "hysteresis:0.6,0.3"), "the first level must be below the second"),
        (("--method", "hysteresis:0.6"), "is not hysteresis:LOW,HIGH"),
        (("--method", "twin"), "give them with --series"),
        (("--method", "nan"), "is not a number"),
        (("--invert", "--fill-holes"), "would fill the specimen"),
        (("--invert", "--method", "dense"), "leave one out"),
        (("--plot", "labels.txt"), "cannot tell the format"),
        (("--memory", "1M"), "memory"),
    ],
)
def test_requests_that_cannot_be_met_are_one_line(
    bodies: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "labels.mrc"
    assert message in failure("segment", *options, bodies, out, status=2)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "9"), "nothing exceeds the threshold"),
        (("--method", "-9"), "everything exceeds the threshold"),
        (("--min-size", "2500"), "no piece has 2500 voxels (of 3)"),
        (("--min-size", "99999"), "no piece has 99999 voxels (of 2)"),
    ],
)
def test_thresholds_without_labels_are_one_line(
    bodies: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert f"bodies.mrc: {message}" in failure("segment", *options, bodies, tmp_path / "l.mrc")


def test_volumes_that_cannot_be_segmented_are_one_line(tmp_path: Path) -> None:
    out = tmp_path / "labels.mrc"
    constant = volume(tmp_path / "constant.mrc", 3 + 0 * X)
    assert "constant.mrc: all voxels have the value 3" in failure("segment", constant, out)
    damaged = ball(20, 20, 30, 9)
    damaged[7, 3, 3] = np.nan
    with pytest.warns(RuntimeWarning, match="NaN"):
        holed = volume(tmp_path / "nan.mrc", damaged)
    assert "NaN or infinite values in section 8" in failure("segment", holed, out)


def test_a_volume_without_a_pixel_size_is_labelled_in_voxels(tmp_path: Path) -> None:
    unknown = volume(tmp_path / "unknown.mrc", ball(20, 20, 30, 9), pixel_A=0)
    numbers = json.loads(etcli("segment", "--json", unknown, tmp_path / "labels.mrc").out)
    assert (numbers["volume_nm3"], numbers["pixel_A"], numbers["n_labels"]) == (None, None, 1)
    assert "pixel size of the input is not known" in failure(
        "segment", "--split", "1nm", unknown, tmp_path / "l.mrc", status=2
    )


def test_labels_keep_the_frame_and_the_picture_is_drawn(tmp_path: Path) -> None:
    body = library.Volume(ball(20, 20, 30, 9), pixel_A=5.0)
    tilt_deg = np.arange(-60, 61, 10)
    library.write(library.project(body, tilt_deg), tmp_path / "views.mrc")
    etcli("recon", "--nonnegative", "--thickness", "40px", tmp_path / "views.mrc", tmp_path / "rec.mrc")
    out, picture = tmp_path / "labels.mrc", tmp_path / "labels.png"
    etcli("segment", "--plot", picture, tmp_path / "rec.mrc", out)
    before, after = (library.read(tmp_path / name, kind="volume") for name in ("rec.mrc", "labels.mrc"))
    assert after.frame == before.frame
    assert after.origin_A == before.origin_A
    assert picture.stat().st_size > 10000


def test_a_twin_corrects_the_threshold_of_a_blurred_volume(tmp_path: Path) -> None:
    body = library.Volume(ball(20, 20, 30, 12) - ball(20, 20, 34, 6), pixel_A=10.0)
    series = library.project(body, np.arange(-70, 71, 4))
    noisy = series.images() + np.random.default_rng(1).normal(0, 0.3, series.shape).astype(np.float32)
    library.write(library.TiltSeries.of(noisy, series.tilt_deg, pixel_A=10.0), tmp_path / "views.mrc")
    volume = tmp_path / "rec.mrc"
    options = ("--iterations", "20", "--nonnegative", "--thickness", "40px", "--background", "none")
    etcli("recon", "--half-sets", *options, tmp_path / "views.mrc", volume)
    true = 4 / 3 * np.pi * (12**3 - 6**3)
    common = ("segment", "--split", "none", "--json")
    otsu = json.loads(etcli(*common, "--method", "otsu", "--global", volume, tmp_path / "o.mrc").out)
    run = etcli(*common, "--series", tmp_path / "views.mrc", volume, tmp_path / "t.mrc")
    twin = json.loads(run.out)
    assert twin["method"] == "twin"
    assert "pass 2 of 2: density 1.0" in run.err or "pass 2 of 2: density 0.9" in run.err
    assert abs(twin["volume_px"] / true - 1) < 0.02
    assert abs(otsu["volume_px"] / true - 1) > 0.03
    again = etcli(*common, "--series", tmp_path / "views.mrc", volume, tmp_path / "again.mrc")
    assert json.loads(again.out) == twin
    other = library.project(
        library.Volume(ball(20, 8, 50, 7) + ball(30, 30, 12, 6), pixel_A=10.0), series.tilt_deg
    )
    library.write(other, tmp_path / "other.mrc")
    run = etcli("segment", "--series", tmp_path / "other.mrc", volume, tmp_path / "x.mrc", status=1)
    assert "do not resemble the views (correlation" in run.err
    narrow = library.TiltSeries.of(noisy[:, :, 4:-4], series.tilt_deg, pixel_A=10.0)
    library.write(narrow, tmp_path / "narrow.mrc")
    run = etcli("segment", "--series", tmp_path / "narrow.mrc", volume, tmp_path / "x.mrc", status=1)
    assert "give the whole series it was reconstructed from" in run.err


def test_a_twin_needs_the_history_of_the_volume_and_its_whole_series(bodies: Path, tmp_path: Path) -> None:
    series = library.project(library.Volume(read(bodies), pixel_A=10.0), [-40, 0, 40])
    library.write(series, tmp_path / "views.mrc")
    out = tmp_path / "labels.mrc"
    assert "its history does not tell how it was reconstructed" in failure(
        "segment", "--series", tmp_path / "views.mrc", bodies, out, status=2
    )
    assert "--series is for --method twin, not for otsu" in failure(
        "segment", "--method", "otsu", "--series", tmp_path / "views.mrc", bodies, out, status=2
    )


def test_it_is_a_function_of_python() -> None:
    body = library.Volume(ball(20, 20, 30, 12), pixel_A=10.0)
    found = library.segment(body, 0.5, mask=np.ones(body.shape), split="none")
    assert (found.rule, found.thresholds, found.levels) == ("value", (0.5,), None)
    assert found.labels.pixel_A == 10
    assert global_threshold_of(found.labels.history) == 0.5
    with pytest.raises(library.UsageError, match="give a function rebuild"):
        library.segment(body, series=library.project(body, [-40, 0, 40]))
