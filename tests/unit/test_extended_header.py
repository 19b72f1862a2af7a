"""Extended headers of each kind, made by hand, by mrcfile's record types, and read by IMOD."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import get_ext_header_dtype

from etcli.core.errors import DataError
from etcli.io.extended_header import serialem_extended_header, tilts_from_extended_header
from tests.imod import imod

TILTS = np.array([-60.25, 0.5, 61.0])
EMPTY = (None, None, None)


def _found(*arguments, **options):
    found = tilts_from_extended_header(*arguments, **options)
    tilts = None if found.tilt_deg is None else found.tilt_deg.tolist()
    return tilts, found.axis_deg, found.pixel_A


def _agard(order: str, *, nint: int = 2, nreal: int = 13, axis: float = 84.5, pixel: float = 2.5e-9) -> bytes:
    ints = np.full((3, nint), 7, f"{order}i4")
    floats = np.ones((3, nreal), f"{order}f4")
    floats[:, 0] = TILTS
    floats[:, 10:12] = axis, pixel
    return b"".join(i.tobytes() + f.tobytes() for i, f in zip(ints, floats, strict=True))


def _write_mrc(path: Path, exttyp: bytes, extended: bytes, nint: int, nreal: int, label: str = "") -> None:
    """Write three sections with an extended header the way a careful writer does."""
    with mrcfile.new(path) as mrc:
        mrc.set_data(np.zeros((3, 4, 4), np.float32))
        mrc.set_image_stack()
        mrc.set_extended_header(np.frombuffer(extended, "V1"))
        mrc.header.exttyp = exttyp
        header = mrc.header
        header["extra2"] = _with_words(header["extra2"].tobytes(), nint, nreal)
        if label:
            header.label[0] = label
        mrc.voxel_size = 1.0


def _with_words(extra2: bytes, nint: int, nreal: int) -> bytes:
    # extra2 begins at byte 112 of the header; the two int16 are bytes 128 to 131
    return extra2[:16] + np.array([nint, nreal], "<i2").tobytes() + extra2[20:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("exttyp", [b"SERI", b"\0\0\0\0", b"    ", b""])
def test_serialem_shorts(exttyp: bytes, order: str) -> None:
    """Flags 61: tilt, stage (2 shorts), magnification, intensity, dose (2 shorts): 14 bytes."""
    shorts = np.full((3, 7), 99, f"{order}i2")
    shorts[:, 0] = [-6025, 50, 6100]
    extended = shorts.tobytes() + bytes(100)
    assert _found(exttyp, extended, 3, 14, 61, byte_order=order) == (TILTS.tolist(), None, None)
    other = "<" if order == ">" else ">"
    assert _found(exttyp, extended, 3, 14, 61, byte_order=other)[0] != TILTS.tolist()


@pytest.mark.parametrize(
    ("nint", "nreal"),
    [(14, 60), (14, 63), (12, 61), (2, 1 | 1 << 11), (0, 0), (-2, 1)],
    ids=["no tilt", "flags say 20 bytes", "flags say 14 bytes", "flag unknown", "no words", "negative"],
)
def test_serialem_header_that_contradicts_itself_tells_nothing(nint: int, nreal: int) -> None:
    assert _found(b"SERI", bytes(range(200)), 3, nint, nreal) == EMPTY


def test_short_header_tells_nothing() -> None:
    extended, nint, nreal = serialem_extended_header(np.zeros(600))
    assert _found(b"SERI", extended, 600, nint, nreal)[0] == [0] * 600
    assert _found(b"SERI", extended[:1199], 600, nint, nreal) == EMPTY
    assert _found(b"AGAR", _agard("<")[:-1], 3, 2, 13) == EMPTY


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("exttyp", [b"AGAR", b"\0\0\0\0"])
def test_agard_words(exttyp: bytes, order: str) -> None:
    tilts, axis_deg, pixel = _found(exttyp, _agard(order), 3, 2, 13, byte_order=order)
    assert tilts == TILTS.tolist()
    assert axis_deg == 84.5
    assert pixel == pytest.approx(25.0)


def test_agard_details() -> None:
    """The sign of FEI's axis, an axis of 0 for none, UCSF's pixel in Å, too few floats, empty headers."""
    assert _found(b"", _agard("<"), 3, 2, 13, first_label=b"Fei Company")[1] == -84.5
    assert _found(b"", _agard("<", axis=0.0), 3, 2, 13)[1] is None
    assert _found(b"", _agard("<", axis=275.0), 3, 2, 13)[1] == -85
    assert _found(b"", _agard("<", axis=1e5, pixel=0.0), 3, 2, 13)[1:] == (None, None)
    assert _found(b"", _agard("<", pixel=2.5), 3, 2, 13)[2] == 2.5
    only_tilts = TILTS.astype("<f4").tobytes()
    assert _found(b"", only_tilts, 3, 0, 1) == (TILTS.tolist(), None, None)
    assert _found(b"", bytes(500), 3, 2, 13) == EMPTY
    assert _found(b"", np.full(45, 1e9, "<f4").tobytes(), 3, 2, 13)[0] is None


@pytest.mark.parametrize("exttyp", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_fei_records(exttyp: bytes, order: str) -> None:
    records = _fei_records(exttyp, order)
    extended = records.tobytes() + bytes(64)
    tilts, axis_deg, pixel = _found(exttyp, extended, 3, 0, 0, byte_order=order)
    assert tilts == TILTS.tolist()
    assert axis_deg == -84.5
    assert pixel == pytest.approx(1.25)
    assert _found(exttyp, extended, 4, 0, 0, byte_order=order) == EMPTY
    assert _found(exttyp, b"", 3, 0, 0, byte_order=order) == EMPTY


def test_fei_records_longer_than_known() -> None:
    """A later version may append fields: the record says how long it is."""
    records = _fei_records(b"FEI1", "<")
    records["Metadata size"] += 40
    extended = b"".join(record.tobytes() + b"\xff" * 40 for record in records)
    assert _found(b"FEI1", extended, 3, 0, 0)[0] == TILTS.tolist()


def test_fei_values_that_are_not_there_or_wrong() -> None:
    records = _fei_records(b"FEI1", "<")
    records["Bitmask 1"] = 1 << 14
    assert _found(b"FEI1", records.tobytes(), 3, 0, 0) == (None, None, pytest.approx(1.25))
    records = _fei_records(b"FEI1", "<")
    records["Alpha tilt"] = np.rad2deg(TILTS)
    records["Application version"] = b"4.4.0.4981"
    np.testing.assert_allclose(_found(b"FEI1", records.tobytes(), 3, 0, 0)[0], TILTS)


def test_other_kinds_tell_nothing() -> None:
    assert _found(b"CCP4", _agard("<"), 3, 2, 13) == EMPTY
    assert _found(b"MDOC", serialem_extended_header(TILTS)[0], 3, 2, 1) == EMPTY


def test_what_is_written_is_read() -> None:
    extended, nint, nreal = serialem_extended_header([*TILTS, -180.0, -0.004])
    assert len(extended) == 1024
    assert _found(b"SERI", extended, 5, nint, nreal) == ([*TILTS, -180.0, 0.0], None, None)
    assert len(serialem_extended_header(np.zeros(513))[0]) == 2048


@pytest.mark.parametrize("tilt", [330.0, np.nan])
def test_angle_that_does_not_fit_is_refused(tilt: float) -> None:
    with pytest.raises(DataError, match="do not fit"):
        serialem_extended_header([0.0, tilt])


@pytest.mark.parametrize("exttyp", [b"SERI", b""])
def test_imod_extracts_what_is_written(tmp_path: Path, exttyp: bytes) -> None:
    _write_mrc(tmp_path / "a.mrc", exttyp, *serialem_extended_header(TILTS))
    imod("extracttilts", tmp_path / "a.mrc", tmp_path / "a.tlt")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.tlt"), TILTS, atol=1e-9)


@pytest.mark.parametrize("label", ["Fei Company (c) Copyright 2003", "made by someone else"])
def test_imod_agrees_on_angles_axis_and_pixel(tmp_path: Path, label: str) -> None:
    extended = _agard("<", nint=0, nreal=32)
    _write_mrc(tmp_path / "a.mrc", b"AGAR", extended, 0, 32, label)
    tilts, axis_deg, pixel = _found(b"AGAR", extended, 3, 0, 32, first_label=label.encode())
    printed = imod("header", tmp_path / "a.mrc")
    assert f"Tilt axis rotation angle = {axis_deg:7.1f}" in printed
    assert float(printed.split("Pixel size in nanometers =")[1].split()[0]) * 10 == pytest.approx(pixel)
    imod("extracttilts", tmp_path / "a.mrc", tmp_path / "a.tlt")
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.tlt"), tilts, atol=1e-9)


def _fei_records(exttyp: bytes, order: str) -> np.ndarray:
    dtype = get_ext_header_dtype(exttyp, order)
    records = np.zeros(3, dtype)
    records["Metadata size"] = dtype.itemsize
    records["Bitmask 1"] = 1 << 7 | 1 << 12 | 1 << 14
    records["Alpha tilt"] = TILTS
    records["Tilt axis angle"] = 84.5
    records["Pixel size X"] = 1.25e-10
    return records
