"""A stack is opened with all that is known of it, and nothing bad gets past it."""

import numpy as np
import pytest

from etcli.core.errors import DataError, UsageError
from etcli.core.series import TiltSeries
from etcli.io.image_file import ImageFile, open_images
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import Tilts
from tests.files import TILT_DEG, images, mdoc_text, mrc_bytes, write_series, write_stack


def open_series(name: str, **how) -> TiltSeries:
    return open_images(name, **how).series()


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "a.mrc")


def test_knows_what_the_header_and_the_mdoc_say(series) -> None:
    stack = open_images(str(series))
    assert (len(stack), stack.data.shape, stack.mode, stack.pixel_A) == (4, (4, 12, 10), 2, 2.5)
    np.testing.assert_array_equal(stack.series().tilt_deg, TILT_DEG)
    assert stack.tilts.source == f"{series}.mdoc"
    assert stack.mdoc.tilt_axis.deg == 85.3
    assert stack.warnings == ()
    assert isinstance(stack.data[...], np.memmap)


def test_views_and_rows_are_float32_and_row_0_is_the_bottom(series) -> None:
    stack, data = open_series(str(series)), images()
    np.testing.assert_array_equal(stack.view(2), data[2])
    np.testing.assert_array_equal(stack.rows(np.arange(3, 7)), data[:, 3:7])
    assert stack.view(2).dtype == stack.rows(np.arange(3, 7)).dtype == np.float32


def test_selected_views_take_their_description_along(series) -> None:
    stack, data = open_series(str(series)).select([3, 1, 1]), images()
    assert stack.shape == (3, 12, 10)
    np.testing.assert_array_equal(stack.view(0), data[3])
    np.testing.assert_array_equal(stack.rows(np.arange(2)), data[[3, 1, 1], :2])
    np.testing.assert_array_equal(stack.rows(np.array([7, 2])), data[[3, 1, 1]][:, [7, 2]])
    np.testing.assert_array_equal(stack.images(), data[[3, 1, 1]])
    np.testing.assert_array_equal(stack.tilt_deg, [61.25, 0, 0])
    assert [section.get("Mark") for section in stack.description.sections] == ["m3", "m1", "m1"]
    again = stack.select([2, 0])
    np.testing.assert_array_equal(again.images(), data[[1, 3]])
    np.testing.assert_array_equal(again.tilt_deg, [0, 61.25])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_names_the_view_that_is_not_finite(value) -> None:
    data = images()
    data[2, 5, 5] = value
    stack = ImageFile("a.mrc", data).series()
    np.testing.assert_array_equal(stack.view(1), data[1])
    with pytest.raises(DataError, match=r"a\.mrc: NaN or infinite values in section 3;"):
        stack.view(2)
    with pytest.raises(DataError, match=r"a\.mrc: NaN or infinite values in section 3;"):
        stack.select([2]).view(0)
    stack.rows(np.arange(5))
    with pytest.raises(DataError, match=r"a\.mrc: NaN or infinite values in rows 5-6;"):
        stack.rows(np.arange(4, 6))


def test_refuses_fourier_transforms(tmp_path) -> None:
    path = tmp_path / "fft.mrc"
    path.write_bytes(mrc_bytes(images().astype("<c8"), (10, 12, 4), 4))
    stack = open_series(str(path))
    for read in (lambda: stack.view(0), lambda: stack.rows(np.arange(1)), stack.images):
        with pytest.raises(DataError, match=r"fft\.mrc: holds complex numbers"):
            read()


def test_big_endian_views_come_in_the_order_of_the_machine(tmp_path) -> None:
    path = tmp_path / "big.mrc"
    path.write_bytes(mrc_bytes(images().astype(">f4"), (10, 12, 4), 2, order=">"))
    view = open_series(str(path)).view(1)
    assert view.dtype.isnative
    np.testing.assert_array_equal(view, images()[1])


@pytest.mark.parametrize(("stated", "mdoc", "found"), [(1.0, 7.88, 7.88), (3.0, 7.88, 3.0), (0, 7.88, 7.88)])
def test_a_header_that_says_one_angstrom_says_nothing(tmp_path, stated, mdoc, found) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=stated))
    (tmp_path / "a.mrc.mdoc").write_text(mdoc_text([0], pixel_A=mdoc))
    assert open_images(str(path)).pixel_A == found


@pytest.mark.parametrize("order", ["<", ">"])
def test_extended_headers_are_read_in_their_byte_order(tmp_path, order) -> None:
    path = tmp_path / "bytes.mrc"
    tilts = np.array([-4000, 0, 2000, 6125], f"{order}i2")
    extended = {"exttyp": b"SERI", "extended": tilts.tobytes().ljust(1024, b"\0"), "counts": (2, 1)}
    path.write_bytes(mrc_bytes(bytes(480), (10, 12, 4), 0, order=order, **extended))
    stack = open_images(str(path))
    np.testing.assert_array_equal(stack.series().tilt_deg, TILT_DEG)
    assert stack.tilts.source == "the extended header"


def test_an_mdoc_in_the_extended_header_counts_as_one_beside(tmp_path) -> None:
    """A stream that was kept in a file."""
    text = mdoc_text(TILT_DEG).encode().ljust(4096, b"\0")
    path = tmp_path / "stream.mrc"
    path.write_bytes(mrc_bytes(images().astype("<f4"), (10, 12, 4), 2, exttyp=b"MDOC", extended=text))
    stack = open_images(str(path))
    assert stack.mdoc.dump() == mdoc_text(TILT_DEG).encode()
    np.testing.assert_array_equal(stack.series().tilt_deg, TILT_DEG)
    np.testing.assert_array_equal(stack.series().view(3), images()[3])


