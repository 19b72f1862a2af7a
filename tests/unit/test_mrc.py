"""MRC files as microscopes and IMOD write them, put together byte by byte."""

import bz2
import gzip

import mrcfile
import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.mrc import add_label, open_mrc
from tests.files import IMOD_STAMP, mrc_bytes

SIZE = (4, 3, 2)
NUMBERS = np.arange(-12, 12).reshape(SIZE[::-1])


@pytest.fixture
def opened(tmp_path):
    def open_bytes(content: bytes):
        path = tmp_path / "a.mrc"
        path.write_bytes(content)
        return open_mrc(path)

    return open_bytes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("mode", "kind"), [(1, "i2"), (2, "f4"), (4, "c8"), (6, "u2"), (12, "f2")], ids=str)
def test_reads_every_mode_in_either_byte_order(opened, mode, kind, order) -> None:
    values = NUMBERS + (12 if mode == 6 else 1j if mode == 4 else 0)
    header, data = opened(mrc_bytes(values.astype(order + kind), SIZE, mode, order=order, pixel_A=3.5))
    np.testing.assert_array_equal(data, values)
    assert (header.mode, header.byteorder, header.pixel_A) == (mode, order, (3.5, 3.5, 3.5))
    assert header.warnings == ()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nx", [256, 3840, 4096])
def test_bytes_of_round_sizes_tell_their_byte_order(opened, nx, order) -> None:
    """Mode 0 is 0 in either order, and 256 becomes 65536, no impossible width."""
    header, data = opened(mrc_bytes(bytes(nx * 256), (nx, 256, 1), 0, order=order))
    assert (header.size, header.byteorder) == ((nx, 256, 1), order)
    assert data.shape == (1, 256, nx)


@pytest.mark.parametrize("identifier", [b"MAP ", b"MAP\0", b""])
@pytest.mark.parametrize("machst", [b"DD\0\0", b"D\0\0\0", b"D   ", b"DA\0\0", b"\0\0\0\0", b"\x11\x11\0\0"])
def test_takes_any_stamp_without_a_word(opened, identifier, machst) -> None:
    content = mrc_bytes(NUMBERS.astype("<i2"), SIZE, 1, identifier=identifier, machst=machst)
    header, data = opened(content)
    np.testing.assert_array_equal(data, NUMBERS)
    assert header.warnings == ()


def test_warns_of_another_identifier(opened) -> None:
    header, _ = opened(mrc_bytes(NUMBERS.astype("<i2"), SIZE, 1, identifier=b"PAM "))
    assert header.warnings == ("no MAP identifier",)


BYTES = bytes((0, 1, 127, 128, 200, 255))


@pytest.mark.parametrize(
    ("stamp", "flags", "span", "signed", "doubtful"),
    [
        (IMOD_STAMP, 0, (-128, 127), False, False),
        (IMOD_STAMP, 1, (0, 255), True, False),
        (IMOD_STAMP, 5, (0, 255), True, False),
        (0, 1, (-128, 127), True, True),
        (0, 0, (-3, 12), True, True),
        (0, 0, (0, 255), False, True),
        (0, 0, (-60, 200), False, True),
        (0, 0, (-100, 150), True, True),
        (0, 0, (0, -1), True, True),
        (0, 0, (0, 127), True, False),
    ],
)
def test_bytes_are_signed_by_imods_stamp_or_by_their_range(
    opened, stamp, flags, span, signed, doubtful
) -> None:
    header, data = opened(mrc_bytes(BYTES, (6, 1, 1), 0, stamp=stamp, flags=flags, span=span))
    np.testing.assert_array_equal(data[0, 0], np.frombuffer(BYTES, "i1" if signed else "u1"))
    assert bool(header.warnings) == doubtful
    if doubtful:
        assert header.warnings[0].endswith("read as signed" if signed else "read as unsigned")


def test_unpacks_four_bits_low_nibble_first(opened) -> None:
    _, data = opened(mrc_bytes(bytes((0x21, 0xF3, 0x54, 0x06)), (3, 2, 1), 101))
    np.testing.assert_array_equal(data, [[[1, 2, 3], [4, 5, 6]]])


@pytest.mark.parametrize(("mode", "name"), [(3, "complex integers"), (16, "colours")])
def test_refuses_what_it_cannot_read(opened, mode, name) -> None:
    with pytest.raises(DataError, match=rf"a\.mrc: mode {mode} \({name}\) is not read; convert"):
        opened(mrc_bytes(bytes(96), SIZE, mode))


@pytest.mark.parametrize("order", ["<", ">"])
def test_keeps_the_extended_header_apart(opened, order) -> None:
    extended = bytes(range(48))
    header, data = opened(
        mrc_bytes(
            NUMBERS.astype(f"{order}i2"),
            SIZE,
            1,
            order=order,
            exttyp=b"SERI",
            extended=extended,
            counts=(24, 33),
        )
    )
    np.testing.assert_array_equal(data, NUMBERS)
    assert (header.exttyp, header.extended, header.extended_counts) == (b"SERI", extended, (24, 33))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_unpacks_gzip_and_bzip2_whatever_the_name(opened, pack) -> None:
    _, data = opened(pack(mrc_bytes(NUMBERS.astype("<f4"), SIZE, 2)))
    np.testing.assert_array_equal(data, NUMBERS)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:30] + b"\x55\xaa" * 8 + b[46:]])
