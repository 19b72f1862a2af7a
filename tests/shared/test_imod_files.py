"""IMOD's programs read what we write, and do to images what our commands do."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.io.mrc import open_mrc
from tests.files import TILT_DEG, etcli, images, write_series
from tests.imod import imod


def numbers(path: Path, field: str) -> list[float]:
    """Return the numbers in a line of IMOD's header."""
    (line,) = (line for line in imod("header", path).splitlines() if field in line)
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", line.rpartition("..")[2])]


@pytest.mark.parametrize("mode", [0, 1, 2, 6])
def test_header_reads_our_series(tmp_path, mode) -> None:
    data, ours = images() // 8, tmp_path / "b.mrc"
    write_series(tmp_path / "a.mrc", data)
    etcli("stack", "--mode", mode, "--crop", "3-8,2-12", tmp_path / "a.mrc", ours)
    assert numbers(ours, "Number of columns") == [6, 11, 4]
    assert numbers(ours, "Map mode")[0] == mode
    assert numbers(ours, "Pixel spacing") == [2.5, 2.5, 2.5]
    assert numbers(ours, "Cell angles") == [90, 90, 90]
    assert numbers(ours, "Origin on x,y,z") == [-5, -2.5, 0]  # IMOD's has the other sign
    level = 128 if mode == 0 else 0  # IMOD shows signed bytes as 0 to 255
    cut = data[:, 1:12, 2:8] + level
    assert numbers(ours, "Minimum density")[0] == cut.min()
    assert numbers(ours, "Maximum density")[0] == cut.max()
    assert numbers(ours, "Mean density")[0] == pytest.approx(cut.mean(dtype=np.float64), rel=1e-4)
    assert "\netcli stack 0.1: 4 views of 1 file, cropped to 3-8,2-12" in imod("header", ours)


@pytest.mark.parametrize("option", [(), ("-mdoc",)])
def test_extracttilts_finds_our_angles(tmp_path, option) -> None:
    """In the extended header, and in the mdoc."""
    write_series(tmp_path / "a.mrc")
    etcli("stack", "--views", "4,1,3", tmp_path / "a.mrc", tmp_path / "b.mrc")
    imod("extracttilts", *option, tmp_path / "b.mrc", tmp_path / "b.rawtlt")
    found = np.loadtxt(tmp_path / "b.rawtlt")
    np.testing.assert_allclose(found, [TILT_DEG[3], TILT_DEG[0], TILT_DEG[2]], atol=0.005)


def test_newstack_bins_alike(tmp_path) -> None:
    """IMOD adds a pixel where the size would turn from even to odd."""
    source = write_series(tmp_path / "a.mrc", images(3, 24, 32), (-3, 0, 3))
    etcli("bin", "-b", 2, source, tmp_path / "ours.mrc")
    imod("newstack", "-bin", 2, "-float", 0, source, tmp_path / "imods.mrc")
    theirs = mrcfile.read(tmp_path / "imods.mrc")
    np.testing.assert_allclose(mrcfile.read(tmp_path / "ours.mrc"), theirs, rtol=1e-6)
    for field in ("Number of columns", "Pixel spacing", "Maximum density"):
        ours, imods = (numbers(tmp_path / f"{name}.mrc", field) for name in ("ours", "imods"))
        assert ours[:2] == imods[:2]


def smooth(n: int, ny: int, nx: int) -> np.ndarray:
    """Return images of a few broad spots, 0 to about 100."""
    rng, (y, x) = np.random.default_rng(4), np.mgrid[:ny, :nx]
    views = np.zeros((n, ny, nx), np.float32)
    for view in views:
        for _ in range(9):
            at_y, at_x, sigma = rng.uniform([10, 10, 5], [ny - 10, nx - 10, 7])
            view += 50 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma**2))
    return views


def change_of_half_a_pixel(views: np.ndarray) -> float:
    return float(np.abs(np.diff(views)).max() / 2)


@pytest.mark.parametrize("shape", [(70, 81), (64, 60)])
def test_newstack_transforms_alike(tmp_path, shape) -> None:
    """Up to interpolation: IMOD's cubic is a local one."""
    source = write_series(tmp_path / "a.mrc", smooth(4, *shape))
    transforms = tmp_path / "a.xf"
    turned = "0.9848078 -0.1736482 0.1736482 0.9848078 1.25 0.5"
    transforms.write_text(f"1 0 0 1 3 -2\n{turned}\n1.02 0.01 0 0.99 -2.4 3.3\n0 1 -1 0 0 2\n")
    etcli("xform", "--xf", transforms, source, tmp_path / "ours.mrc")
    imod("newstack", "-xform", transforms, source, tmp_path / "imods.mrc")
    difference = np.abs(mrcfile.read(tmp_path / "ours.mrc") - mrcfile.read(tmp_path / "imods.mrc"))
    inside = difference[:, 18:-18, 18:-18]
    assert inside.max() < 0.3 * change_of_half_a_pixel(smooth(4, *shape))
    assert inside[0].max() < 1e-3  # whole pixels
    if sum(shape) % 2 == 0:
        assert inside[3].max() < 1e-3  # a quarter turn about a pixel or a corner


def test_transforms_of_binned_images_are_rescaled(tmp_path) -> None:
    """IMOD has no such option: the same file with shifts in our pixels."""
    source = write_series(tmp_path / "a.mrc", smooth(1, 70, 80), [0])
    turned = "0.9848078 -0.1736482 0.1736482 0.9848078"
    (tmp_path / "binned.xf").write_text(f"{turned} 1.5 -2.25\n")
    (tmp_path / "a.xf").write_text(f"{turned} 6.0 -9.0\n")
    etcli("xform", "--xf-pixel", "1nm", "--xf", tmp_path / "binned.xf", source, tmp_path / "ours.mrc")
    imod("newstack", "-xform", tmp_path / "a.xf", source, tmp_path / "imods.mrc")
    difference = np.abs(open_mrc(tmp_path / "ours.mrc")[1] - open_mrc(tmp_path / "imods.mrc")[1])
    assert difference[:, 25:-25, 25:-25].max() < 0.3 * change_of_half_a_pixel(smooth(1, 70, 80))


@pytest.mark.parametrize("mode", [0, 1, 2, 6])
def test_we_read_what_newstack_writes(tmp_path, mode) -> None:
    """Signed bytes, an origin of IMOD's sign, and rms never computed."""
    source = write_series(tmp_path / "a.mrc", images() // 8)
    imod("newstack", "-mode", mode, "-origin", "-size", "6,8", "-offset", "1,2", source, tmp_path / "b.mrc")
    header, data = open_mrc(tmp_path / "b.mrc")
    assert (header.mode, header.pixel_A, header.warnings) == (mode, (2.5, 2.5, 2.5), ())
    assert header.origin_A == (7.5, 10, 0)
    np.testing.assert_array_equal(data.astype(int) + (128 if mode == 0 else 0), images()[:, 4:12, 3:9] // 8)
