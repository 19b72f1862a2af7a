"""TIFF stores the top row first and MRC the bottom row: images must not come out mirrored."""

import numpy as np
import pytest
import tifffile

from etcli.core.errors import DataError
from etcli.io.mrc_writer import MrcLayout
from etcli.io.tiff import TiffWriter, read_tiff
from tests.files import images

GREY = {"photometric": "minisblack"}


def written(path, data: np.ndarray, **layout) -> np.ndarray:
    writer = TiffWriter(path, MrcLayout(data.shape, **layout))
    for z in reversed(range(len(data))):
        writer.write_section(z, data[z])
    writer.close()
    return tifffile.imread(path)


@pytest.mark.parametrize(("mode", "kind"), [(0, "u1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
def test_other_programs_find_the_last_row_first(tmp_path, mode, kind) -> None:
    data = images() // 8
    found = written(tmp_path / "a.tif", data, mode=mode)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, data[:, ::-1])


def test_row_0_is_the_bottom_when_read(tmp_path) -> None:
    data = images()
    tifffile.imwrite(tmp_path / "a.tif", data, **GREY)
    stack, *_ = read_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(stack, data[:, ::-1])


@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 1, 9), (3, 4, 3), (4, 3, 4), (70, 2, 2)])
def test_stacks_of_odd_shapes_come_back(tmp_path, shape) -> None:
    data = images(*shape)
    written(tmp_path / "a.tif", data)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif")[0], data)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib"},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 2},
        {"tile": (16, 16)},
    ],
)
def test_reads_what_other_programs_write(tmp_path, how) -> None:
    data = images(3, 21, 18)
    tifffile.imwrite(tmp_path / "a.tif", data, **GREY, **how)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif")[0], data[:, ::-1])


def test_a_single_image_is_a_stack_of_one(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", images(1)[0], **GREY)
    assert read_tiff(tmp_path / "a.tif")[0].shape == (1, 12, 10)


def test_plain_data_is_mapped_not_read(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", images(), **GREY)
    assert isinstance(read_tiff(tmp_path / "a.tif")[0], np.memmap)


def test_rows_of_all_views_go_where_they_belong(tmp_path) -> None:
    data = images(3, 8, 5)
    writer = TiffWriter(tmp_path / "a.tif", MrcLayout(data.shape))
    writer.write_rows(5, data[:, 5:8])
    writer.write_rows(0, data[1:, 0:2], z0=1)
    writer.write_rows(0, data[:1, 0:2])
    writer.write_rows(2, data[:, 2:5])
    writer.close()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), data[:, ::-1])


@pytest.mark.parametrize("pixel_A", [0.195, 1, 7.88, 67.2, 12345.6])
@pytest.mark.parametrize("mode", [2, 12])
def test_the_pixel_size_comes_back(tmp_path, pixel_A, mode) -> None:
    written(tmp_path / "a.tif", images(), pixel_A=(pixel_A,) * 3, mode=mode)
    assert read_tiff(tmp_path / "a.tif")[1] == pixel_A
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        pixels, unit = file.pages[0].tags["XResolution"].value, file.pages[0].tags["ResolutionUnit"].value
    # ImageJ takes pixels per nm from the same tag, and knows no float16
    per_unit = {tifffile.RESUNIT.NONE: 10 / pixel_A, tifffile.RESUNIT.CENTIMETER: 1e8 / pixel_A}
    assert unit == (tifffile.RESUNIT.NONE if mode == 2 else tifffile.RESUNIT.CENTIMETER)
    assert pixels[0] / pixels[1] == pytest.approx(per_unit[unit], rel=1e-7)


@pytest.mark.parametrize("mode", [0, 1, 2, 6])
@pytest.mark.parametrize("n", [1, 4])
def test_imagej_finds_slices_unit_and_spacing(tmp_path, mode, n) -> None:
    written(tmp_path / "a.tif", images(n) // 8, mode=mode, pixel_A=(5.0, 5.0, 12.5), volume=True)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        known = file.imagej_metadata
    assert (known["unit"], known["spacing"], known.get("slices", 1)) == ("nm", 1.25, n)
    written(tmp_path / "b.tif", images(n) // 8, mode=mode, pixel_A=(0.0, 0.0, 0.0))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert not {"unit", "spacing"} & set(file.imagej_metadata)


def test_large_files_have_the_large_form(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("etcli.io.tiff.LARGEST_CLASSIC", 100)
    data = images()
    written(tmp_path / "a.tif", data, pixel_A=(2.5,) * 3)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
    found, pixel_A, warnings = read_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(found, data)
    assert pixel_A == 2.5 and not warnings


@pytest.mark.parametrize(
    ("how", "pixel_A"),
    [
        ({"resolution": (2e6, 2e6), "resolutionunit": "CENTIMETER"}, 50),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (0, 0), "resolutionunit": "CENTIMETER"}, None),
        ({"imagej": True, "resolution": (0.5, 0.5), "metadata": {"unit": "nm"}}, 20),
        ({"imagej": True, "resolution": (400, 400), "metadata": {"unit": "\\u00B5m"}}, 25),
        ({"imagej": True, "resolution": (400, 400), "metadata": {"unit": "micron"}}, 25),
        ({"imagej": True, "resolution": (3, 3), "metadata": {"unit": "pixel"}}, None),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.00672, "PhysicalSizeXUnit": "µm"}}, 67.2),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3.5, "PhysicalSizeXUnit": "nm"}}, 35),
        ({"ome": True, "metadata": {"PhysicalSizeX": 3.5, "PhysicalSizeXUnit": "pixel"}}, None),
        ({"ome": True}, None),
        ({}, None),
    ],
)
def test_reads_the_pixel_size_of_others(tmp_path, how, pixel_A) -> None:
    tifffile.imwrite(tmp_path / "a.tif", images().astype("f4"), **GREY, **how)
    stack, found, _ = read_tiff(tmp_path / "a.tif")
    assert stack.shape == (4, 12, 10)
    assert found == pixel_A


def test_refuses_colours(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(DataError, match=r"a\.tif: TIFF of shape .* is no stack of grey images"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize("length", [6, 20, 300, 1000])
def test_tells_a_damaged_file_in_one_error(tmp_path, caplog, length) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, images(), **GREY)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"a\.tif: not a TIFF that can be read"):
        read_tiff(path)


def test_values_that_do_not_fit_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="do not fit mode 0"):
        written(tmp_path / "a.tif", images(), mode=0)
