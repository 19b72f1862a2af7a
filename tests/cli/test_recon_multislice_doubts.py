"""``recon --method multislice`` of some rows, of images of a wrong scale, with options that make no sense."""

import json
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.pipeline.multislice_report import border_over_mean
from tests.files import etcli as run
from tests.files import failure, write_series
from tests.phase_series import (
    HOW,
    VIEWS_DEG,
    counted,
    images,
    write_phase_series,
)

FAST = (*HOW, "--iterations", 3)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return images()


@pytest.fixture
def source(tmp_path: Path, clean: np.ndarray) -> Path:
    return write_phase_series(tmp_path / "s.mrc", clean)


def volume(path: Path) -> np.ndarray:
    return mrcfile.read(path)


# rows and scale


def test_rows_have_the_scale_of_whole_images(source: Path, tmp_path: Path, clean: np.ndarray) -> None:
    """Of the flat field, whose middle is brighter, and of the vacuum, which is beside the specimen."""
    gain = (1 + 0.5 * np.hanning(32)[:, np.newaxis] * np.ones(32)).astype(np.float32)
    raw = write_phase_series(tmp_path / "raw.mrc", clean * gain / gain.mean())
    write_series(tmp_path / "flat.mrc", 9 * gain[np.newaxis], [0.0])
    rows = ("--slices", "12-21")
    run("recon", "-q", *FAST, *rows, source, tmp_path / "v.mrc")
    flat = ("--flat-field", tmp_path / "flat.mrc")
    run("recon", "-q", *FAST, *rows, *flat, raw, tmp_path / "w.mrc")
    expected = volume(tmp_path / "v.mrc")
    np.testing.assert_allclose(volume(tmp_path / "w.mrc"), expected, atol=1e-3 * expected.max())
    bright = write_phase_series(tmp_path / "bright.mrc", 40 * clean)
    how = (*FAST, "--vacuum", "mean", bright, tmp_path / "u.mrc")
    levels = [
        next(line for line in run("recon", *options, *how).err.splitlines() if "are divided" in line)
        for options in ((), rows)
    ]
    assert levels[0] == levels[1]


def test_rows_outside_are_missed(source: Path, tmp_path: Path) -> None:
    done = run("recon", *FAST, "--slices", "12-21", source, tmp_path / "v.mrc")
    # a third of 0.0197 Å x 1/Å x 400 Å in pixels of 0.5 Å
    assert "rows outside --slices scatter into these; the outermost 6 rows are less accurate" in done.err
    assert "outside --slices" not in run("recon", *FAST, source, tmp_path / "v.mrc").err


@pytest.mark.parametrize("factor", [0, 0.5, 1.2, 2])
def test_an_image_of_another_brightness_is_named(tmp_path: Path, clean: np.ndarray, factor: float) -> None:
    data = clean.copy()
    data[6] *= factor
    series = write_phase_series(tmp_path / "s.mrc", data)
    for level in ((), ("--vacuum", 1)):
        line = failure("recon", "-q", *FAST, *level, series, tmp_path / "v.mrc")
        assert f"{series}: the mean intensity of view 7 is not that of the others" in line
        assert "--exclude what is wrong, or give --vacuum mean or mode" in line
    line = failure("recon", "-q", *FAST, "--exclude", "1,3", series, tmp_path / "v.mrc")
    assert "the mean intensity of view 7 is not" in line  # as --exclude counts
    run("recon", "-q", *FAST, "--vacuum", "none", series, tmp_path / "v.mrc")
    run("recon", "-q", *FAST, "--exclude", 7, series, tmp_path / "v.mrc")


def test_the_specimen_may_absorb_more_at_high_tilts(tmp_path: Path, clean: np.ndarray) -> None:
    """As a plate does, by electrons that the aperture stops."""
    path = 1 / np.maximum(np.cos(np.deg2rad(VIEWS_DEG)), 0.3)
    data = clean * np.exp(-0.02 * path)[:, np.newaxis, np.newaxis].astype(np.float32)
    run("recon", "-q", *FAST, write_phase_series(tmp_path / "s.mrc", data), tmp_path / "v.mrc")


