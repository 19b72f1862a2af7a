"""What is written stands up to mrcfile, another reader of the standard."""

import io
import os

import mrcfile
import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.extended_header import serialem_extended_header
from etcli.io.mrc import open_mrc
from etcli.io.mrc_writer import MrcLayout, MrcStream, MrcWriter
from tests.files import IMOD_STAMP, images

KINDS = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


def write(path, data: np.ndarray, **layout) -> None:
    writer = MrcWriter(path, MrcLayout(data.shape, **layout))
    try:
        for z in reversed(range(len(data))):
            writer.write_section(z, data[z])
    except DataError:
        writer.abandon()
        raise
    writer.close()


@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("mode", KINDS)
def test_mrcfile_finds_nothing_to_complain_about(tmp_path, mode, volume) -> None:
    # mrcfile takes the deviation of float16 in float16
    path, data = tmp_path / "a.mrc", images() // {0: 8, 12: 32}.get(mode, 1)
    extended, *counts = serialem_extended_header([-40, 0, 20, 61.25])
    more = {} if volume else {"exttyp": b"SERI", "extended": extended, "extended_counts": counts}
    write(path, data, mode=mode, volume=volume, pixel_A=(1.5, 2.5, 3.5), labels=["one"], **more)
    report = io.StringIO()
    assert mrcfile.validate(path, print_file=report), report.getvalue()
    with mrcfile.open(path) as mrc:
        assert mrc.data.dtype == KINDS[mode]
        np.testing.assert_array_equal(mrc.data, data)


@pytest.mark.parametrize("volume", [False, True])
def test_every_field_of_the_header(tmp_path, volume) -> None:
    path, data = tmp_path / "a.mrc", images(4, 12, 10)
    layout = {"pixel_A": (2.5, 2.5, 2.5), "origin_A": (25, -5, 1), "labels": ["first", "Å"], "volume": volume}
    write(path, data, **layout, exttyp=b"SERI", extended=bytes(1024), extended_counts=(2, 1))
    with mrcfile.open(path) as mrc:
        header = mrc.header
        assert (header.nx, header.ny, header.nz, header.mode) == (10, 12, 4, 2)
        assert (header.mx, header.my, header.mz) == (10, 12, 4 if volume else 1)
        assert header.cella.item() == (25, 30, 10 if volume else 2.5)
        assert header.cellb.item() == (90, 90, 90)
        assert (header.mapc, header.mapr, header.maps) == (1, 2, 3)
        assert (header.nxstart, header.nystart, header.nzstart) == (0, 0, 0)
        assert header.ispg == int(volume)
        assert (header.nsymbt, header.exttyp, header.nversion) == (1024, b"SERI", 20141)
        assert header.origin.item() == (25, -5, 1)
        assert bytes(header.map) == b"MAP "
        assert header.machst.tolist() == [0x44, 0x44, 0, 0]
        assert header.nlabl == 2
        assert [bytes(label).decode("latin-1") for label in header.label[:2]] == [
            "first".ljust(80),
            "Å".ljust(80),
        ]
        assert not any(header.label[2:])
        assert mrc.is_volume() == volume
        assert mrc.voxel_size.item() == (2.5, 2.5, 2.5)
    raw = path.read_bytes()
    assert np.frombuffer(raw, "<i2", 2, 128).tolist() == [2, 1]
    assert len(raw) == 2048 + data.nbytes


def test_imods_flags_tell_signed_bytes_and_the_standards_origin(tmp_path) -> None:
    write(tmp_path / "a.mrc", images() / 10, mode=0)
    assert np.frombuffer((tmp_path / "a.mrc").read_bytes(), "<i4", 2, 152).tolist() == [IMOD_STAMP, 1 + 4]


