"""``etcli view``: the right picture of the right numbers. What pictures look like is tested with them."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from etcli.plotting.slices import maximum_projection, montage, orthoslices, sinogram
from etcli.plotting.style import save
from tests.files import etcli, failure, images, write_series, write_stack

pytestmark = pytest.mark.usefixtures("coarse_pictures")

TILTS = (20.0, -40.0, 0.0, 61.25, -0.04)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "series.mrc", images(5, 24, 20), TILTS)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return write_stack(tmp_path / "volume.mrc", images(14, 18, 16))


def drawn(source: Path, *options: object) -> bytes:
    target = source.with_name("drawn.png")
    etcli("view", "-q", *options, source, target)
    return target.read_bytes()


def expected(figure: object, folder: Path) -> bytes:
    save(figure, folder / "expected.png")
    return (folder / "expected.png").read_bytes()


def test_a_series_is_a_montage_in_the_order_of_its_tilts(series: Path) -> None:
    labels = ["2: −40.0°", "5: 0.0°", "3: 0.0°", "1: 20.0°", "4: 61.2°"]
    data = mrcfile.read(series)
    whole = montage(data, indices=[1, 4, 2, 0, 3], labels=labels, pixel_A=2.5)
    assert drawn(series) == expected(whole, series.parent)
    chosen = montage(data, indices=[3, 0, 1], labels=["4: 61.2°", "1: 20.0°", "2: −40.0°"], pixel_A=2.5)
    assert drawn(series, "--views", "4,1-2") == expected(chosen, series.parent)


def test_a_long_series_is_thinned(tmp_path: Path) -> None:
    tilts = np.arange(45.0)
    source = write_series(tmp_path / "long.mrc", images(45, 12, 10), tuple(tilts))
    chosen = list(range(0, 45, 3))
    labels = [f"{k + 1}: {tilts[k]:.1f}°" for k in chosen]
    figure = montage(mrcfile.read(source), indices=chosen, labels=labels, pixel_A=2.5)
    assert drawn(source) == expected(figure, tmp_path)


def test_a_volume_is_three_slices(volume: Path) -> None:
    data = mrcfile.read(volume)
    assert (
        drawn(volume) == drawn(volume, "--slices") == expected(orthoslices(data, pixel_A=2.5), volume.parent)
    )
    at = expected(orthoslices(data, pixel_A=2.5, at=(13, 6, 1)), volume.parent)
    assert drawn(volume, "--at", 2, 7, 14) == drawn(volume, "--slices", "--at", 2, 7, 14) == at
    sections = montage(data, indices=[0, 4], labels=["1", "5"], pixel_A=2.5, cmap="viridis")
    assert drawn(volume, "--views", "1,5", "--cmap", "viridis") == expected(sections, volume.parent)


def test_maximum_and_sinogram(series: Path) -> None:
    data = mrcfile.read(series)
    assert drawn(series, "--maximum") == expected(maximum_projection(data, pixel_A=2.5), series.parent)
    figure = sinogram(data[:, 6], TILTS, title="row 7 of 24", pixel_A=2.5)
    assert drawn(series, "--sinogram", 7) == expected(figure, series.parent)
    np.savetxt(series.with_name("other.txt"), np.arange(5.0))
    figure = sinogram(data[:, 6], np.arange(5.0), title="row 7 of 24", pixel_A=2.5)
    options = ("--tilts", series.with_name("other.txt"), "--sinogram", 7)
    assert drawn(series, *options) == expected(figure, series.parent)


@pytest.mark.parametrize(
    ("name", "magic"),
    [("a.png", b"\x89PNG\r\n"), ("a.PDF", b"%PDF-"), ("a.svg", b"<?xml"), ("a.gif", b"GIF89a")],
)
def test_the_name_tells_the_format(series: Path, name: str, magic: bytes) -> None:
    target = series.with_name(name)
    etcli("view", series, target)
    first = target.read_bytes()
    assert first.startswith(magic)
    etcli("view", series, target)
    assert target.read_bytes() == first


def test_a_movie_shows_every_view_in_the_order_of_tilt(tmp_path: Path) -> None:
    brightness = np.float32([60, 0, 20, 100, 40])
    tilts = (10.0, -50.0, -20.0, 40.0, 0.0)
    views = np.zeros((5, 16, 24), np.float32) + brightness[:, None, None]
    source = write_series(tmp_path / "s.mrc", views, tilts)
    etcli("view", "--fps", 4, source, tmp_path / "s.gif")
    with Image.open(tmp_path / "s.gif") as movie:
        assert movie.n_frames == 5 and movie.info["duration"] == 250
        seen = []
        for frame in range(5):
            movie.seek(frame)
            seen.append(int(np.asarray(movie.convert("L")).mean()))
    assert seen == [0, 51, 102, 153, 255]
    etcli("view", "--views", "4,1", source, tmp_path / "s.gif")
    with Image.open(tmp_path / "s.gif") as movie:
        assert movie.n_frames == 2


def test_a_volume_turns_in_a_movie(volume: Path) -> None:
    data = np.zeros((15, 18, 16), np.float32)
    data[12, 3, 13] = 1.0  # to the right, above the middle, seen from above at first
    write_stack(volume.with_name("v.mrc"), data)
    etcli("view", volume.with_name("v.mrc"), volume.with_name("v.gif"))
    with Image.open(volume.with_name("v.gif")) as movie:
        assert movie.n_frames == 36
        columns = []
        for frame in (0, 9, 18, 27):
            movie.seek(frame)
            picture = np.asarray(movie.convert("L")).astype(float)
            columns.append((picture.sum(axis=0) * np.arange(picture.shape[1])).sum() / picture.sum())
        scale = movie.width / 22
        centre = (movie.width - 1) / 2
    np.testing.assert_allclose((np.array(columns) - centre) / scale, [5.5, 5, -5.5, -5], atol=0.2)


@pytest.mark.parametrize(
    ("options", "target", "words"),
    [
        (("--slices", "--maximum"), "a.png", "give one of --slices, --views, --maximum and --sinogram"),
        (("--views", "1", "--sinogram", 2), "a.png", "give one of"),
        (("--at", 1, 1, 1, "--maximum"), "a.png", "give one of"),
        (("--views", "6"), "a.png", "view 6 asked for, but there are 5"),
        (("--views", "6"), "a.gif", "view 6 asked for, but there are 5"),
        (("--sinogram", 25), "a.png", "has 24 rows; count from 1"),
        (("--at", 21, 1, 1), "a.png", "is outside"),
        (("--cmap", "rainbows"), "a.png", "matplotlib has no such colour map"),
        (("--cmap", "viridis"), "a.gif", "a movie is grey"),
        (("--slices",), "a.gif", "end OUTPUT in .png"),
        (("--sinogram", 3), "a.gif", "end OUTPUT in .png"),
        (("--fps", 60), "a.gif", "--fps"),
        ((), "a.jpg", "cannot tell the format of the picture"),
        ((), "-", "only bin, filter, xform and stack take -"),
    ],
)
def test_wrong_usage(
    series: Path, tmp_path: Path, options: tuple[object, ...], target: str, words: str
) -> None:
    before = sorted(tmp_path.iterdir())
    line = failure("view", *options, series, target if target == "-" else tmp_path / target, status=2)
    assert line.startswith("ERROR: view - ") and words in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_sinogram_needs_angles(volume: Path) -> None:
    line = failure("view", "--sinogram", 3, volume, volume.with_name("a.png"), status=1)
    assert "no tilt angles" in line
