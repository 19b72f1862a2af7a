"""stack --scale into bytes and shorts, against closed forms and IMOD's newstack."""

import mrcfile
import numpy as np
import pytest
import tifffile

from tests.files import etcli, failure, write_series, write_stack
from tests.imod import imod


@pytest.fixture
def views() -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.normal(0, 1, (4, 12, 10)) * [[[1]], [[2]], [[3]], [[1]]] + 5).astype(np.float32)


def stored(path) -> np.ndarray:
    with mrcfile.open(path) as mrc:
        return mrc.data.copy()


@pytest.mark.parametrize(
    ("mode", "kind", "lowest", "highest"), [(0, "i1", -128, 127), (1, "i2", 0, 32767), (6, "u2", 0, 65535)]
)
def test_values_fill_the_range_of_the_mode(tmp_path, views, mode, kind, lowest, highest) -> None:
    write_series(tmp_path / "a.mrc", views)
    run = etcli("stack", "--scale", "2,8", "--mode", mode, tmp_path / "a.mrc", tmp_path / "b.mrc")
    grey = lowest + np.clip((views - 2.0) / 6, 0, 1) * (highest - lowest)
    found = stored(tmp_path / "b.mrc")
    assert found.dtype == kind
    np.testing.assert_allclose(found, grey, atol=0.51)
    beyond = 100 * np.mean((views < 2 - 3 / (highest - lowest)) | (views > 8 + 3 / (highest - lowest)))
    assert (
        f"values from {views.min():.7g} to {views.max():.7g}: 2 to 8 scaled to {lowest} to {highest}"
        in run.err
    )
    assert f"; {beyond:.3g} % of the pixels lie beyond" in run.err
    assert "scaled to" in etcli("info", tmp_path / "b.mrc").out


def test_a_scale_that_most_values_miss_is_warned_of(tmp_path, views) -> None:
    write_series(tmp_path / "a.mrc", views)
    words = ("stack", "--mode", 0, "--overwrite", tmp_path / "a.mrc", tmp_path / "b.mrc")
    low, high = np.quantile(views, 0.45), views.max()
    assert "WARNING" not in etcli(*words, "--scale", f"{low},{high}").err
    assert "WARNING" in etcli(*words, "--scale", f"{np.quantile(views, 0.7)},{high}").err


def test_percentiles_are_those_of_what_is_written(tmp_path, views) -> None:
    """In bytes where no mode is given; the brightest view and rows are left out."""
    write_series(tmp_path / "a.mrc", views)
    cut = ["--exclude", 3, "--crop", "2-9,3-12", "--scale", "5%,95%"]
    etcli("stack", *cut, tmp_path / "a.mrc", tmp_path / "b.mrc")
    left = views[[0, 1, 3], 2:, 1:9]
    low, high = np.percentile(left, [5, 95], method="lower")
    expected = np.clip((left - low) / (high - low), 0, 1) * 255 - 128
    np.testing.assert_allclose(stored(tmp_path / "b.mrc"), expected, atol=0.51)


def test_a_tiff_has_unsigned_bytes(tmp_path, views) -> None:
    write_series(tmp_path / "a.mrc", views)
    etcli("stack", "--scale", "2,8", tmp_path / "a.mrc", tmp_path / "b.tif")
    found = tifffile.imread(tmp_path / "b.tif")
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, np.clip((views[:, ::-1] - 2) / 6, 0, 1) * 255, atol=0.51)


@pytest.mark.parametrize("mode", [0, 1, 6])
def test_mean_and_sd_are_those_of_newstack(tmp_path, views, mode) -> None:
    write_stack(tmp_path / "a.mrc", views)
    etcli("stack", "--scale", "mean-sd", "--mode", mode, tmp_path / "a.mrc", tmp_path / "b.mrc")
    imod("newstack", "-float", 2, "-mode", mode, tmp_path / "a.mrc", tmp_path / "c.mrc")
    difference = stored(tmp_path / "b.mrc").astype(int) - stored(tmp_path / "c.mrc")
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.02


def test_statistics_of_other_pixels_do_not_stay_in_the_mdoc(tmp_path, views) -> None:
    write_series(tmp_path / "a.mrc", views)
    mdoc = tmp_path / "a.mrc.mdoc"
    mdoc.write_text(mdoc.read_text().replace("Mark = m0", "MinMaxMean = 1 2 3"))
    etcli("stack", tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert "MinMaxMean" in (tmp_path / "b.mrc.mdoc").read_text()
    etcli("stack", "--scale", "2,8", tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert "MinMaxMean" not in (tmp_path / "b.mrc.mdoc").read_text()


def test_values_that_do_not_fit_are_told_with_those_of_all_views(tmp_path, views) -> None:
    """The first view alone has smaller ones, and a scale for it would fail at the next."""
    views[0] += 200
    views[3, 2, 1] = 1234.5
    views[1, 0, 0] = -77
    write_series(tmp_path / "a.mrc", views)
    error = failure("stack", "--mode", 0, tmp_path / "a.mrc", tmp_path / "b.mrc")
    assert error.endswith(
        "values from -77 to 1234.5 do not fit mode 0; choose another --mode, or --scale -77,1234.5"
    )
    assert not (tmp_path / "b.mrc").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scale", "5,1"], "the value for black must be below that for white"),
        (["--scale", "1,5", "--mode", 2], "--scale is for whole numbers; give --mode 0, 1 or 6, not 2"),
        (["--scale", "most"], "give two values 0,5, percentiles 1%,99%, or mean-sd"),
    ],
)
def test_other_scales_are_refused(tmp_path, views, options, message) -> None:
    write_series(tmp_path / "a.mrc", views)
    assert message in failure("stack", *options, tmp_path / "a.mrc", tmp_path / "b.mrc", status=2)
