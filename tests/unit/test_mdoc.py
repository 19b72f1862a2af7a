"""The traps of SerialEM's mdocs, one by one."""

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.mdoc import Mdoc, axis_in_title, read_mdoc, windows_name

SERIES = b"""PixelSpacing = 7.88\r
Voltage = 300\r
Version = SerialEM Version 4.0.20 32-bit,  built Feb 17 2023  20:16:11\r
ImageFile = test0.mrc\r
\r
[T = SerialEM: Titan = best                  31-Mar-23  16:24:14    ]\r
\r
[T =     Tilt axis angle = 84.1, binning = 2  spot = 7  camera = 0  bidir = -20.0]\r
\r
[ZValue = 0]\r
TiltAngle = 10.5\r
StagePosition = -15.99 -8.5543\r
ExposureDose = 2\r
RotationAngle = 174.1\r
ChannelName =\r
SubFramePath = D:\\frames\\a = b.tif  \r
DateTime = 31-Mar-23  16:24:17\r
Defocus = -0.5\r
\r
[ZValue = 2]\r
TiltAngle = -20.25\r
ExposureDose = 4\r
DateTime = 31-Mar-23  16:24:10\r
\r
[ZValue = 1]\r
TiltAngle = 0\r
ExposureDose = 3\r
Defocus = abc\r
DateTime = 31-Mar-2023  16:24:20"""


@pytest.fixture
def series() -> Mdoc:
    return Mdoc.parse(SERIES, name="ts.mrc.mdoc")


def test_is_written_as_it_was_read(series: Mdoc) -> None:
    assert series.dump() == SERIES


def test_sections_go_by_zvalue_not_by_position(series: Mdoc) -> None:
    assert series.numbers == (0, 1, 2)
    assert series.section(1).get("ExposureDose") == "3"
    np.testing.assert_array_equal(series.tilt_deg, [10.5, 0.0, -20.25])


def test_numbers_are_nan_where_absent_or_malformed_and_only_the_latter_warn(series: Mdoc) -> None:
    np.testing.assert_array_equal(series.defocus_um, [-0.5, np.nan, np.nan])
    assert series.warnings == ["ts.mrc.mdoc: [ZValue = 1] Defocus = abc is not a number"]


def test_globals_titles_and_values_keep_their_text(series: Mdoc) -> None:
    assert list(series.globals) == ["PixelSpacing", "Voltage", "Version", "ImageFile"]
    assert series.titles[0] == "SerialEM: Titan = best                  31-Mar-23  16:24:14"
    assert series.titles[1].startswith("    Tilt axis angle = 84.1")
    assert series.section(0).get("ChannelName") == ""
    assert series.section(0).get("SubFramePath") == "D:\\frames\\a = b.tif"
    assert series.pixel_A == 7.88
    assert series.voltage_kv == 300
    assert series.bidir_deg == -20


def test_doses_add_up_in_the_order_of_time(series: Mdoc) -> None:
    np.testing.assert_array_equal(series.time_order, [2, 0, 1])
    np.testing.assert_array_equal(series.prior_dose_e_A2, [4, 6, 0])


