"""``etcli project`` against closed forms."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from etcli.io.extended_header import tilts_from_extended_header
from tests.blobs import Point, blob_views, blob_volume
from tests.files import etcli, failure, write_series

PIXEL_A = 4.0
POINTS: tuple[Point, ...] = ((6.3, -5.2, 4.4), (-5.1, 3.6, -7.7))
TILTS = np.array([-90.0, -63.5, -20.0, 0.0, 20.0, 45.0, 71.25])


def write_volume(path: Path, volume: NDArray[np.floating]) -> Path:
    with mrcfile.new(path, np.float32(volume)) as mrc:
        mrc.voxel_size = PIXEL_A
        mrc.header.origin = (80, 40, 12)
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Two blobs in a volume of 27 sections of 30 rows and 34 columns."""
    return write_volume(tmp_path / "volume.mrc", blob_volume(POINTS, (27, 30, 34)))


def angles(path: Path) -> Path:
    np.savetxt(path, TILTS, fmt="%.2f")
    return path


def nrmse(image: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(image.astype(float) - reference) / np.linalg.norm(reference))


# wrong values, measured: the other sense of tilt 1.2, half a pixel off 0.22, half the density 0.5
@pytest.mark.parametrize("kernel", ["linear", "strip"])
def test_views_are_line_integrals(volume: Path, tmp_path: Path, kernel: str) -> None:
    tilts = ("--tilts", angles(tmp_path / "a.tlt"))
    etcli("project", "-q", *tilts, "--kernel", kernel, volume, tmp_path / "p.mrc")
    views, expected = mrcfile.read(tmp_path / "p.mrc"), blob_views(POINTS, TILTS, (30, 34))
    assert views.shape == expected.shape
    for view, truth in zip(views, expected, strict=True):
        assert nrmse(view, truth) < 0.07
    assert nrmse(blob_views(POINTS, -TILTS, (30, 34)), expected) > 1
    assert nrmse(blob_views(POINTS, TILTS, (30, 34), shift_px=0.5), expected) > 0.2


def test_a_range_includes_both_ends(volume: Path, tmp_path: Path) -> None:
    etcli("project", "-q", "--range", 30, -30, -7.5, volume, tmp_path / "p.mrc")
    run = etcli("info", "--field", "tilts", tmp_path / "p.mrc")
    assert [float(word) for word in run.out.split()] == [30 - 7.5 * k for k in range(9)]
    expected = blob_views(POINTS, 30 - 7.5 * np.arange(9), (30, 34))
    assert nrmse(mrcfile.read(tmp_path / "p.mrc"), expected) < 0.07


@pytest.mark.parametrize("kind", ["a.tlt", "a.rawtlt", "angles", "a.csv", "series.mrc", "series.mrc.mdoc"])
def test_angles_come_from_text_or_a_series(volume: Path, tmp_path: Path, kind: str) -> None:
    etcli("project", "-q", "--tilts", angles(tmp_path / "b.tlt"), volume, tmp_path / "expected.mrc")
    write_series(tmp_path / "series.mrc", tilt_deg=tuple(TILTS))
    if not kind.startswith("series"):
        angles(tmp_path / kind)
    etcli("project", "-q", "--tilts", tmp_path / kind, volume, tmp_path / "p.mrc")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "p.mrc"), mrcfile.read(tmp_path / "expected.mrc"))


def test_the_series_knows_what_it_is(volume: Path, tmp_path: Path) -> None:
    target = tmp_path / "p.mrc"
    etcli("project", "-q", "--tilts", angles(tmp_path / "a.tlt"), volume, target)
    with mrcfile.open(target) as mrc:
        assert mrc.is_image_stack() and mrc.header.exttyp == b"SERI"
        np.testing.assert_allclose([mrc.voxel_size.x, mrc.voxel_size.y], PIXEL_A)
        np.testing.assert_allclose(mrc.header.origin.item(), (80, 40, 0))
        assert mrc.get_labels()[-1].strip() == "etcli project 0.1: 7 views"
        data = mrc.data
        np.testing.assert_allclose(
            [mrc.header.dmin, mrc.header.dmax, mrc.header.dmean],
            [data.min(), data.max(), data.mean()],
            rtol=1e-5,
        )
        words = mrc.header.extra1.tobytes(), mrc.extended_header.tobytes()
    counts = np.frombuffer(target.read_bytes()[128:132], "<i2").tolist()
    found = tilts_from_extended_header(b"SERI", words[1], 7, *counts).tilt_deg
    np.testing.assert_allclose(found, TILTS, atol=0.005)
    text = (tmp_path / "p.mrc.mdoc").read_text()
    assert text.count("[ZValue = ") == 7 and "TiltAngle = -63.5\n" in text
    assert "Tilt axis angle = 0.0" in text and f"PixelSpacing = {PIXEL_A:g}\n" in text