def test_tells_damaged_archives(opened, pack, damage) -> None:
    packed = pack(mrc_bytes(np.random.default_rng(1).bytes(400), (10, 10, 1), 2))
    with pytest.raises(DataError, match=r"a\.mrc: compressed data is damaged .*; copy the file again"):
        opened(damage(packed))


def test_reads_no_data_at_opening(tmp_path) -> None:
    """A stack of 20 GB, most of it a hole, opens at once; what is read is what is there."""
    path, size = tmp_path / "large.mrc", (4096, 4096, 320)
    path.write_bytes(mrc_bytes(np.arange(4, dtype="<f4"), size, 2))
    with path.open("r+b") as file:
        file.truncate(1024 + 4 * 4096 * 4096 * 320)
    _, data = open_mrc(path)
    assert isinstance(data, np.memmap)
    assert not data.flags.writeable
    assert data.shape == (320, 4096, 4096)
    np.testing.assert_array_equal(data[0, 0, :5], [0, 1, 2, 3, 0])


def test_a_single_section_stays_a_stack(tmp_path) -> None:
    path = tmp_path / "one.mrc"
    mrcfile.write(path, NUMBERS[0].astype(np.int16))
    assert mrcfile.read(path).ndim == 2
    assert open_mrc(path)[1].shape == (1, 3, 4)


def test_header_numbers_have_seven_digits(opened) -> None:
    header, _ = opened(mrc_bytes(NUMBERS.astype("<i2"), SIZE, 1, pixel_A=67.2, span=(-12, 11)))
    assert header.pixel_A == (67.2, 67.2, 67.2)
    assert header.statistics[:3] == (-12, 11, -0.5)


def test_pixel_size_is_the_cell_over_the_sampling(opened) -> None:
    data = NUMBERS.astype("<i2")
    assert opened(mrc_bytes(data, SIZE, 1, cells=(8, 8, 1), pixel_A=2))[0].pixel_A == (2, 2, 2)
    assert opened(mrc_bytes(data, SIZE, 1, cells=(4, 3, 0), pixel_A=2))[0].pixel_A == (2, 2, 2)
    assert opened(mrc_bytes(data, SIZE, 1, pixel_A=0))[0].pixel_A is None
    assert opened(mrc_bytes(data, SIZE, 1, cells=(0, 0, 0)))[0].pixel_A is None


@pytest.mark.parametrize(("stamp", "flags", "sign"), [(0, 0, 1), (IMOD_STAMP, 0, -1), (IMOD_STAMP, 4, 1)])
def test_imod_writes_origins_of_the_other_sign(opened, stamp, flags, sign) -> None:
    content = mrc_bytes(NUMBERS.astype("<i2"), SIZE, 1, stamp=stamp, flags=flags, origin=(5, -6, 0))
    assert opened(content)[0].origin_A == (5 * sign, -6 * sign, 0)


def test_labels_lose_their_padding_only(opened) -> None:
    labels = ("  Tilt axis angle = 1.0", "caf\xe9", "")
    assert opened(mrc_bytes(NUMBERS.astype("<i2"), SIZE, 1, labels=labels))[0].labels == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes are too few for an MRC header"),
        (bytes(1023), "1023 bytes are too few"),
        (b"PixelSpacing = 7.88\n" * 80, "not an MRC file"),
        (mrc_bytes(b"", (4, 0, 2), 2), "empty image of 4 x 0 x 2"),
        (mrc_bytes(b"", (4, 3, 0), 2), "empty image of 4 x 3 x 0"),
        (mrc_bytes(b"", (-4, 3, 2), 2), "not an MRC file"),
        (mrc_bytes(bytes(96), SIZE, 7), "not an MRC file, or one of an unknown mode"),
        (mrc_bytes(bytes(95), SIZE, 2), "truncated, 1119 bytes of the 1120 that 4 x 3 x 2 of mode 2 need"),
        (mrc_bytes(bytes(11), SIZE, 101), "truncated, 1035 bytes of the 1036"),
        (mrc_bytes(b"", SIZE, 2, extended=bytes(40)), "truncated"),
        (mrc_bytes(bytes(96), SIZE, 2)[:92] + b"\xff" * 4 + bytes(1024), "extended header of -1 bytes"),
    ],
)
def test_damage_is_told_with_its_numbers(opened, content, message) -> None:
    with pytest.raises(DataError, match=rf"a\.mrc: .*{message}"):
        opened(content)


def test_the_second_oldest_label_makes_room() -> None:
    labels = tuple(f"label {k}" for k in range(10))
    assert add_label(labels[:9], "new") == (*labels[:9], "new")
    assert add_label(labels, "new") == (labels[0], *labels[2:], "new")
    assert add_label((), "x" * 100) == ("x" * 80,)
