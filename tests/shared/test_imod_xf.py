"""IMOD's own programs read, multiply, invert and apply transforms as we do."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.core.registration.transforms import Transforms, compose, resample_stack
from etcli.io.transforms import read_xf, write_xf
from tests.files import etcli
from tests.imod import imod

N_VIEWS = 4


def _transforms(seed: int) -> Transforms:
    rng = np.random.default_rng(seed)
    matrix = np.eye(2) + rng.uniform(-0.2, 0.2, (N_VIEWS, 2, 2))
    turned = Transforms.rotation(rng.uniform(-40, 40), N_VIEWS).matrix @ matrix
    return Transforms(turned.round(7), rng.uniform(-6, 6, (N_VIEWS, 2)).round(3))


def _assert_equal_as_written(mine: Transforms, imods: Transforms) -> None:
    np.testing.assert_allclose(mine.matrix, imods.matrix, atol=2e-6)
    np.testing.assert_allclose(mine.shift_px, imods.shift_px, atol=1.1e-3)


def _blobs(view: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Random Gaussians, 3 to 5 pixels wide, at points (x, y) from the centre of a view."""
    rng = np.random.default_rng(view)
    values = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for _ in range(12):
        height, sigma, blob_x, blob_y = rng.uniform([20, 3, -40, -40], [100, 5, 40, 40])
        values += height * np.exp(-((y - blob_y) ** 2 + (x - blob_x) ** 2) / (2 * sigma**2))
    return values


def _points(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (x, y) from the centre of an image."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return x - (shape[1] - 1) / 2, y - (shape[0] - 1) / 2


def test_xfproduct_is_compose(tmp_path: Path) -> None:
    first, then = _transforms(1), _transforms(2)
    write_xf(tmp_path / "a.xf", first)
    write_xf(tmp_path / "b.xf", then)
    imod("xfproduct", tmp_path / "a.xf", tmp_path / "b.xf", tmp_path / "ab.xf")
    _assert_equal_as_written(compose(first, then), read_xf(tmp_path / "ab.xf"))


def test_xfinverse_is_inverse(tmp_path: Path) -> None:
    transforms = _transforms(3)
    write_xf(tmp_path / "a.xf", transforms)
    imod("xfinverse", answers=f"{tmp_path / 'a.xf'}\n{tmp_path / 'inverse.xf'}\n1\n")
    _assert_equal_as_written(transforms.inverse(), read_xf(tmp_path / "inverse.xf"))


# IMOD's cubic is a local one of four points a row, off by up to f''/8 halfway between pixels; linear has one
# meaning. Half a pixel off would be a difference of 10 to 20.
@pytest.mark.parametrize(
    ("method", "option", "tolerance"), [("cubic", (), 4.0), ("linear", ("-linear",), 1e-3)]
)
@pytest.mark.parametrize(("shape", "shape_out"), [((90, 101), (90, 101)), ((91, 80), (101, 90))])
def test_newstack_moves_images_alike(tmp_path: Path, method, option, tolerance, shape, shape_out) -> None:
    views = np.array([_blobs(view, *_points(shape)) for view in range(N_VIEWS)], np.float32)
    transforms = _transforms(4)
    with mrcfile.new(tmp_path / "in.mrc", views) as mrc:
        mrc.set_image_stack()
    write_xf(tmp_path / "a.xf", transforms)
    size = f"{shape_out[1]},{shape_out[0]}"
    files = tmp_path / "in.mrc", tmp_path / "out.mrc"
    imod("newstack", "-xform", tmp_path / "a.xf", *option, "-size", size, *files)
    imods = mrcfile.read(tmp_path / "out.mrc")
    mine = np.array(list(resample_stack(views, transforms, shape=shape_out, method=method)))

    points = np.stack(_points(shape_out), axis=-1)
    back = transforms.inverse()
    for view in range(N_VIEWS):
        x, y = np.moveaxis(points @ back.matrix[view].T + back.shift_px[view], -1, 0)
        inside = (abs(x) < shape[1] / 2 - 4) & (abs(y) < shape[0] / 2 - 4)
        assert inside.sum() > 2000
        assert abs(mine[view] - imods[view])[inside].max() < tolerance
        if method == "cubic":
            assert abs(mine[view] - _blobs(view, x, y))[inside].max() < 0.05


def test_imod_reads_what_register_writes(tmp_path: Path) -> None:
    """The file holds nothing but six numbers a line; the tilt axis stands in another one."""
    series, xf = tmp_path / "series.mrc", tmp_path / "r.xf"
    etcli("simulate", "particle", "--size", 32, "--range", -60, 60, 10, "--drift", "2px", series)
    etcli("register", "--write-xf", xf, series, tmp_path / "registered.mrc")
    assert "\naxis " in (tmp_path / "r.xf.axis").read_text()
    imod("xfproduct", xf, xf, tmp_path / "twice.xf")
    _assert_equal_as_written(compose(read_xf(xf), read_xf(xf)), read_xf(tmp_path / "twice.xf"))
