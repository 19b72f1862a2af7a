"""``etcli view``: the right picture of the right numbers. What pictures look like is tested with them."""

import shutil
import sys
from pathlib import Path

import matplotlib
import mrcfile
import numpy as np
import pytest
from PIL import Image

from etcli.plotting.images import maximum_projection, sinogram
from etcli.plotting.look import Look
from etcli.plotting.montage import montage, thinned
from etcli.plotting.slices import SPECIMEN, Stacking, orthoslices
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
    chosen = thinned(45, 10 / 12)
    assert len(chosen) >= 12 and chosen[0] == 0 and chosen[-1] == 44 and np.ptp(np.diff(chosen)) <= 1
    labels = [f"{k + 1}: {tilts[k]:.1f}°" for k in chosen]
    figure = montage(mrcfile.read(source), indices=chosen, labels=labels, pixel_A=2.5)
    assert drawn(source) == expected(figure, tmp_path)


def test_a_volume_is_three_slices(volume: Path) -> None:
    data = mrcfile.read(volume)
    assert drawn(volume) == drawn(volume, "--slices")
    at = expected(orthoslices(data, pixel_A=2.5, at=(13, 6, 1)), volume.parent)
    assert drawn(volume, "--at", 2, 7, 14) == drawn(volume, "--slices", "--at", 2, 7, 14) == at
    sections = montage(data, indices=[0, 4], labels=["1", "5"], pixel_A=2.5, look=Look("viridis"))
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
            seen.append(int(np.median(np.asarray(movie.convert("L")))))
    assert seen == [0, 51, 102, 153, 255]
    etcli("view", "--views", "4,1", source, tmp_path / "s.gif")
    with Image.open(tmp_path / "s.gif") as movie:
        assert movie.n_frames == 2


