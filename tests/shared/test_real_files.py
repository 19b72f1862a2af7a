"""Files of SerialEM, FEI and Gatan programs: what their folder's README says of them is what we read."""

import json
import re
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.io.image_file import open_images
from etcli.io.mdoc import read_mdoc
from tests.files import etcli

MULTIFRAME_DEG = [-0.000488, 5.00054, -5.00151]


def about(path: Path) -> dict:
    return json.loads(etcli("info", "--json", path).out)


@pytest.fixture
def multiframe(shared_data: Path) -> list[Path]:
    return [shared_data / f"etspy/SerialEM_Multiframe_Test/test_00{k}.mrc" for k in range(3)]


def test_every_file_holds_what_mrcfile_finds(shared_data: Path) -> None:
    paths = sorted(shared_data.rglob("*.mrc"))
    assert len(paths) > 10
    for path in paths:
        stack = open_images(str(path)).series()
        with (
            pytest.warns() if "fei" in path.name else mrcfile.mmap(path),
            mrcfile.mmap(path, permissive=True) as mrc,
        ):
            theirs = mrc.data.reshape(stack.shape)
            np.testing.assert_array_equal(stack.view(0), theirs[0])
            np.testing.assert_array_equal(stack.view(len(stack) - 1), theirs[-1])
            if mrc.voxel_size.x != 1:
                assert stack.pixel_A == pytest.approx(float(mrc.voxel_size.x), rel=1e-6)


@pytest.mark.parametrize("ending", ["mdoc", "mrc.mdoc"])
def test_serialem_files_of_one_tilt_become_a_series(multiframe, tmp_path, ending) -> None:
    """Either way of naming an mdoc; two frames a file are averaged."""
    for path in multiframe:
        shutil.copy(path, tmp_path)
        shutil.copy(path.with_suffix(f".{ending}"), tmp_path)
    series = tmp_path / "series.mrc"
    run = etcli("stack", "--sort", "tilt", *(tmp_path / path.name for path in multiframe), series)
    assert "6 sections give 3 views: mean of frames" in run.err
    facts = about(series)
    assert facts["tilt_deg"] == sorted(MULTIFRAME_DEG)
    assert (facts["pixel_A"], facts["axis_deg"], facts["voltage_kv"]) == (7.88, -90, 300)
    assert facts["source"] == f"{series}.mdoc"
    assert facts["defocus_um"] == [-0.0304367, -0.015685, -0.0903928]
    frames = [mrcfile.read(multiframe[k]).astype(np.float64) for k in (2, 0, 1)]
    np.testing.assert_array_equal(mrcfile.read(series), np.mean(frames, axis=1).astype(np.float32))


def test_angles_of_serialems_extended_header(multiframe, tmp_path) -> None:
    """Hundredths of a degree, when there is no mdoc."""
    for path, angle in zip(multiframe, MULTIFRAME_DEG, strict=True):
        alone = shutil.copy(path, tmp_path / path.name)
        facts = about(alone)
        assert facts["source"] == "the extended header"
        assert facts["tilt_deg"] == pytest.approx([angle, angle], abs=0.0051)
        assert facts["pixel_A"] == 7.88


DETAIL = re.compile(r"\[T =   (version|command|input): ")


@pytest.mark.parametrize("sample", ["SerialEM_MultiTilt_Test/test_000", "SerialEM_Multiframe_Test/test_001"])
def test_no_line_of_an_mdoc_is_lost(shared_data, tmp_path, sample) -> None:
    source = shared_data / f"etspy/{sample}.mrc"
    etcli("stack", "--frames", "keep", source, tmp_path / "a.mrc")
    before = read_mdoc(source.with_suffix(".mdoc")).dump().decode().splitlines()
    after = (tmp_path / "a.mrc.mdoc").read_text().splitlines()
    changed = {"ImageFile = a.mrc", "DataMode = 2"}
    added = {"[T = etcli stack 0.1: 2 views of 1 file]", ""}
    kept = [line for line in after if line not in changed | added and not DETAIL.match(line)]
    # what the order and the counts of the other lines tell is written down
    told = [line for line in kept if line.startswith(("PriorRecordDose", "CountsPerElectron"))]
    kept = [line for line in kept if line not in told or line in before]
    assert kept == [line for line in before if line and not line.startswith(("ImageFile", "DataMode"))]
    assert changed | added < set(after)


def test_an_old_fei_file_without_anything_beside_it(shared_data, tmp_path) -> None:
    alone = shutil.copy(shared_data / "etspy/HAADF_fei_original.mrc", tmp_path / "a.mrc")
    facts = about(alone)
    assert facts["tilt_deg"] == pytest.approx(range(-76, 77, 2), abs=1e-3)
    assert (facts["pixel_A"], facts["source"]) == (33.6, "the extended header")
    assert [label.strip() for label in facts["labels"]] == ["Fei Company (c) Copyright 2003"]
    etcli("bin", "-b", 4, alone, tmp_path / "b.mrc")
    binned = about(tmp_path / "b.mrc")
    assert (binned["size"], binned["pixel_A"]) == ([64, 64, 77], 134.4)
    assert binned["tilt_deg"] == pytest.approx(range(-76, 77, 2), abs=1e-3)


def test_the_turned_copy_is_the_old_fei_file(shared_data) -> None:
    """out[k, Y, X] = original[k, y = X, x = n - 1 - Y]: rows and columns run as they should."""
    original, turned = (
        open_images(str(shared_data / f"etspy/{name}.mrc")).series()
        for name in ("HAADF_fei_original", "needle_raw")
    )
    for k in (0, 40, 76):
        np.testing.assert_array_equal(turned.view(k), original.view(k).T[::-1])


def test_a_gatan_tilt_stack(shared_data) -> None:
    reader = pytest.importorskip("rsciio.digitalmicrograph", exc_type=ImportError)
    path = shared_data / "etspy/HAADF.dm3"
    facts = about(path)
    assert facts["tilt_deg"] == list(range(-90, 91, 2))
    assert (facts["size"], facts["pixel_A"], facts["source"]) == ([64, 64, 91], 179.9492, str(path))
    (signal,) = reader.file_reader(path)
    np.testing.assert_array_equal(open_images(str(path)).series().view(30), signal["data"][30, ::-1])


def test_gatan_images_of_one_tilt_become_a_series(shared_data, tmp_path) -> None:
    pytest.importorskip("rsciio.digitalmicrograph", exc_type=ImportError)
    paths = [shared_data / f"etspy/DM_Series_Test/BF_00{k}.dm3" for k in (3, 1, 2)]
    etcli("stack", "--sort", "tilt", *paths, tmp_path / "series.mrc")
    facts = about(tmp_path / "series.mrc")
    assert facts["tilt_deg"] == pytest.approx([-72.00303, -69.0036, -66.00417], abs=1e-5)
    assert (facts["size"], facts["pixel_A"]) == ([128, 128, 3], 191.087)


def test_a_focal_series_keeps_its_defoci(shared_data, tmp_path) -> None:
    """41 sections at one tilt are no frames, and may be reordered with their defoci."""
    source = shared_data / "depth/rod_colmodel/focal_series.mrc"
    etcli("stack", "--views", "41-1", source, tmp_path / "a.mrc")
    facts = about(tmp_path / "a.mrc")
    assert facts["size"] == [128, 128, 41]
    assert facts["defocus_um"] == pytest.approx(np.linspace(-0.02, 0.02, 41), abs=1e-9)
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "a.mrc")[0], mrcfile.read(source)[40])
