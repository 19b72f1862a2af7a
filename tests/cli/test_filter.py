"""``etcli filter``: each method reaches its filter with the settings of the command line."""

import json

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from etcli.core.filters import (
    METHODS,
    bandpass,
    despike,
    median_sobel,
    nonlocal_means,
    total_variation,
)
from tests.files import etcli, failure, images, mrc_bytes, write_series


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc", images(4, 20, 24))


def filtered(source, *options) -> np.ndarray:
    target = source.with_name("b.mrc")
    etcli("filter", *options, source, target)
    return mrcfile.read(target)


def per_view(data: np.ndarray, function) -> np.ndarray:
    return np.array([function(view) for view in data], np.float32)


@pytest.mark.parametrize(
    ("options", "function"),
    [
        ((), lambda view: ndimage.median_filter(view, 3)),
        (("--method", "median", "--size", "5"), lambda view: ndimage.median_filter(view, 5)),
        (("--size", "1.25nm"), lambda view: ndimage.median_filter(view, 5)),
        (("--method", "gaussian"), lambda view: ndimage.gaussian_filter(view, 1)),
        (("--method", "gaussian", "--sigma", "1.5"), lambda view: ndimage.gaussian_filter(view, 1.5)),
        (("--method", "gaussian", "--sigma", "5A"), lambda view: ndimage.gaussian_filter(view, 2)),
        (("--method", "median-sobel", "--size", "5"), lambda view: median_sobel(view, size=5)),
        (("--method", "despike", "--size", "5"), lambda view: despike(view, size=5)),
        (
            ("--method", "despike", "--threshold", "2.5"),
            lambda view: despike(view, threshold=2.5),
        ),
        (("--method", "tv", "--weight", "40"), lambda view: total_variation(view, weight=40)),
        (("--method", "nlm", "--weight", "90"), lambda view: nonlocal_means(view, weight=90)),
        (("--method", "bandpass", "--low", "12"), lambda view: bandpass(view, low_px=12)),
        (("--method", "bandpass", "--high", "1nm"), lambda view: bandpass(view, high_px=4)),
        (
            ("--method", "bandpass", "--low", "30A", "--high", "3px"),
            lambda view: bandpass(view, low_px=12, high_px=3),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_reach_the_filter(series, options, function) -> None:
    expected = per_view(images(4, 20, 24), function)
    np.testing.assert_allclose(filtered(series, *options), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "bandpass"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_method_works_on_images_and_volumes(tmp_path, method, dims) -> None:
    data = images(6, 12, 10)
    write_series(tmp_path / "a.mrc", data, range(6))
    found = filtered(tmp_path / "a.mrc", "--method", method, "--dims", dims)
    function = METHODS[method]
    np.testing.assert_array_equal(found, function(data) if dims == 3 else per_view(data, function))


def test_a_volume_stays_a_volume_in_the_mode_asked_for(tmp_path) -> None:
    data = images(5, 12, 10)
    more = {"pixel_A": 2.0, "origin": (10, 20, 30), "labels": ["first"]}
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(data.astype("<i2"), (10, 12, 5), 1, **more))
    etcli("filter", "--dims", 3, "--mode", 1, tmp_path / "a.mrc", tmp_path / "b.mrc")
    with mrcfile.open(tmp_path / "b.mrc") as mrc:
        assert mrc.is_volume()
        assert mrc.data.dtype == np.int16
        assert (mrc.voxel_size.item(), mrc.header.origin.item()) == ((2, 2, 2), (10, 20, 30))
        np.testing.assert_array_equal(mrc.data, ndimage.median_filter(data, 3))
        labels = [bytes(label).decode().rstrip() for label in mrc.header.label[:2]]
    assert labels == ["first", "etcli filter 0.1: median in 3-D, size 3 px"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "5"), "median in 2-D, size 5 px"),
        (("--method", "gaussian", "--sigma", "5A"), "gaussian in 2-D, sigma 2 px"),
        (("--method", "bandpass", "--high", "3"), "bandpass in 2-D, high 3 px"),
        (("--method", "sobel"), "sobel in 2-D"),
        (("--method", "despike", "--threshold", "6.5"), "despike in 2-D, size 3 px, threshold 6.5"),
        (("--method", "tv", "--weight", "40"), "tv in 2-D, weight 40"),
        (("--method", "tv"), "tv in 2-D"),
    ],
)
def test_the_history_tells_the_settings(series, options, said) -> None:
    filtered(series, *options)
    facts = json.loads(etcli("info", "--json", series.with_name("b.mrc")).out)
    assert facts["history"] == [f"etcli filter 0.1: {said}"]
    assert (facts["pixel_A"], facts["axis_deg"]) == (2.5, 85.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "4"), "a kernel of 4 pixels has no centre"),
        (("--size", "3.4px"), "--size is 3.4 pixels; give a whole and odd number of them"),
        (("--size", "8A"), "--size is 3.2 pixels"),
        (("--sigma", "9"), "--sigma is for --method gaussian, not for median"),
        (("--low", "40px"), "--low is for --method bandpass, not for median"),
        (("--method", "tv", "--size", "3"), "--size is for --method median, median-sobel or despike"),
        (("--method", "sobel", "--weight", "3"), "--weight is for --method tv or nlm, not for sobel"),
        (("--method", "median", "--threshold", "3"), "--threshold is for --method despike"),
        (("--method", "tv", "--weight", "0"), "--weight"),
        (
            ("--method", "gaussian", "--sigma", "wide"),
            "'wide' is not a length; write a number, or one with px, A, nm or um",
        ),
        (("--method", "gaussian", "--sigma", "0"), "must be a positive number"),
        (("--method", "bandpass"), "a band-pass needs"),
        (("--method", "bandpass", "--low", "3", "--high", "9"), "swap the two"),
        (("--method", "wiener"), "'wiener' is not one of"),
    ],
)
def test_wrong_usage(series, options, message) -> None:
    assert message in failure("filter", *options, series, series.with_name("b.mrc"), status=2)
    assert not series.with_name("b.mrc").exists()