@pytest.mark.parametrize(("offset", "spread"), [(0, 1), (1e6, 10), (-32000, 0.5), (3e9, 1e4), (12.5, 0)])
def test_statistics_are_those_of_the_data_on_disk(tmp_path, offset, spread) -> None:
    """Also far from zero, where squares in float32 would leave nothing of a deviation."""
    noise = np.random.default_rng(5).normal(size=(3, 200, 301))
    data = (offset + spread * noise).astype(np.float32)
    data[1] += np.float32(3 * spread)
    write(tmp_path / "a.mrc", data)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        header, truth = mrc.header, data.astype(np.float64)
        assert (header.dmin, header.dmax) == (data.min(), data.max())
        np.testing.assert_allclose(header.dmean, truth.mean(), rtol=1e-7, atol=1e-5 * spread)
        np.testing.assert_allclose(header.rms, truth.std(), rtol=1e-6, atol=0)


def test_statistics_survive_an_odd_first_piece(tmp_path) -> None:
    data = np.full((5, 64, 64), 1e4, np.float32) + images(5, 64, 64) / 1000
    data[-1] = 0  # written first
    write(tmp_path / "a.mrc", data)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        np.testing.assert_allclose(mrc.header.rms, data.std(dtype=np.float64), rtol=1e-5)
        np.testing.assert_allclose(mrc.header.dmean, data.mean(dtype=np.float64), rtol=1e-6)


def test_statistics_of_integers_are_of_what_was_rounded(tmp_path) -> None:
    write(tmp_path / "a.mrc", np.array([[[0.4, 1.6, -2.5, 3.5]]], np.float32), mode=1)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert mrc.data.tolist() == [[0, 2, -2, 4]]
        assert (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean) == (-2, 4, 1)


def test_rows_go_where_they_belong(tmp_path) -> None:
    data = images(3, 8, 5)
    writer = MrcWriter(tmp_path / "a.mrc", MrcLayout(data.shape, extended=bytes(1024)))
    writer.write_rows(5, data[:, 5:8])
    writer.write_rows(0, data[1:, 0:2], z0=1)
    writer.write_rows(0, data[:1, 0:2])
    writer.write_rows(2, data[:, 2:5])
    writer.close()
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "a.mrc"), data)


@pytest.mark.parametrize(
    ("mode", "lowest", "highest"),
    [(0, -128, 127), (1, -32768, 32767), (6, 0, 65535), (12, -65504, 65504), (2, -3.4e38, 3.4e38)],
)
def test_what_does_not_fit_is_refused_and_never_wraps(tmp_path, mode, lowest, highest) -> None:
    path, beyond = tmp_path / "a.mrc", 0.6 if mode in (0, 1, 6) else 10 if mode == 12 else 1e37
    write(path, np.array([[[lowest, highest]]], np.float64), mode=mode)
    np.testing.assert_allclose(open_mrc(path)[1][0, 0].astype(np.float64), [lowest, highest], rtol=1e-6)
    for value in (lowest - beyond, highest + beyond):
        with pytest.raises(DataError, match=rf"values from .* do not fit mode {mode}; choose another --mode"):
            write(path, np.array([[[1, value]]]), mode=mode)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", KINDS)
def test_refuses_what_is_not_finite(tmp_path, mode, value) -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        write(tmp_path / "a.mrc", np.array([[[1, value]]], np.float32), mode=mode)


def test_takes_its_room_at_once_and_is_no_image_before_the_end(tmp_path) -> None:
    path, data = tmp_path / "a.mrc", images()
    writer = MrcWriter(path, MrcLayout(data.shape))
    assert path.stat().st_size == 1024 + data.nbytes
    assert path.stat().st_blocks * 512 >= data.nbytes
    writer.write_section(0, data[0])
    writer.abandon()
    with pytest.raises(DataError):
        open_mrc(path)


def test_a_stream_has_its_header_first_and_unknown_statistics(tmp_path) -> None:
    data = images()
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as pipe:
        writer = MrcStream(pipe, MrcLayout(data.shape, 1, (2.5, 2.5, 2.5), extended=b"x" * 1024))
        for z, section in enumerate(data):
            writer.write_section(z, section)
        writer.close()
    with os.fdopen(read_end, "rb") as pipe:
        (tmp_path / "a.mrc").write_bytes(pipe.read())
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        np.testing.assert_array_equal(mrc.data, data)
        statistics = (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms)
        assert statistics == (0, -1, -2, -1)
