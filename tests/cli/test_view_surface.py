"""``etcli view --surface``: pictures and movies of surfaces."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from tests.files import etcli, failure
from tests.surfaces import ball


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Return the file of two labels, side by side along x."""
    values = np.zeros((16, 16, 32), np.uint16)
    values[:, :, :16] = ball(5, 16, 0) > 0.5
    values[:, :, 16:] = 2 * (ball(5, 16, 0) > 0.5)
    path = tmp_path / "labels.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(values)
        mrc.voxel_size = 20
        mrc.set_volume()
    return path


def colours(picture: np.ndarray) -> int:
    """Return how many hues a picture has, in steps of 30°."""
    high, low = picture.max(axis=2).astype(int), picture.min(axis=2).astype(int)
    coloured = (high - low > 40) & (high < 250)
    hue = np.asarray(Image.fromarray(picture).convert("HSV"))[..., 0][coloured]
    return int((np.bincount(hue // 21, minlength=13) > 30).sum())


def test_labels_have_colours(labels: Path) -> None:
    """Two hues, on white, with the size that was asked for."""
    etcli("view", "-q", "--surface", "--size", "80,60", "--dpi", 100, labels, labels.with_name("a.png"))
    picture = np.asarray(Image.open(labels.with_name("a.png")).convert("RGB"))
    assert picture.shape == (236, 315, 3)
    assert (picture[0] == 255).all()
    assert colours(picture) >= 2
    etcli("view", "-q", "--surface", "--level", 0.5, labels, labels.with_name("b.png"))
    assert colours(np.asarray(Image.open(labels.with_name("b.png")).convert("RGB"))) == 1


def test_surface_turns_about_the_tilt_axis(labels: Path) -> None:
    """After a quarter turn one ball hides the other; after half a turn they have changed places."""
    etcli("view", "-q", "--surface", "--step", 90, labels, labels.with_name("a.gif"))
    with Image.open(labels.with_name("a.gif")) as movie:
        assert movie.n_frames == 4
        frames = []
        for k in range(4):
            movie.seek(k)
            frames.append(np.asarray(movie.convert("RGB")).astype(int))
    middle = slice(frames[0].shape[0] // 3, 2 * frames[0].shape[0] // 3)
    covered = [(frame[middle].min(axis=2) < 235).any(axis=0).sum() for frame in frames]
    assert covered[1] < 0.6 * covered[0]
    left, right = (
        frame[middle, : frame.shape[1] // 2 - 60][frame[middle, : frame.shape[1] // 2 - 60].min(axis=2) < 200]
        for frame in (frames[0], frames[2])
    )
    assert np.abs(left.mean(axis=0) - right.mean(axis=0)).max() > 25


def test_options_that_contradict_each_other(labels: Path, tmp_path: Path) -> None:
    """One line each."""
    out = tmp_path / "b.png"
    assert "give one of" in failure("view", "--surface", "--maximum", labels, out, status=2)
    assert "give --surface as well" in failure("view", "--level", 1, labels, out, status=2)
    assert "a surface has no grey values" in failure(
        "view", "--surface", "--cmap", "viridis", labels, out, status=2
    )
    assert "nothing is brighter than 9" in failure("view", "--surface", "--level", 9, labels, out, status=2)
    (tmp_path / "a.xyz").write_text("1\n\nAu 0 0 0\n")
    assert "not for atoms" in failure("view", "--surface", tmp_path / "a.xyz", out, status=2)