def test_lengths_need_pixels_of_known_size(tmp_path) -> None:
    (tmp_path / "a.mrc").write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=0))
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    line = failure("filter", "--method", "gaussian", "--sigma", "1nm", *files, status=2)
    assert "the pixel size of the input is not known; give lengths in px" in line
    etcli("filter", "--method", "gaussian", "--sigma", "2", *files)


def test_a_volume_beyond_the_memory_allowed_is_refused(tmp_path) -> None:
    data = images(8, 32, 32)
    write_series(tmp_path / "a.mrc", data, range(8))
    files = tmp_path / "a.mrc", tmp_path / "b.mrc"
    line = failure("filter", "--dims", 3, "--memory", "63K", *files, status=2)
    assert f"{files[0]}: the work takes 1M of memory, but only 0M are allowed; give a larger --memory" in line
    assert not files[1].exists()
    etcli("filter", "--dims", 3, "--memory", "64K", *files)  # the volume and its result
    etcli("filter", "--memory", "1K", *files)  # image by image
    failure("filter", "--dims", 3, "--method", "sobel", "--memory", "127K", *files, status=2)
    etcli("filter", "--dims", 3, "--method", "sobel", "--memory", "128K", *files)


def test_an_output_that_cannot_be_written_is_refused_before_the_work(series, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("etcli.core.filters.apply_filter", None)
    failure("filter", "--dims", 3, series, tmp_path / "absent" / "b.mrc")


@pytest.mark.parametrize("size", [1, 13])
def test_a_kernel_must_have_neighbours_within_the_image(tmp_path, size) -> None:
    write_series(tmp_path / "a.mrc")
    message = failure("filter", "--size", size, tmp_path / "a.mrc", tmp_path / "b.mrc", status=2)
    assert "no neighbourhood" in message