def test_pixels_that_are_not_square_are_doubted(tmp_path) -> None:
    content = bytearray(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, pixel_A=2))
    content[44:48] = np.float32(36).tobytes()
    (tmp_path / "a.mrc").write_bytes(content)
    (warning,) = open_images(str(tmp_path / "a.mrc")).warnings
    assert warning == f"{tmp_path / 'a.mrc'}: pixels of 2 x 3 Å are not square; the first counts"


def test_no_angles_is_an_error_only_when_they_are_needed(tmp_path) -> None:
    stack = open_images(str(write_stack(tmp_path / "a.mrc", images())))
    assert stack.tilts is None
    with pytest.raises(
        DataError, match=r"a\.mrc: no tilt angles \(looked for .*a\.tlt.*a\.mrc\.mdoc.*a\.rawtlt"
    ):
        _ = stack.series().tilt_deg


def test_a_description_that_does_not_fit_is_an_error_unless_angles_are_given(series, tmp_path) -> None:
    (tmp_path / "a.mrc.mdoc").write_text(mdoc_text(TILT_DEG[:3]))
    with pytest.raises(DataError, match=r"4 sections but .*a\.mrc\.mdoc lists 3 \(ZValue 3 absent\)"):
        open_images(str(series))
    assert open_series(str(series), without=[3]).select([0, 2]).tilt_deg.tolist() == [-40, 20]
    (tmp_path / "given").write_text("1\n2\n3\n4\n")
    stack = open_images(str(series), tilts_file=str(tmp_path / "given"))
    assert stack.series().tilt_deg.tolist() == [1, 2, 3, 4]
    assert stack.mdoc is None
    assert stack.warnings[0].endswith("; ignored")


def test_a_stream_is_refused_where_it_cannot_be_used() -> None:
    with pytest.raises(UsageError, match="only bin, filter, xform and stack take -"):
        open_images("-")


def test_a_folder_is_no_stack(tmp_path) -> None:
    with pytest.raises(DataError, match="is a folder; name an image file"):
        open_images(str(tmp_path))


def test_a_selection_needs_no_description() -> None:
    stack = ImageFile("a", images(), tilts=Tilts(np.arange(4.0), "test"), mdoc=Mdoc.empty(4)).series()
    assert stack.select([2]).tilt_deg.tolist() == [2]


def test_the_angles_of_a_series_are_not_those_of_the_volume_beside_it(tmp_path) -> None:
    """IMOD's names: tomo.st with tomo.mdoc and tomo.rawtlt, and the volume tomo.rec."""
    write_stack(tmp_path / "tomo.st", images())
    (tmp_path / "tomo.mdoc").write_text(mdoc_text(TILT_DEG))
    (tmp_path / "tomo.rawtlt").write_text("".join(f"{angle}\n" for angle in TILT_DEG))
    assert open_images(str(tmp_path / "tomo.st")).tilts is not None
    write_stack(tmp_path / "tomo.rec", images(9))
    volume = open_images(str(tmp_path / "tomo.rec"))
    assert volume.tilts is None and volume.mdoc is None and volume.warnings == ()
    with pytest.raises(DataError, match=r"tomo\.rec: 9 sections but 4 tilt angles in .*tomo\.rawtlt"):
        _ = volume.series().tilt_deg


def test_its_own_mdoc_must_fit(tmp_path) -> None:
    write_stack(tmp_path / "a.mrc", images(9))
    (tmp_path / "a.mrc.mdoc").write_text(mdoc_text(TILT_DEG))
    with pytest.raises(DataError, match=r"9 sections but .* lists 4"):
        open_images(str(tmp_path / "a.mrc"))


def test_a_volume_of_etcli_is_not_taken_for_a_series_of_as_many_views(tmp_path) -> None:
    labels = ["etcli recon 0.1: SIRT 30"]
    for name, ispg in (("volume.mrc", 1), ("series.mrc", 0)):
        raw = bytearray(mrc_bytes(images().astype("<f4"), (10, 12, 4), 2, labels=labels))
        raw[88:92] = ispg.to_bytes(4, "little")
        (tmp_path / name).write_bytes(raw)
        (tmp_path / name).with_suffix(".rawtlt").write_text("0\n1\n2\n3\n")
    assert open_images(str(tmp_path / "series.mrc")).tilts is not None
    assert open_images(str(tmp_path / "volume.mrc")).tilts is None


def test_serialem_tells_the_axis_in_a_label(tmp_path) -> None:
    title = "    Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2"
    for labels, axis_deg in (([title], 85.3), ([title, "etcli tiltalign 0.1: axis 85.30 deg"], None)):
        raw = mrc_bytes(images().astype("<f4"), (10, 12, 4), 2, labels=labels)
        (tmp_path / "a.mrc").write_bytes(raw)
        assert open_series(str(tmp_path / "a.mrc")).axis_deg == axis_deg


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (0, 0, 0)])
def test_columns_rows_and_sections_may_run_along_any_axes(tmp_path, axes) -> None:
    data = images(4)
    stored = data.transpose([3 - axis for axis in axes[::-1]]) if any(axes) else data
    raw = bytearray(mrc_bytes(np.ascontiguousarray(stored).astype("<f4"), stored.shape[::-1], 2))
    raw[64:76] = np.asarray(axes, "<i4").tobytes()
    (tmp_path / "a.mrc").write_bytes(raw)
    stack = open_series(str(tmp_path / "a.mrc"))
    np.testing.assert_array_equal(stack.images(), data)
    assert stack.shape == data.shape
