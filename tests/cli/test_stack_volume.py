"""``etcli stack`` of a volume: it stays a volume, with its frame, whatever is cut off."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.io.image_file import open_images
from tests.files import etcli, failure, images, write_series


@pytest.fixture
def volume(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "s.mrc", images(4, 24, 20), axis_deg=0)
    etcli("-q", "recon", "--iterations", 1, "--thickness", "12px", "--x-tilt", 2, "s.mrc", "v.mrc")
    return tmp_path / "v.mrc"


@pytest.mark.parametrize("ending", ["mrc", "tif"])
def test_the_place_of_each_voxel_is_kept(volume, ending) -> None:
    """An atom found in the part has the same position from the rotation centre as in the whole volume."""
    etcli("stack", "--views", "3-9", "--crop", "5-14,7-20", "v.mrc", f"w.{ending}")
    whole, part = open_images("v.mrc").volume(), open_images(f"w.{ending}").volume()
    assert open_images(f"w.{ending}").is_volume
    np.testing.assert_array_equal(part.images(), whole.images()[2:9, 6:20, 4:14])
    assert part.frame == whole.frame and part.frame.x_tilt_deg == 2
    place = np.array(part.origin_A) - whole.origin_A
    np.testing.assert_allclose(place, np.array([4, 6, 2]) * 2.5, rtol=1e-6)
    if ending == "mrc":
        with mrcfile.open("w.mrc") as file:
            assert file.is_volume()
    assert "a volume, which has no tilt angles" in failure("recon", f"w.{ending}", "x.mrc")


def test_nothing_but_the_mode_changes_a_whole_volume(volume) -> None:
    etcli("stack", "--mode", 12, "v.mrc", "w.mrc")
    whole, copy = open_images("v.mrc").volume(), open_images("w.mrc").volume()
    assert (copy.frame, copy.origin_A, copy.pixel_A) == (whole.frame, whole.origin_A, whole.pixel_A)
    assert copy.data.dtype == np.float16
    assert (
        json.loads(etcli("info", "--json", "w.mrc").out)["history"][-1]
        == "etcli stack 0.1: sections 1-12 of 12"
    )


def test_volumes_go_through_pipes(volume) -> None:
    stream = etcli("stack", "--views", "2-4", "v.mrc", "-")
    etcli("stack", "-", "w.mrc", stdin=stream.raw)
    assert open_images("w.mrc").volume().frame == open_images("v.mrc").volume().frame


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--views", "1,3"), "sections kept of a volume must follow each other"),
        (("--views", "4-2"), "sections kept of a volume must follow each other"),
        (("--exclude", "5"), "sections kept of a volume must follow each other"),
        (("--sort", "tilt"), "--sort and --frames are for tilt series"),
        (("--frames", "sum"), "--sort and --frames are for tilt series"),
        (("s.mrc",), "v.mrc: is a volume, which goes alone"),
        (("--crop", "1-21,1-24"), "--crop reaches beyond the image of 20 x 24"),
    ],
)
def test_what_is_no_part_of_a_volume_is_refused(volume, options, message) -> None:
    assert message in failure("stack", *options, "v.mrc", "w.mrc", status=2)
