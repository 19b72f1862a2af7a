"""``etcli segment`` on unusual volumes: densities, masks, axes, integers, offsets; and from Python."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import etcli as library
from etcli.core.segmentation.local_half import local_half
from tests.cli.test_segment import ball, read, volume, volumes_of
from tests.files import etcli, failure

BODY = ball(20, 20, 30, 12)


@pytest.mark.parametrize("method", [None, "edge"])
def test_light_bodies_beside_a_large_dense_one_are_measured(method: str | None) -> None:
    """Otsu's threshold lies above the light ones, and the threshold of the edges shrinks them."""
    light = [(8, 8), (8, 32), (32, 8), (32, 32)]
    data = ball(20, 20, 18, 15) + np.sum([ball(z, y, 52, 5, 0.45) for z, y in light], axis=0)
    found = library.segment(gaussian_filter(data, 0.7), method)
    assert found.levels is not None
    assert found.volume_px[1:] == pytest.approx(
        [4 / 3 * np.pi * 15**3] + 4 * [4 / 3 * np.pi * 5**3], rel=0.12
    )


def test_one_threshold_for_several_densities_is_warned_of(tmp_path: Path) -> None:
    path, out = volume(tmp_path / "v.mrc", BODY + ball(20, 20, 54, 8, 0.5)), tmp_path / "l.mrc"
    err = etcli("segment", "--global", path, out).err
    assert "contrast of the labels is from 0.5 to 1" in " ".join(err.split())
    assert "leave out --global" in err
    assert "contrast of the labels" not in etcli("segment", path, out).err
    assert "without --method" in etcli("segment", "--method", "0.3", path, out).err
    same = volume(tmp_path / "same.mrc", BODY + ball(20, 20, 54, 8))
    assert "contrast of the labels" not in etcli("segment", "--global", same, out).err


def test_a_mask_lies_where_it_lies_along_other_axes(tmp_path: Path) -> None:
    series = library.project(library.Volume(BODY + ball(20, 8, 52, 7), pixel_A=5.0), np.arange(-60, 61, 10))
    library.write(series, tmp_path / "views.mrc")
    for orient in ("imod", "etcli"):
        options = (
            "--nonnegative",
            "--thickness",
            "40px",
            *(("--orient", orient) if orient == "imod" else ()),
        )
        etcli("recon", *options, tmp_path / "views.mrc", tmp_path / f"{orient}.mrc")
    upright, turned = (library.read(tmp_path / f"{name}.mrc", kind="volume") for name in ("etcli", "imod"))
    assert upright.shape == turned.shape
    half = np.arange(64) < 40
    here = library.segment(upright, mask=np.broadcast_to(half, upright.shape))
    library.write(here, tmp_path / "labels.mrc")
    mask = library.read(tmp_path / "labels.mrc", kind="volume")
    there = library.segment(turned, 0.3, mask=mask, split="none")
    expected = library.segment(upright, 0.3, mask=mask, split="none")
    assert there.labels.frame == turned.frame
    assert (there.labels.upright().images() == expected.labels.images()).all()
    moved = library.read(tmp_path / "labels.mrc", kind="volume").images()[:, :, 4:]
    part = library.Volume(np.asarray(moved), pixel_A=5.0)
    with pytest.raises(library.DataError, match="60 x 40 x 40 voxels"):
        library.segment(upright, mask=part)


def test_a_mask_of_labels_does_not_move_the_threshold(tmp_path: Path) -> None:
    """In its own mask there is little background, so that Otsu's threshold would part the two densities."""
    path, out, mask = (tmp_path / name for name in ("v.mrc", "l.mrc", "m.mrc"))
    volume(path, BODY + ball(20, 20, 54, 8, 0.5))
    first = json.loads(etcli("segment", "--json", "--mask-out", mask, path, out).out)
    again = json.loads(etcli("segment", "--json", "--mask", mask, path, out).out)
    assert volumes_of(again) == pytest.approx(volumes_of(first), rel=0.01)
    assert len(volumes_of(first)) == 2
    half = volume(tmp_path / "half.mrc", np.where(np.arange(64) < 54, read(mask), 0))
    etcli("segment", "--mask", half, path, out)
    assert read(out)[:, :, 53].any()
    assert not read(out)[:, :, 54:].any()
    inside = json.loads(etcli("segment", "--json", "--method", "otsu", "--mask", mask, path, out).out)
    assert inside["thresholds"][0] > first["thresholds"][0]


@pytest.mark.parametrize(("offset", "factor"), [(60000, 10), (100, 0.001), (-7, 1e-4)])
def test_offset_and_scaled_volumes_have_the_same_labels(offset: float, factor: float) -> None:
    data = BODY + ball(20, 20, 54, 8, 0.5)
    found = library.segment((offset + factor * data).astype(np.float32))
    assert found.volume_px[1:] == pytest.approx(library.segment(data).volume_px[1:], rel=0.06)


def test_whole_numbers_are_segmented() -> None:
    data = (200 * BODY).astype(np.uint8)
    assert library.segment(data).volume_px[1] == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)


