"""``etcli bin``: fewer, larger pixels, and a header that says so."""

import json

import mrcfile
import numpy as np
import pytest

from etcli.core.binning import bin_image, bin_volume
from tests.files import TILT_DEG, etcli, failure, images, mrc_bytes, write_series, write_stack


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc")


def about(path) -> dict:
    return json.loads(etcli("info", "--json", path).out)


def test_means_of_two_by_two(series, tmp_path) -> None:
    run = etcli("bin", series, tmp_path / "b.mrc")
    assert (run.out, run.err) == ("", "")
    expected = images().reshape(4, 6, 2, 5, 2).mean(axis=(2, 4))
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, expected)
        assert mrc.voxel_size.x == mrc.voxel_size.y == 5
        assert (mrc.header.mz, mrc.header.ispg) == (1, 0)
        assert mrc.header.dmean == pytest.approx(expected.mean(dtype=np.float64), rel=1e-6)


def test_the_description_goes_with_it(series, tmp_path) -> None:
    etcli("bin", "-b", "2", series, tmp_path / "b.mrc")
    facts = about(tmp_path / "b.mrc")
    assert facts["size"] == [5, 6, 4]
    assert (facts["pixel_A"], facts["tilt_deg"], facts["axis_deg"]) == (5, list(TILT_DEG), 85.3)
    assert facts["dose_e_A2"] == [1, 1.1, 1.2, 1.3]
    assert facts["history"] == ["etcli bin 0.1: mean of 2 x 2"]
    assert facts["labels"][1:] == ["etcli bin 0.1: mean of 2 x 2"]
    mdoc = (tmp_path / "b.mrc.mdoc").read_text()
    for line in ("PixelSpacing = 5", "ImageFile = b.mrc", "ImageSize = 5 6", "DataMode = 2", "Mark = m3"):
        assert f"{line}\n" in mdoc
    assert "PixelSpacing = 2.5" not in mdoc


@pytest.mark.parametrize("factor", ["3", "2.5", "10"])
@pytest.mark.parametrize("method", ["mean", "sum", "fourier"])
def test_any_factor_and_method(series, tmp_path, factor, method) -> None:
    etcli("bin", "--factor", factor, "--method", method, series, tmp_path / "b.mrc")
    found = mrcfile.mmap(tmp_path / "b.mrc").data
    np.testing.assert_array_equal(found, bin_image(images(), float(factor), method=method))
    assert about(tmp_path / "b.mrc")["pixel_A"] == 2.5 * float(factor)


def test_a_single_image_can_be_binned(tmp_path) -> None:
    """Views are not binned, so there may be fewer than the factor."""
    write_series(tmp_path / "a.mrc", images(1), [3])
    etcli("bin", "-b", 4, tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert about(tmp_path / "b.mrc")["size"] == [2, 3, 1]


def test_a_volume(tmp_path) -> None:
    data = images(9, 8, 10)
    origin = {"pixel_A": 2.0, "origin": (10, 20, 30), "labels": ["first"]}
    (tmp_path / "v.mrc").write_bytes(mrc_bytes(data.astype("<f4"), (10, 8, 9), 2, **origin))
    etcli("bin", "--dims", 3, tmp_path / "v.mrc", tmp_path / "w.mrc")
    with mrcfile.open(tmp_path / "w.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, bin_volume(data, 2))
        assert mrc.is_volume()
        assert mrc.voxel_size.item() == (4, 4, 4)
        # of 9 sections one is left over, half on each side
        assert mrc.header.origin.item() == (10, 20, 31)
        labels = [bytes(label).decode().rstrip() for label in mrc.header.label[:2]]
    assert labels == ["first", "etcli bin 0.1: mean of 2 x 2 x 2"]
    assert "VolumeSize = 5 4 4\n" in (tmp_path / "w.mrc.mdoc").read_text()


@pytest.mark.parametrize(("mode", "kind"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
def test_every_mode(tmp_path, mode, kind) -> None:
    data = images() // 8
    write_series(tmp_path / "a.mrc", data)
    etcli("bin", "--mode", mode, tmp_path / "a.mrc", tmp_path / "b.mrc")
    expected = data.reshape(4, 6, 2, 5, 2).mean(axis=(2, 4))
    found = mrcfile.read(tmp_path / "b.mrc")
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.rint(expected) if mode in (0, 1, 6) else expected)


def test_sums_that_do_not_fit_are_an_error(series, tmp_path) -> None:
    line = failure("bin", "--method", "sum", "--mode", 0, series, tmp_path / "b.mrc")
    assert "do not fit mode 0; choose another --mode" in line


def test_the_same_input_gives_the_same_bytes(series, tmp_path) -> None:
    for threads in (1, 2):
        (tmp_path / f"{threads}").mkdir()
        etcli("bin", "-j", threads, series, tmp_path / f"{threads}" / "b.mrc")
    for name in ("b.mrc", "b.mrc.mdoc"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-b", "0.5"), "0.5 is not in the range x>=1"),
        (("-b", "two"), "'two' is not a valid float"),
        (("-b", "11"), "binning by 11 leaves nothing of 10 pixels"),
        (("--dims", "3", "-b", "5"), "binning by 5 leaves nothing of 4 pixels"),
        (("--dims", "4"), "'4' is not one of '2', '3'"),
        (("--mode", "3"), "'3' is not one of"),
        (("--method", "median"), "'median' is not one of"),
    ],
)
def test_wrong_usage(series, tmp_path, options, message) -> None:
    assert message in failure("bin", *options, series, tmp_path / "b.mrc", status=2)
    assert not (tmp_path / "b.mrc").exists()


def test_a_series_without_angles_can_be_binned(tmp_path) -> None:
    etcli("bin", write_stack(tmp_path / "a.mrc", images()), tmp_path / "b.mrc")
    assert about(tmp_path / "b.mrc")["tilt_deg"] is None