def test_a_volume_turns_in_a_movie(volume: Path) -> None:
    data = np.zeros((15, 18, 16), np.float32)
    data[12, 11, 13] = 1.0  # to the right, above the middle, seen from above at first
    write_stack(volume.with_name("v.mrc"), data)
    etcli("view", volume.with_name("v.mrc"), volume.with_name("v.gif"))
    with Image.open(volume.with_name("v.gif")) as movie:
        assert movie.n_frames == 36
        columns = []
        for frame in (0, 9, 18, 27):
            movie.seek(frame)
            picture = np.asarray(movie.convert("L")).astype(float)
            picture[:40], picture[picture.shape[0] // 2 :] = 0, 0  # the label, the scale bar
            columns.append((picture.sum(axis=0) * np.arange(picture.shape[1])).sum() / picture.sum())
        scale = movie.width / 16  # the cylinder, as nothing is in the corners
        centre = (movie.width - 1) / 2
    np.testing.assert_allclose((np.array(columns) - centre) / scale, [5.5, 5, -5.5, -5], atol=0.2)


@pytest.fixture
def off_centre(tmp_path: Path) -> Path:
    """A block about (x, y, z) = (5, 12, 10), counted from 0, in an uneven background."""
    data = np.random.default_rng(0).normal(0.5, 0.05, (16, 18, 20)).astype(np.float32)
    data[8:13, 11:14, 3:8] += 2
    return write_stack(tmp_path / "block.mrc", data)


def test_slices_go_through_the_centre_of_mass(off_centre: Path) -> None:
    run = etcli("view", off_centre, off_centre.with_name("a.png"))
    first, last = run.err.splitlines()
    assert first == f"{off_centre}: no tilt angles, so taken for a volume; --tilts FILE makes it a series"
    assert last == "slices through the centre of mass of the specimen, --at 6 13 11"
    figure = orthoslices(mrcfile.read(off_centre), at=(10, 12, 5), pixel_A=2.5, point=SPECIMEN)
    assert drawn(off_centre) == expected(figure, off_centre.parent)


def test_contrast_gamma_and_crosshair_are_those_asked_for(off_centre: Path) -> None:
    options = ("--at", 1, 1, 1, "--limits", "0.2,3", "--gamma", 0.5, "--no-crosshair")
    look = Look(limits=(0.2, 3.0), gamma=0.5)
    figure = orthoslices(mrcfile.read(off_centre), at=(0, 0, 0), pixel_A=2.5, look=look, crosshair=False)
    assert drawn(off_centre, *options) == expected(figure, off_centre.parent)
    figure = orthoslices(
        mrcfile.read(off_centre), at=(0, 0, 0), pixel_A=2.5, look=Look(limits=(5, 80), percent=True)
    )
    assert drawn(off_centre, "--at", 1, 1, 1, "--limits", "5%,80%") == expected(figure, off_centre.parent)


@pytest.mark.parametrize("what", [("--slices",), ("--maximum",), ("--views", "1-5"), ("--sinogram", 3)])
def test_figures_for_papers_have_one_size(series: Path, what: tuple[object, ...]) -> None:
    target = series.with_name("a.png")
    etcli("view", "-q", *what, "--size", "85,60", "--dpi", 127, series, target)
    with Image.open(target) as picture:
        assert picture.size == (425, 300)  # 85 mm and 60 mm at 5 dots a mm
    etcli("view", "-q", *what, "--size", "100mm", "--dpi", 127, series, target)
    with Image.open(target) as picture:
        assert picture.width == 500


def test_lengths_are_from_the_rotation_centre(tmp_path: Path) -> None:
    source = write_series(tmp_path / "s.mrc", images(5, 24, 20), (-60.0, -30.0, 0.0, 30.0, 60.0), axis_deg=0)
    crop = ("-q", "--iterations", 1, "--slices", "13-20", "--thickness", "6px", "--z-offset", 3)
    for orient in ("zyx", "imod"):
        etcli("recon", *crop, "--orient", orient, source, tmp_path / f"{orient}.mrc")
    # rows 13 to 20 of 24 are 0.5 to 7.5 px above the middle; the slab is 3 px above the axis
    data = mrcfile.read(tmp_path / "zyx.mrc")
    middle_A = (0.0, 2.5 * 4, 2.5 * 3)
    figure = orthoslices(data, at=(2, 1, 9), pixel_A=2.5, stacking=Stacking(middle_A))
    assert figure.axes[0].get_ylim() == pytest.approx((0.0, 2.5 * 8 / 10), abs=1e-9)
    picture = expected(figure, tmp_path)
    at = ("--at", 10, 2, 3)
    assert drawn(tmp_path / "zyx.mrc", *at) == picture == drawn(tmp_path / "imod.mrc", *at)


def test_the_third_direction_of_a_series_is_no_length(series: Path) -> None:
    data = mrcfile.read(series)
    figure = orthoslices(data, at=(1, 2, 3), pixel_A=2.5, stacking=Stacking(of_views=True))
    assert drawn(series, "--at", 4, 3, 2) == expected(figure, series.parent)


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as movie:
        found = []
        for k in range(movie.n_frames):
            movie.seek(k)
            found.append(np.asarray(movie.convert("RGB")).astype(int))
    return found


def test_a_movie_of_sections_has_steps_and_colours(tmp_path: Path) -> None:
    sections = np.zeros((9, 40, 30), np.float32) + np.arange(9, dtype=np.float32)[:, None, None]
    source, target = write_stack(tmp_path / "v.mrc", sections), tmp_path / "v.gif"
    options = ("--slices", "--step", 4, "--cmap", "viridis", "--limits", "0,8", "--fps", 5)
    etcli("view", "-q", *options, source, target)
    frames = frames_of(target)
    assert len(frames) == 3
    for frame, level in zip(frames, (0.0, 0.5, 1.0), strict=True):
        colour = 255 * np.array(matplotlib.colormaps["viridis"](level)[:3])
        np.testing.assert_allclose(frame[frame.shape[0] // 2, frame.shape[1] // 2], colour, atol=3)
        corner = frame[: frame.shape[0] // 10, : frame.shape[1] // 2]
        assert (corner.min(axis=2) > 240).any()  # the label is white
        assert (
            frame[-frame.shape[0] // 12 :, frame.shape[1] // 2 :].min(axis=2) > 240
        ).any()  # the scale bar


def test_a_volume_turns_in_the_steps_asked_for(volume: Path) -> None:
    target = volume.with_name("v.gif")
    etcli("view", "-q", "--step", 45, volume, target)
    assert len(frames_of(target)) == 8
    line = failure("view", "--step", 200, volume, target, status=2)
    assert "at most 120°" in line


@pytest.fixture
def atoms(tmp_path: Path) -> Path:
    path = tmp_path / "atoms.xyz"
    path.write_text("3\n\nAu 10 -4 3\nSi 2 4 -6\nSi -8 0 1\n")
    return path


def test_atoms_are_drawn_and_turn(atoms: Path) -> None:
    etcli("view", "-q", "--size", "100,110", "--dpi", 50, atoms, atoms.with_name("a.png"))
    with Image.open(atoms.with_name("a.png")) as picture:
        assert picture.size == (197, 217)
    etcli("view", "-q", "--step", 90, atoms, atoms.with_name("a.gif"))
    first, _, back, _ = frames_of(atoms.with_name("a.gif"))
    blue = [np.nonzero(frame[:, :, 2] - frame[:, :, 0] > 20)[1].mean() for frame in (first, back)]
    assert np.mean(blue) == pytest.approx((first.shape[1] - 1) / 2, abs=8)  # silicon at x = 2 and −8
    assert blue[0] < blue[1] - 100
    for option in ("--maximum", ("--at", 1, 1, 1), ("--cmap", "viridis"), ("--tilts", "x.tlt")):
        words = option if isinstance(option, tuple) else (option,)
        line = failure("view", *words, atoms, atoms.with_name("b.png"), status=2)
        assert f"{words[0]} has no meaning: atoms" in line


FFMPEG = """#!{python}
import sys
data = sys.stdin.buffer.read()
if "-encoders" in sys.argv:
    print("V..... libx264")
    sys.exit()
size = sys.argv[sys.argv.index("-s") + 1]
width, height = map(int, size.split("x"))
if "{fault}":
    sys.exit("{fault}")
found = [size, len(data) // (3 * width * height), data[:1], sys.argv[-1][:1]]
open(sys.argv[-1], "wb").write(" ".join(map(str, found)).encode())
"""


def put_ffmpeg(folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str = "") -> None:
    """Put a stand-in for ffmpeg on PATH, which writes the size and number of frames, or fails."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(FFMPEG.format(python=sys.executable, fault=fault))
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_mp4_where_ffmpeg_is(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_ffmpeg(series.parent / "bin", monkeypatch)
    target = series.with_name("a.mp4")
    etcli("view", "-q", "--step", 2, series, target)
    assert target.read_text().startswith("320x384 3 b'")


def test_an_mp4_may_have_a_colon_in_its_name(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg takes what stands before a colon for a protocol, but not after a slash."""
    put_ffmpeg(series.parent / "bin", monkeypatch)
    etcli("view", "-q", series.name, "12:30.mp4", cwd=series.parent)
    assert (series.parent / "12:30.mp4").read_text().endswith(" /")


def test_mp4_where_ffmpeg_is_not_or_fails(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = series.with_name("a.mp4")
    monkeypatch.setenv("PATH", str(series.parent))
    line = failure("view", series, target, status=2)
    assert "ffmpeg, which is not on PATH; install it, or end OUTPUT in .gif" in line
    put_ffmpeg(series.parent / "bin", monkeypatch, "no such codec")
    assert "could not make the movie (no such codec)" in failure("view", "-q", series, target)
    assert not target.exists()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not on PATH")
def test_the_real_ffmpeg_writes_an_mp4_that_repeats(series: Path) -> None:
    target = series.with_name("a.mp4")
    etcli("view", "-q", series, target)
    first = target.read_bytes()
    assert b"ftyp" in first[:16]
    etcli("view", "-q", series, target)
    assert target.read_bytes() == first


def test_exchanged_arguments_and_pictures_as_input_are_named(volume: Path, tmp_path: Path) -> None:
    before = volume.read_bytes()
    for name, what in (("a.png", "picture"), ("a.gif", "movie"), ("A.JPG", "picture")):
        (tmp_path / name).write_bytes(b"something")
        line = failure("view", tmp_path / name, volume, status=2)
        assert f"INPUT is first, and {tmp_path / name} is a {what}; did you mean etcli view {volume}" in line
        line = failure("view", tmp_path / name, tmp_path / "b.png", status=2)
        assert f"is a {what}, not data; give a series, a volume or a file of atoms" in line
    assert volume.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "target", "words"),
    [
        (
            ("--slices", "--maximum"),
            "a.png",
            "give one of --slices, --views, --maximum, --sinogram and --surface",
        ),
        (("--views", "1", "--sinogram", 2), "a.png", "give one of"),
        (("--at", 1, 1, 1, "--maximum"), "a.png", "give one of"),
        (("--views", "6"), "a.png", "view 6 asked for, but there are 5"),
        (("--views", "6"), "a.gif", "view 6 asked for, but there are 5"),
        (("--sinogram", 25), "a.png", "has 24 rows; count from 1"),
        (("--at", 21, 1, 1), "a.png", "is outside"),
        (("--cmap", "rainbows"), "a.png", "matplotlib has no such colour map"),
        (("--cmap", "rainbows"), "a.gif", "matplotlib has no such colour map"),
        (("--at", 1, 1, 1), "a.gif", "--at is for a picture"),
        (("--sinogram", 3), "a.gif", "--sinogram is for a picture"),
        (
            ("--dpi", 300),
            "a.gif",
            "--dpi is for a picture, and OUTPUT is a movie; end it in .png, .pdf, .svg",
        ),
        (("--fps", 3), "a.png", "--fps is for a movie; end OUTPUT in .gif or .mp4"),
        (("--step", 3), "a.png", "--step is for a movie"),
        (("--step", 1.5), "a.gif", "whole number"),
        (("--limits", "3,1"), "a.png", "is not a lower and a higher value"),
        (("--limits", "1%,120%"), "a.png", "is not a lower and a higher value"),
        (("--size", "85,60,20"), "a.png", "is no width"),
        (("--size", "3"), "a.png", "is no width"),
        (("--fps", 60), "a.gif", "--fps"),
        ((), "a.jpg", "end its name in .png, .pdf, .svg, .gif, .mp4"),
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