def test_doses_add_up_in_the_order_of_zvalue_without_dates() -> None:
    mdoc = Mdoc.empty(3).with_view_values("ExposureDose", [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(mdoc.prior_dose_e_A2, [0, 1, 3])
    assert mdoc.with_view_values("ExposureDose", ["1", "", "4"]).prior_dose_e_A2 is None


def test_recorded_prior_dose_counts_unless_it_is_zero_throughout(series: Mdoc) -> None:
    recorded = series.with_view_values("PriorRecordDose", [7.0, 5.0, 0.0])
    np.testing.assert_array_equal(recorded.prior_dose_e_A2, [7, 5, 0])
    empty = series.with_view_values("PriorRecordDose", [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(empty.prior_dose_e_A2, [4, 6, 0])


@pytest.mark.parametrize(
    ("date", "valid"),
    [("30-Nov-15  15:21:38", True), ("30-nov-2015 15:21:38", True), ("31-Nov-15 15:21:38", False)],
)
def test_dates(date: str, valid: bool) -> None:
    mdoc = Mdoc.empty(1, name="m").with_view_values("DateTime", [date])
    assert mdoc.warnings == ([] if valid else [f"m: [ZValue = 0] DateTime = {date} is not a date"])


def test_two_digit_years_sort_with_four_digit_ones() -> None:
    dates = ["01-Jan-2024  00:00:00", "31-Dec-23  23:59:59", "01-Feb-24  00:00:00"]
    np.testing.assert_array_equal(Mdoc.empty(3).with_view_values("DateTime", dates).time_order, [1, 0, 2])


@pytest.mark.parametrize(
    ("head", "axis_deg"),
    [
        ("[T =     Tilt axis angle = 85.3, binning = 4  spot = 8  camera = 2]", 85.3),
        ("[T =     TiltAxisAngle = -91.81  Binning = 1  SpotSize = 7]", -91.81),
        ("T = Tilt axis angle = -4.5, binning = 1", -4.5),
        ("TiltAxisAngle = 4.9", 4.9),
        ("[T = Tilt axis angle = 80.0, binning = 1]\n[T = Tilt axis angle = 81.0, binning = 1]", 81.0),
    ],
)
def test_axis_in_the_head(head: str, axis_deg: float) -> None:
    axis = Mdoc.parse(f"{head}\n[ZValue = 0]\nRotationAngle = 30\n").tilt_axis
    assert axis is not None
    assert (axis.deg, axis.source) == (axis_deg, "title")


@pytest.mark.parametrize(("rotation", "axis_deg"), [(174.1, 84.1), (-92.8, 177.2), (0, -90), (30, -60)])
def test_axis_from_the_rotation_of_the_camera(rotation: float, axis_deg: float) -> None:
    axis = Mdoc.parse(f"[ZValue = 0]\n[ZValue = 1]\nRotationAngle = {rotation}\n").tilt_axis
    assert axis is not None
    assert axis.deg == pytest.approx(axis_deg)
    assert axis.source == "RotationAngle"


def test_axis_is_none_when_nothing_tells() -> None:
    assert Mdoc.parse("[T = Tilt axis]\n[ZValue = 0]\nTiltAngle = 3\n").tilt_axis is None
    assert axis_in_title("    Tilt axis angle = -90.0, binning = 2  spot = 7") == -90


def test_new_axis_replaces_the_number_in_the_title_only(series: Mdoc) -> None:
    changed = series.with_axis(-0.001)
    assert changed.dump() == SERIES.replace(b"angle = 84.1,", b"angle = 0.00,")


def test_new_axis_without_a_title_gets_the_title_that_programs_split_at_blanks() -> None:
    mdoc = Mdoc.parse("[ZValue = 0]\nSpotSize = 7\n").with_axis(84.1)
    assert mdoc.titles == ("    Tilt axis angle = 84.10, binning = 1  spot = 7  camera = 0",)
    assert mdoc.titles[0].split()[4] == "84.10,"


def test_latin_1_is_read_when_it_is_not_utf_8_and_goes_back_unchanged() -> None:
    content = "[T = Universität Müller \x85 5 µm]\r\n\r\n[ZValue = 0]\r\nTiltAngle = 1\r\n".encode("latin-1")
    mdoc = Mdoc.parse(content)
    assert mdoc.titles == ("Universität Müller \x85 5 µm",)
    assert mdoc.dump() == content
    assert "α".encode() in mdoc.with_title("α").dump()


def test_byte_order_mark() -> None:
    content = b"\xef\xbb\xbf[ZValue = 0]\nTiltAngle = 1\n"
    assert Mdoc.parse(content).tilt_deg == [1]
    assert Mdoc.parse(content).dump() == content


def test_select_takes_whole_sections_and_renumbers_them(series: Mdoc) -> None:
    head, first = SERIES.split(b"\r\n[ZValue = 0]")
    middle = b"TiltAngle = -20.25\r\nExposureDose = 4\r\nDateTime = 31-Mar-23  16:24:10\r\n"
    last = b"TiltAngle = 0\r\nExposureDose = 3\r\nDefocus = abc\r\nDateTime = 31-Mar-2023  16:24:20\r\n"
    expected = head + b"\r\n[ZValue = 0]\r\n" + last + b"\r\n[ZValue = 1]\r\n" + middle
    assert series.select([1, 2]).dump() == expected
    first = first[: first.index(b"\r\n[ZValue = 2]")]
    assert series.select(np.array([0])).dump() == head + b"\r\n[ZValue = 0]" + first


def test_select_of_an_absent_view_says_so(series: Mdoc) -> None:
    with pytest.raises(DataError, match=r"ts\.mrc\.mdoc: no section \[ZValue = 3\]; use --exclude 4"):
        series.select([3])


def test_titles_between_sections_survive_selection() -> None:
    mdoc = Mdoc.parse("[ZValue = 0]\nTiltAngle = 1\n[T = later]\n[ZValue = 1]\nTiltAngle = 2\n")
    assert mdoc.select([1]).dump() == b"[T = later]\n[ZValue = 0]\nTiltAngle = 2\n"


def test_setting_values_changes_those_lines_only(series: Mdoc) -> None:
    changed = (
        series.with_value("PixelSpacing", 15.76)
        .with_view_values("ChannelName", ["BF", "BF", "BF"])
        .with_value("DataMode", 2)
        .with_title("etcli 1.0: bin\n2")
    )
    text = changed.dump()
    lines = set(text.split(b"\r\n")) ^ set(SERIES.split(b"\r\n"))
    assert lines == {
        *(b"PixelSpacing = 7.88", b"PixelSpacing = 15.76", b"ChannelName =", b"ChannelName = BF"),
        *(b"DataMode = 2", b"[T = etcli 1.0: bin 2]"),
    }
    assert text.endswith(b"DateTime = 31-Mar-2023  16:24:20\r\nChannelName = BF\r\n")
    assert b"\r\nImageFile = test0.mrc\r\nDataMode = 2\r\n\r\n[T = " in text
    assert b"camera = 0  bidir = -20.0]\r\n\r\n[T = etcli 1.0: bin 2]\r\n\r\n[ZValue = 0]" in text
    assert series.dump() == SERIES


def test_values_are_set_where_they_are_read() -> None:
    twice = Mdoc.parse("Voltage = 200\n[T = a]\nVoltage = 300\n\n[ZValue = 0]\n")
    assert twice.voltage_kv == 300
    assert twice.with_value("Voltage", 80).voltage_kv == 80
    repeated = Mdoc.parse("[ZValue = 0]\nDefocus = 1\n[ZValue = 0]\nDefocus = 2\n\n \n")
    changed = repeated.with_view_values("Defocus", [3.0]).with_view_values("Binning", [4.0])
    assert changed.dump() == b"[ZValue = 0]\nDefocus = 1\n[ZValue = 0]\nDefocus = 3\nBinning = 4\n\n \n"


def test_values_are_written_as_serialem_does() -> None:
    section = Mdoc.empty(1).section(0)
    section = section.with_value("StagePosition", (1.5, -2.0)).with_value("ImageFile", "a\nb")
    section = section.with_value("TiltAngle", -0.0).with_value("ExposureDose", 38.8888889)
    assert section.lines[2:] == (
        *("StagePosition = 1.5 -2\n", "ImageFile = a b\n"),
        *("TiltAngle = 0\n", "ExposureDose = 38.8888889\n"),
    )


def test_empty_mdoc_has_a_section_a_view() -> None:
    mdoc = Mdoc.empty(2).with_value("PixelSpacing", 0.5).with_view_values("TiltAngle", [-60.0, 60.0])
    assert mdoc.dump() == (
        b"PixelSpacing = 0.5\n\n[ZValue = 0]\nTiltAngle = -60\n\n[ZValue = 1]\nTiltAngle = 60\n"
    )


def test_frame_sets_are_sections_and_become_those_of_a_stack() -> None:
    frame = (
        "T = SerialEM: Glacios   26-Oct-23  14:55:{}    \nVoltage = 200\n\n[FrameSet = 0]\nTiltAngle = {}\n"
    )
    mdocs = [Mdoc.parse(frame.format(45 + k, tilt)) for k, tilt in enumerate((0, 3, -3))]
    assert mdocs[0].globals == {"Voltage": "200"}
    joined = Mdoc.concatenate(mdocs)
    assert joined.titles == ("SerialEM: Glacios   26-Oct-23  14:55:45",)
    np.testing.assert_array_equal(joined.tilt_deg, [0, 3, -3])
    assert joined.dump().count(b"[ZValue = 2]\nTiltAngle = -3\n") == 1
    assert b"FrameSet" not in joined.dump()


def test_concatenation_keeps_a_different_title() -> None:
    first = Mdoc.parse("[T = one]\n[ZValue = 0]\nTiltAngle = 1")
    second = Mdoc.parse("[T = two]\n[T = one]\n[ZValue = 0]\nTiltAngle = 2\n")
    joined = Mdoc.concatenate([first, second, second])
    assert joined.titles == ("one", "two")
    np.testing.assert_array_equal(joined.tilt_deg, [1, 2, 2])
    assert joined.numbers == (0, 1, 2)


PIECES = "".join(
    f"[ZValue = {k}]\nPieceCoordinates = {x} 0 {z}\n"
    for k, (x, z) in enumerate([(0, 0), (14, 0), (0, 1), (14, 1)])
)


@pytest.mark.parametrize("content", ["[ZValue = 0]\n[MontSection = 0]\n", PIECES])
def test_montages_are_refused(content: str) -> None:
    with pytest.raises(DataError, match=r"a\.mdoc: montages are not supported; .* blendmont"):
        Mdoc.parse(content, name="a.mdoc")


@pytest.mark.parametrize("number", ["", "1.5", "-1", "x"])
def test_section_without_a_number_is_refused(number: str) -> None:
    with pytest.raises(DataError, match=r"a\.mdoc: line 2: \[ZValue = .*\] must be a whole number"):
        Mdoc.parse(f"\n[ZValue = {number}]\n", name="a.mdoc")


def _with_numbers(*numbers: int) -> Mdoc:
    return Mdoc.parse("".join(f"[ZValue = {n}]\nTiltAngle = {i}\n" for i, n in enumerate(numbers)), name="m")


def test_repeated_sections_are_taken_only_when_all_views_have_one() -> None:
    mdoc = _with_numbers(0, 1, 1, 2)
    mdoc.check_sections(3)
    np.testing.assert_array_equal(mdoc.tilt_deg, [0, 2, 3])
    assert mdoc.warnings == ["m: several sections [ZValue = 1]; the last one is used"]
    with pytest.raises(DataError, match=r"4 sections but m lists 4 \(ZValue 1 repeated, ZValue 3 absent\)"):
        mdoc.check_sections(4, views=[0, 1, 2])


def test_count_that_differs_from_the_sections_is_refused_by_name() -> None:
    mdoc = _with_numbers(*(n for n in range(41) if n != 17))
    with pytest.raises(DataError) as caught:
        mdoc.check_sections(41, stack="ts.mrc")
    assert str(caught.value) == (
        "ts.mrc: 41 sections but m lists 40 (ZValue 17 absent); use --tilts or --exclude 18"
    )
    mdoc.check_sections(41, views=[n for n in range(41) if n != 17])
    with pytest.raises(DataError, match=r"40 sections but m lists 40 \(ZValue 17 absent, ZValue 40 without"):
        mdoc.check_sections(40)


def test_file_is_read_under_its_name(tmp_path) -> None:
    path = tmp_path / "ts.mrc.mdoc"
    path.write_bytes(SERIES)
    assert read_mdoc(path).dump() == SERIES
    assert read_mdoc(path).name == str(path)


@pytest.mark.parametrize("path", [r"D:\frames\a b.tif", "/data/frames/a b.tif", r"..\x/a b.tif ", "a b.tif"])
def test_windows_name(path: str) -> None:
    assert windows_name(path) == "a b.tif"
