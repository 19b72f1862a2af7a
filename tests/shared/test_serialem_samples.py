"""Real files of SerialEM and FEI: text comes back unchanged, and other readers agree on the values."""

import re
from pathlib import Path

import mdocfile
import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.extended_header import tilts_from_extended_header
from etcli.io.mdoc import Mdoc, read_mdoc
from etcli.io.tilts import find_mdoc, find_tilts, read_tilts, write_tilts

SAMPLES = (
    *(
        f"etspy/SerialEM_Multiframe_Test/test_00{k}.{ending}"
        for k in range(3)
        for ending in ("mdoc", "mrc.mdoc")
    ),
    "etspy/SerialEM_MultiTilt_Test/test_000.mdoc",
    *("phase/sto/sto_7k.mrc.mdoc", "phase/sio2si/sio2si_inf.mrc.mdoc"),
    "depth/rod_colmodel/focal_series.mrc.mdoc",
)


@pytest.fixture(params=SAMPLES)
def sample(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / request.param


def _extended(path: Path, **options):
    """Read the extended header by the byte offsets of the format."""
    header = path.read_bytes()[: 1024 + 131072]
    n_sections, n_bytes = np.frombuffer(header, "<i4")[[2, 23]]
    nint, nreal = np.frombuffer(header[128:132], "<i2")
    return tilts_from_extended_header(
        header[104:108], header[1024 : 1024 + n_bytes], int(n_sections), int(nint), int(nreal), **options
    )


def test_comes_back_byte_for_byte(sample: Path) -> None:
    assert read_mdoc(sample).dump() == sample.read_bytes()


def test_selecting_all_views_changes_nothing(sample: Path) -> None:
    mdoc = read_mdoc(sample)
    assert mdoc.select(range(len(mdoc.sections))).dump() == sample.read_bytes()


def test_mdocfile_reads_the_same_values(sample: Path) -> None:
    mdoc, peer = read_mdoc(sample), mdocfile.read(sample)
    assert len(mdoc.sections) == len(peer)
    for key in ("TiltAngle", "Defocus", "PixelSpacing", "ExposureDose", "RotationAngle", "ExposureTime"):
        if key in peer:
            np.testing.assert_array_equal(mdoc.numbers_of(key), peer[key].to_numpy(float))
    assert [f"[T = {title}]" for title in mdoc.titles] == [
        re.sub(r" *\]$", "]", title) for title in peer["titles"][0]
    ]
    assert mdoc.pixel_A == peer["PixelSpacing"][0]
    assert mdoc.warnings == []


def test_mdocfile_reads_what_was_edited(sample: Path, tmp_path: Path) -> None:
    mdoc = read_mdoc(sample)
    order = np.arange(len(mdoc.sections))[::-1]
    edited = mdoc.select(order).with_view_values("Intensity", (order + 0.5).tolist()).with_title("etcli")
    path = tmp_path / "edited.mdoc"
    path.write_bytes(edited.dump())
    peer = mdocfile.read(path)
    np.testing.assert_array_equal(peer["Intensity"], order + 0.5)
    np.testing.assert_array_equal(peer["TiltAngle"], mdoc.tilt_deg[order])
    assert peer["titles"][0][-1] == "[T = etcli]"


def test_values_of_a_stem_series(shared_data: Path) -> None:
    path = shared_data / "etspy/SerialEM_MultiTilt_Test/test_000.mrc"
    found = find_mdoc(path)
    assert found is not None
    assert found.name == "test_000.mdoc"
    mdoc = read_mdoc(found)
    assert mdoc.tilt_axis is not None
    assert (mdoc.tilt_axis.deg, mdoc.tilt_axis.source) == (-90, "title")
    assert (mdoc.pixel_A, mdoc.voltage_kv, mdoc.bidir_deg) == (7.88, 300, 0)
    np.testing.assert_array_equal(mdoc.prior_dose_e_A2, [0, 0])
    np.testing.assert_array_equal(mdoc.time_order, [0, 1])
    assert mdoc.section(1).get("StagePosition") == "-16.0095 -8.5543"


def test_files_of_one_tilt_each_become_a_series(shared_data: Path) -> None:
    folder = shared_data / "etspy/SerialEM_Multiframe_Test"
    joined = Mdoc.concatenate([read_mdoc(folder / f"test_00{k}.mrc.mdoc") for k in range(3)])
    np.testing.assert_array_equal(joined.tilt_deg, np.repeat([-0.000488, 5.00054, -5.00151], 2))
    # The titles differ in their date only.
    assert len(joined.titles) == 2
    # The file at -5° was taken between the two others.
    np.testing.assert_array_equal(joined.time_order, [0, 1, 4, 5, 2, 3])
    assert joined.select([0, 1]).dump() == (folder / "test_000.mrc.mdoc").read_bytes()


def test_mdoc_and_serialem_header_agree(shared_data: Path) -> None:
    for k in range(3):
        path = shared_data / f"etspy/SerialEM_Multiframe_Test/test_00{k}.mrc"
        header_tilts = _extended(path).tilt_deg
        found = find_tilts(path, n_sections=2, mdoc=read_mdoc(find_mdoc(path)), header_tilts=header_tilts)
        assert found.source.endswith(f"test_00{k}.mrc.mdoc")
        assert found.warnings == []
        np.testing.assert_allclose(header_tilts, found.tilt_deg, atol=0.01)


def test_old_fei_file(shared_data: Path) -> None:
    """No MAP, no stamp, no type: 77 records of 128 bytes among 1024."""
    path = shared_data / "etspy/HAADF_fei_original.mrc"
    found = _extended(path, first_label=b"Fei Company (c) Copyright 2003")
    np.testing.assert_allclose(found.tilt_deg, np.arange(-76, 77, 2), atol=1e-3)
    assert found.pixel_A == pytest.approx(33.6)
    # The axis lies along x; the field is 0, not set.
    assert found.axis_deg is None
    beside = find_tilts(path, n_sections=77, header_tilts=found.tilt_deg)
    assert beside.source.endswith("HAADF_fei_original.rawtlt")
    assert beside.warnings == []


@pytest.mark.parametrize("name", ["needle_raw", "HAADF_fei_original", "catalyst_180_bin2"])
def test_tilt_files_come_back(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = shared_data / f"etspy/{name}.rawtlt"
    write_tilts(tmp_path / "a.rawtlt", read_tilts(path))
    assert (tmp_path / "a.rawtlt").read_text().split() == path.read_text().split()


def test_wrong_number_of_sections_is_refused(shared_data: Path) -> None:
    path = shared_data / "depth/rod_colmodel/focal_series.mrc"
    mdoc = read_mdoc(find_mdoc(path))
    assert find_tilts(path, n_sections=41, mdoc=mdoc).tilt_deg.tolist() == [0] * 41
    np.testing.assert_allclose(mdoc.defocus_um, np.linspace(0.02, -0.02, 41), atol=1e-9)
    with pytest.raises(DataError, match=r"40 sections but .* lists 41 \(ZValue 40 without an image\)"):
        find_tilts(path, n_sections=40, mdoc=mdoc)