def test_labels_no_brighter_than_their_surroundings_vanish() -> None:
    first, second = BODY > 0.5, ball(20, 20, 56, 6) > 0.5
    data = (BODY - ball(20, 20, 56, 6)).astype(np.float32)
    labels, _ = local_half(data, (first + 2 * second).astype(np.int32))
    assert np.bincount(labels.ravel()).tolist()[1:] == [int(first.sum())]


def test_the_picture_of_a_binary_volume_needs_no_distributions(tmp_path: Path) -> None:
    path = volume(tmp_path / "v.mrc", BODY > 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        etcli("segment", "--plot", tmp_path / "l.png", path, tmp_path / "l.mrc")
        library.segment(path_data := (BODY > 0.5).astype(np.float32), "mixture")
    assert path_data.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--invert", "--method", "-9"), "nothing lies below the threshold; give a higher --method VALUE"),
        (("--invert", "--method", "9"), "everything lies below the threshold; give a lower --method VALUE"),
    ],
)
def test_thresholds_of_what_is_darker(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    path = volume(tmp_path / "v.mrc", BODY)
    assert message in failure("segment", *options, path, tmp_path / "l.mrc")


def test_options_of_the_mask_are_checked_before_the_work(tmp_path: Path) -> None:
    path, out = volume(tmp_path / "v.mrc", BODY), tmp_path / "l.mrc"
    assert "--grow is for the mask" in failure("segment", "--grow", "2px", path, out, status=2)
    message = failure("segment", "--mask-out", out, path, out, status=2)
    assert "is the file of the labels" in message
    assert not out.exists()


def test_arrays_and_results_go_from_function_to_function(tmp_path: Path) -> None:
    body = library.Volume(BODY, pixel_A=10.0)
    found = library.segment(body)
    measured = library.measure(body, found)
    assert measured.columns["volume_nm3"][0] == pytest.approx(found.volume_px[1], rel=0.03)
    assert library.segment(BODY).volume_px.tolist() == found.volume_px.tolist()
    library.write(found, tmp_path / "labels.mrc")
    assert library.read(tmp_path / "labels.mrc", kind="volume").images()[:].dtype == np.uint16
    with pytest.raises(library.UsageError, match="no option fill_hole; it has"):
        library.segment(BODY, fill_hole=True)
    with pytest.raises(library.UsageError, match="no method named True"):
        library.segment(BODY, True)
    with pytest.raises(library.UsageError, match="array of shape"):
        library.segment(BODY[0])


def test_a_network_that_is_cut_is_told(tmp_path: Path) -> None:
    """Rods that cross, thick at their crossings; balls that touch are no network."""
    z, y, x = np.mgrid[:40, :40, :64]
    bars = [abs(y - 8), abs(y - 20), abs(y - 32), abs(x - 12), abs(x - 32), abs(x - 52)]
    far = np.min([np.hypot(bar, z - 20) for bar in bars], axis=0)
    nodes = [np.sqrt((z - 20) ** 2 + (y - j) ** 2 + (x - i) ** 2) for j in (8, 20, 32) for i in (12, 32, 52)]
    far = np.minimum(far, np.min(nodes, axis=0) - 1.5)
    path, out = volume(tmp_path / "net.mrc", np.clip(4.5 - far, 0, 1)), tmp_path / "l.mrc"
    run = etcli("segment", "--json", path, out)
    assert "a network? --split none leaves it whole" in " ".join(run.err.split())
    assert json.loads(run.out)["n_labels"] > 4
    run = etcli("segment", "--json", "--split", "none", path, out)
    assert "network" not in run.err
    assert json.loads(run.out)["n_labels"] == 1
    row = np.sum([ball(20, 20, at, 6) for at in (8, 19.5, 31, 42.5, 54)], axis=0).clip(0, 1)
    assert "network" not in etcli("segment", volume(tmp_path / "row.mrc", row), out).err


def test_the_twin_is_smoothed_as_the_volume() -> None:
    """The twin is the body itself, so that the threshold keeps the volume that its edges give."""
    body = library.Volume(BODY, pixel_A=10.0)
    series = library.project(body, np.arange(-60, 61, 10))
    found = library.segment(body, series=series, rebuild=lambda _: body, smooth="2px")
    edge = library.segment(gaussian_filter(BODY, 2), "edge", one_threshold=True)
    assert found.volume_px[1] == pytest.approx(edge.volume_px[1], rel=0.02)


def test_bodies_too_light_for_the_threshold_of_a_large_one_are_told(tmp_path: Path) -> None:
    path, out = volume(tmp_path / "v.mrc", BODY + ball(20, 20, 54, 7, 0.36)), tmp_path / "l.mrc"
    run = etcli("segment", "--json", path, out)
    assert json.loads(run.out)["n_labels"] == 1
    assert "1 fainter body is not labelled" in " ".join(run.err.split())
    level = run.err.split("--method ")[1].split()[0]
    assert json.loads(etcli("segment", "--json", "--method", level, path, out).out)["n_labels"] == 2
    assert "fainter" not in etcli("segment", volume(tmp_path / "one.mrc", BODY), out).err