def test_what_is_reconstructed_from_the_projections_is_the_volume(volume: Path, tmp_path: Path) -> None:
    etcli("project", "-q", "--range", -90, 87, 3, volume, tmp_path / "p.mrc")
    size = ("--thickness", "27px", "--iterations", 100)
    etcli("recon", "-q", *size, "--background", "none", tmp_path / "p.mrc", tmp_path / "v.mrc")
    # a blob half a voxel off is 0.22 away
    assert nrmse(mrcfile.read(tmp_path / "v.mrc"), mrcfile.read(volume)) < 0.1


def test_threads_repetition_and_memory_change_no_byte(volume: Path, tmp_path: Path) -> None:
    files = []
    for options in (("-j", 1), ("-j", 2), ("-j", 2), ("-j", 2, "--memory", "1M")):
        etcli("project", "-q", *options, "--range", -60, 60, 5, volume, tmp_path / "p.mrc")
        files.append(((tmp_path / "p.mrc").read_bytes(), (tmp_path / "p.mrc.mdoc").read_bytes()))
    assert len(set(files)) == 1
    options = ("--memory", "1K", "--range", -60, 60, 5)
    assert "allow 1M" in failure("project", *options, volume, tmp_path / "q.mrc", status=2)


def test_tiff_has_its_top_row_first(volume: Path, tmp_path: Path) -> None:
    for name in ("p.mrc", "p.tif"):
        etcli("project", "-q", "--range", -40, 40, 20, volume, tmp_path / name)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "p.tif")[:, ::-1], mrcfile.read(tmp_path / "p.mrc")
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "with --tilts FILE or --range A B STEP, or orientations with --euler FILE"),
        (("--tilts", "VOLUME", "--range", 0, 1, 1), "with --tilts FILE or --range A B STEP"),
        (("--range", 0, 10, 0), "no tilt angles from 0 to 10"),
        (("--range", 10, 0, 1), "no tilt angles from 10 to 0"),
        (("--range", 0, 10), "--range"),
        (("--range", 0, 10, 1, "--kernel", "cubic"), "'cubic' is not one of"),
    ],
)
def test_wrong_usage(volume: Path, tmp_path: Path, options: tuple[object, ...], words: str) -> None:
    options = tuple(volume if option == "VOLUME" else option for option in options)
    line = failure("project", *options, volume, tmp_path / "p.mrc", status=2)
    assert line.startswith("ERROR: project - ") and words in line
    assert list(tmp_path.iterdir()) == [volume]


def test_project_takes_no_streams(volume: Path, tmp_path: Path) -> None:
    for files in (("-", tmp_path / "p.mrc"), (volume, "-")):
        line = failure("project", "--range", 0, 1, 1, *files, status=2)
        assert "only bin, filter, xform and stack take -" in line


@pytest.mark.parametrize("name", ["absent.tlt", "volume.mrc", "bad.tlt"])
def test_files_without_angles_are_refused(volume: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.tlt").write_text("0.0\nten\n")
    line = failure("project", "--tilts", tmp_path / name, volume, tmp_path / "p.mrc", status=1)
    assert name in line and not (tmp_path / "p.mrc").exists()


def test_a_series_is_no_volume(tmp_path: Path) -> None:
    series = write_series(tmp_path / "a.mrc")
    said = failure("project", "--range", -60, 60, 20, series, tmp_path / "p.mrc")
    assert "is a tilt series, where a volume is needed" in said
    assert not (tmp_path / "p.mrc").exists()
