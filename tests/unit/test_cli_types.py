import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcli.cli.types import (
    BACKGROUND,
    BOX,
    DEBYE_WALLER,
    DEFOCI,
    LENGTH_A,
    LENGTH_PX,
    MEMORY,
    REGION,
    VIEWS,
    ZONE,
    WordOrLengthType,
)
from etcli.core.errors import UsageError
from etcli.core.lengths import Length
from etcli.pipeline.view_selection import checked_list


def refused(kind: click.ParamType, text: str) -> str:
    with pytest.raises(click.UsageError) as caught:
        kind.convert(text, None, None)
    return caught.value.format_message()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1", (0,)),
        ("1,4-7,60", (0, 3, 4, 5, 6, 59)),
        (" 2 , 5 - 6 ", (1, 4, 5)),
        ("7-5", (6, 5, 4)),
        ("3-3,3", (2, 2)),
    ],
)
def test_view_lists_count_from_one(text: str, numbers: tuple[int, ...]) -> None:
    assert VIEWS.convert(text, None, None) == numbers
    assert VIEWS.convert(numbers, None, None) == numbers


@pytest.mark.parametrize(
    "text", ["", "0", "0-3", "5-0", "-2", "1-", "1,,2", "1;2", "a", "1.5", "3-4-5", "1-99999999", "9" * 5000]
)
def test_what_is_no_view_list_is_refused(text: str) -> None:
    assert "counted from 1" in refused(VIEWS, text)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=6))
def test_any_view_list_is_read_as_written(ranges: list[tuple[int, int]]) -> None:
    expected = [n - 1 for a, b in ranges for n in (range(a, b + 1) if a <= b else range(a, b - 1, -1))]
    text = ",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in ranges)
    assert list(VIEWS.convert(text, None, None)) == expected


def test_a_view_that_is_not_there_is_named_as_it_was_typed() -> None:
    assert checked_list((0, 6), 7, "view") == [0, 6]
    with pytest.raises(UsageError, match="slice 8 asked for, but there are 7"):
        checked_list((0, 7, 9), 7, "slice")


@pytest.mark.parametrize(
    ("text", "angstrom"),
    [
        ("4nm", 40),
        ("2.5A", 2.5),
        ("2.5Å", 2.5),
        ("0.03um", 300),
        ("-1.5nm", -15),
        (" 1e1 A ", 10),
        ("+.5A", 0.5),
    ],
)
def test_lengths_with_a_unit_mean_the_same_everywhere(text: str, angstrom: float) -> None:
    for kind in (LENGTH_A, LENGTH_PX):
        length = kind.convert(text, None, None)
        assert length.angstrom(2.0) == pytest.approx(angstrom)
        assert length.angstrom(None) == pytest.approx(angstrom)
        assert length.px(2.0) == pytest.approx(angstrom / 2)


def test_bare_lengths_have_the_unit_of_the_option() -> None:
    assert LENGTH_A.convert("120", None, None) == Length(120.0, "A")
    assert LENGTH_PX.convert("120", None, None) == Length(120.0, "px")
    assert LENGTH_A.convert("120px", None, None) == Length(120.0, "px")
    assert Length(3.0, "px").angstrom(2.5) == 7.5 and Length(3.0, "px").px(None) == 3.0


def test_a_length_that_needs_the_pixel_size_says_so() -> None:
    with pytest.raises(UsageError, match=r"pixel size .* not known; give lengths in px"):
        Length(4.0, "A").px(None)
    with pytest.raises(UsageError, match=r"pixel size .* not known; give lengths in A"):
        Length(4.0, "px").angstrom(None)


@pytest.mark.parametrize(
    "text", ["", "nm", "4 parsec", "1.2.3", "4 n m", "nan", "inf", "1e999px", "4,5", "--4"]
)
def test_what_is_no_length_is_refused(text: str) -> None:
    assert f"'{text}' is not a length" in refused(LENGTH_A, text)


@given(st.floats(-1e6, 1e6), st.sampled_from(["px", "A", "nm", "um", ""]), st.floats(0.01, 100))
def test_lengths_come_back(value: float, unit: str, pixel_A: float) -> None:
    length = LENGTH_A.convert(f"{value!r}{unit}", None, None)
    in_A = value * {"px": pixel_A, "A": 1, "": 1, "nm": 10, "um": 1e4}[unit]
    assert length.angstrom(pixel_A) == pytest.approx(in_A)
    assert length.px(pixel_A) * pixel_A == pytest.approx(in_A)


def test_a_region_includes_both_ends() -> None:
    region = REGION.convert("101-400,1-512", None, None)
    assert (region.columns, region.rows) == (slice(100, 400), slice(0, 512))
    assert REGION.convert(region, None, None) is region