# size of the volume


@pytest.mark.parametrize(("dose", "cut"), [(1, False), (30, False), (3000, False), (3000, True)])
def test_noise_is_no_specimen_beyond_the_volume(
    tmp_path: Path, clean: np.ndarray, dose: float, cut: bool
) -> None:
    series = write_phase_series(tmp_path / "n.mrc", counted(clean, dose), dose_e_A2=dose)
    size = "12px" if cut else "24px"
    how = ("-j", "1", "--method", "multislice", "--iterations", 8, "--thickness", size, "--width", size)
    done = run("recon", *how, "--json", series, tmp_path / "v.mrc")
    assert ("as if the specimen were larger than the volume" in done.err) == cut
    assert (json.loads(done.out)["border"] > 0.4) == cut


def test_rows_that_go_on_are_no_border() -> None:
    column = np.zeros((20, 20, 20), np.float32)
    column[4:16, 4:16, ::4] = 100
    column += np.abs(np.random.default_rng(0).normal(0, 1, column.shape)).astype(np.float32)
    assert border_over_mean(column) > 0 == border_over_mean(column, cropped=True)


# resuming


def test_what_another_pixel_size_or_program_left_is_not_used(source: Path, tmp_path: Path) -> None:
    with mrcfile.mmap(source, "r+") as mrc:
        mrc.voxel_size = 0  # that of the mdoc is used
    how = ("recon", *FAST, "--resume", source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etcli.io.keyed_folder.KeyedFolder.remove", lambda folder: None)
        run(*how, tmp_path / "v.mrc")
    kept = tmp_path / "v.mrc.resume"
    for name in ("arrays", "pixel", "same"):
        shutil.copytree(kept, tmp_path / f"{name}.mrc.resume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etcli.core.multislice.backends.fftw_is_there", lambda: False)
        assert "going on" not in run(*how, tmp_path / "arrays.mrc").err
    assert "going on after 2 of 3 iterations" in run(*how, tmp_path / "same.mrc").err
    mdoc = Path(f"{source}.mdoc")
    mdoc.write_text(mdoc.read_text().replace("PixelSpacing = 0.5", "PixelSpacing = 0.51"))
    assert "going on" not in run(*how, tmp_path / "pixel.mrc").err


# history


def test_the_history_names_the_microscope_and_the_weight(source: Path, tmp_path: Path) -> None:
    lens = ("--alpha", 18, "--cs", 0.001, "--astigmatism", 10, 30, "--convergence", 0.1)
    how = (*FAST, "--kv", 200, *lens, "--focal-spread", "5A", "--seed", 4, "--half-sets", "--json")
    weight = json.loads(run("recon", *how, source, tmp_path / "v.mrc").out)["weight"]
    for name in ("v", "v_odd"):
        text = Path(f"{tmp_path / name}.mrc.mdoc").read_text()
        assert "200 kV, aperture 18 mrad, Cs 0.001 mm, astigmatism 10 A at 30 deg, focal spread 5 A" in text
        end = ", half-sets agree to " if name == "v" else "]"
        assert f"convergence 0.1 mrad, slices of 8, seed 4{end}" in text
        assert (f" tv auto {weight:.3g}, 24 views" in text) == (name == "v") and "tv auto 0." in text
        assert "\nVoltage = 200\n" in text
    run("recon", "-q", *FAST, "--weight", 0.25, source, tmp_path / "w.mrc")
    text = Path(f"{tmp_path / 'w.mrc'}.mdoc").read_text()
    assert " tv 0.25, 24 views, potential in V, 300 kV, aperture 19.69 mrad, slices of 8]" in text


@pytest.mark.parametrize("command", ["register", "tiltalign"])
def test_series_of_several_defoci_are_not_aligned_as_projections(
    source: Path, tmp_path: Path, command: str
) -> None:
    assert "recon --method multislice --refine shifts" in failure(
        command, source, tmp_path / "a.mrc", status=2
    )
