"""A sample of `tests.fuzz`: damaged files are read, or refused in one line."""

import os
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

from etcli.core.errors import DataError
from etcli.io.hdf5_check import check_hdf5
from etcli.io.image_file import open_images
from tests.files import images, mrc_bytes
from tests.fuzz import check, is_finding, run
from tests.fuzz_seeds import Seed, digital_micrograph, seeds


@pytest.mark.parametrize("seed", seeds(), ids=lambda seed: f"{seed.kind}-{len(seed.content)}")
def test_the_good_files_are_read(seed: Seed, tmp_path: Path) -> None:
    """A seed that is refused itself would show nothing."""
    for name, content in {**seed.beside, seed.name: seed.content}.items():
        (tmp_path / name).write_bytes(content)
    seed.read(tmp_path / seed.name)


def test_damaged_files_are_no_internal_errors(tmp_path: Path) -> None:
    kinds = list(dict.fromkeys(seed.kind for seed in seeds()))
    counts = Counter(check(number, tmp_path, kinds) for number in range(40 * len(kinds)))
    assert not [result for result in counts if is_finding(result)]
    assert sum(number for result, number in counts.items() if result.endswith(": read")) > 4 * len(kinds)


def test_a_tiff_without_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 4, 5), np.uint8), photometric="minisblack", metadata=None)
    raw = bytearray(path.read_bytes())
    width = raw.index(b"\x00\x01\x04\x00\x01\x00\x00\x00\x05\x00\x00\x00")  # tag 256, one integer: 5
    raw[width + 8] = 0
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a\.tif: "):
        open_images(str(path))


def test_a_tiff_of_more_rows_than_the_file_holds_is_refused_at_once(tmp_path: Path) -> None:
    """Each missing row was looked for before, which took minutes."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, images(1), photometric="minisblack", metadata=None)
    raw = bytearray(path.read_bytes())
    height = raw.index(b"\x01\x01\x04\x00\x01\x00\x00\x00\x0c\x00\x00\x00")  # tag 257, one integer: 12
    raw[height + 11] = 2
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"a page of \d+ bytes in a file of \d+"):
        open_images(str(path))


def test_a_file_of_digital_micrograph_as_written_here_is_right(tmp_path: Path) -> None:
    pytest.importorskip("rsciio.digitalmicrograph", exc_type=ImportError)
    (tmp_path / "a.dm3").write_bytes(digital_micrograph(images(), 3))
    file = open_images(str(tmp_path / "a.dm3"))
    assert file.pixel_A == 2.5
    np.testing.assert_array_equal(file.data[:], images()[:, ::-1])


@pytest.mark.parametrize("trouble", ["end", "memory", "time"])
def test_the_end_of_a_process_is_a_finding(tmp_path: Path, monkeypatch, trouble: str) -> None:
    def read(path: Path) -> None:
        if trouble == "end":
            os._exit(3)
        elif trouble == "memory":
            np.ones(1 << 30)
        else:
            while True:
                pass

    monkeypatch.setattr("tests.fuzz.seeds", lambda: (Seed("x", "a.x", b"1", read),))
    monkeypatch.setattr("tests.fuzz._import_readers", lambda kinds: None)
    monkeypatch.setattr("tests.fuzz.SECONDS", 0.2)
    kept: list[int] = []
    counts = run(range(7, 8), ["x"], keep=lambda number, folder, result: kept.append(number))
    (result,) = counts
    assert is_finding(result)
    assert ("TOO SLOW" in result) == (trouble == "time")
    assert kept == [7]


def test_an_extended_header_longer_than_the_file_takes_no_memory(tmp_path: Path) -> None:
    raw = bytearray(mrc_bytes(images(), (10, 12, 4), 2))
    raw[92:96] = (0x7FFFFFFF).to_bytes(4, "little")
    (tmp_path / "a.mrc").write_bytes(raw)
    tracemalloc.start()
    with pytest.raises(DataError, match="extended header of 2147483647 bytes in a file of 2944"):
        open_images(str(tmp_path / "a.mrc"))
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


@pytest.mark.parametrize("trouble", ["crash", "loop"])
def test_hdf5_that_crashes_or_hangs_is_refused(tmp_path: Path, monkeypatch, trouble: str) -> None:
    """The library does both on some damaged files."""
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.emd"
    with h5py.File(path, "w") as file:
        file.attrs["version"] = 1

    def read(item: object) -> None:
        while trouble == "loop":
            pass
        os.abort()

    check_hdf5(path)
    monkeypatch.setattr("etcli.io.hdf5_check._read_attributes", read)
    monkeypatch.setattr("etcli.io.hdf5_check.SECONDS", 1)
    with pytest.raises(DataError, match="HDF5 cannot read its structure"):
        check_hdf5(path)