@given(st.integers(1, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(0, 5000))
def test_regions_are_as_large_as_they_say(x: int, nx: int, y: int, ny: int) -> None:
    region = REGION.convert(f"{x}-{x + nx},{y}-{y + ny}", None, None)
    assert region.columns.stop - region.columns.start == nx + 1 and region.columns.start == x - 1
    assert region.rows.stop - region.rows.start == ny + 1 and region.rows.start == y - 1


@pytest.mark.parametrize(
    "text", ["", "1-2", "0-4,1-2", "5-4,1-2", "1-2,3-2", "1-2,3-4,5-6", "a-b,c-d", "1,2-3,4"]
)
def test_what_is_no_region_is_refused(text: str) -> None:
    assert "counted from 1" in refused(REGION, text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("500M", 500 << 20),
        ("8G", 8 << 30),
        ("8 GiB", 8 << 30),
        ("8gb", 8 << 30),
        ("1.5K", 1536),
        ("2T", 2 << 40),
    ],
)
def test_amounts_of_memory_are_binary(text: str, amount: int) -> None:
    assert MEMORY.convert(text, None, None) == amount


@pytest.mark.parametrize("text", ["", "G", "0", "0.5", "-1G", "1e3", "8X", "nan", "inf", "9" * 400 + "G"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    assert "not an amount of memory" in refused(MEMORY, text)


def test_a_background_is_a_word_or_a_number() -> None:
    assert [BACKGROUND.convert(text, None, None) for text in ("auto", "none", "-2.5")] == [
        "auto",
        "none",
        -2.5,
    ]
    assert isinstance(BACKGROUND.convert("3", None, None), float)
    for text in ("Auto", "nan", "inf", "", "12px"):
        assert "not auto, none or a number" in refused(BACKGROUND, text)


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("34.56,18.76,inf", (34.56, 18.76, float("inf"))),
        (" 3nm , 2A,inf", (30.0, 2.0, float("inf"))),
    ],
)
def test_a_box_has_three_widths(text: str, widths: tuple[float, ...]) -> None:
    assert BOX.convert(text, None, None) == pytest.approx(widths)
    assert BOX.convert(widths, None, None) == widths


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "three widths"),
        ("1,2", "three widths"),
        ("1,2,3,4", "three widths"),
        ("1,2,nan", "not a length"),
        ("1,2,-inf", "not a length"),
        ("1,-2,3", "no volume"),
        ("0,1,1", "no volume"),
    ],
)
def test_what_is_no_box_is_refused(text: str, message: str) -> None:
    assert message in refused(BOX, text)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("100", (1, 0, 0)),
        ("001", (0, 0, 1)),
        ("1-10", (1, -1, 0)),
        ("-1-1-1", (-1, -1, -1)),
        ("[110]", (1, 1, 0)),
        ("[1 -1 0]", (1, -1, 0)),
        ("1,1,12", (1, 1, 12)),
        (" 1, -10, 2 ", (1, -10, 2)),
    ],
)
def test_zone_axes(text: str, zone: tuple[int, int, int]) -> None:
    assert ZONE.convert(text, None, None) == zone
    assert ZONE.convert(zone, None, None) == zone


@pytest.mark.parametrize(
    "text", ["", "000", "0,0,0", "10", "1112", "1,1", "1,1,1,1", "a00", "1.500", "1--10", "1,,1"]
)
def test_what_is_no_zone_axis_is_refused(text: str) -> None:
    assert "is not a zone axis, such as 100, 1-10 or 1,1,12" in refused(ZONE, text)


@given(st.tuples(*[st.integers(-99, 99)] * 3).filter(any))
def test_any_zone_axis_is_read_as_written(zone: tuple[int, int, int]) -> None:
    assert ZONE.convert("{},{},{}".format(*zone), None, None) == zone
    if max(map(abs, zone)) < 10:
        assert ZONE.convert("".join(map(str, zone)), None, None) == zone


def test_words_or_lengths() -> None:
    kind = WordOrLengthType("A", "same", "different")
    assert kind.name == "same|different|length"
    assert kind.convert("same", None, None) == "same"
    assert kind.convert("0.05nm", None, None) == Length(0.5, "A")
    assert kind.convert("0.5", None, None) == Length(0.5, "A")
    assert kind.convert("2px", None, None) == Length(2.0, "px")
    assert "'some'" in refused(kind, "some")


def test_defoci_and_debye_waller_factors() -> None:
    assert DEFOCI.convert("0.02, -0.045,1e-1", None, None) == (0.02, -0.045, 0.1)
    assert "'0.02,,1' is not a list of defoci in µm" in refused(DEFOCI, "0.02,,1")
    assert "is not a list of defoci" in refused(DEFOCI, "inf")
    assert DEBYE_WALLER.convert("0.63", None, None) == 0.63
    assert DEBYE_WALLER.convert("Si:0.5, o:0", None, None) == {"Si": 0.5, "O": 0.0}
    for wrong in ("", "Si", "Si:0.5,0.6", "Si:-1", "O:inf", "nan"):
        assert "is not a factor of 0 or more" in refused(DEBYE_WALLER, wrong)
