"""Whatever an mdoc holds, nothing is lost and nothing else changes."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from etcli.core.errors import DataError
from etcli.io.mdoc import Mdoc

keys = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True).filter(
    lambda key: key not in ("T", "Montage")
)
values = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" \t\xa0\x85"), max_size=20
).map(str.strip)
pairs = st.dictionaries(keys, values, max_size=5)
eols = st.sampled_from(["\n", "\r\n"])
blanks = st.sampled_from(["", "  ", "\t"])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[str, str], list[str], dict[int, dict[str, str]]]:
    """A text with globals, titles and sections out of order, and what it says."""
    n_views = draw(st.integers(0, 5))
    numbers = draw(st.permutations(range(n_views)))
    head = draw(pairs)
    titles = draw(st.lists(values.filter(bool), max_size=3))
    views = {number: draw(pairs) for number in numbers}
    eol, trailing, spacing = draw(eols), draw(blanks), draw(st.sampled_from([" = ", "=", " =\t"]))

    def lines(of: dict[str, str]) -> list[str]:
        return [f"{key}{spacing}{value}{trailing}" for key, value in of.items()]

    text = lines(head)
    for title in titles:
        text += ["", f"[T = {title}]{trailing}"]
    for number, view in views.items():
        text += [
            *draw(st.sampled_from([[], [""], ["", " "]])),
            f"[ZValue = {number}]{trailing}",
            *lines(view),
        ]
    return eol.join(text) + draw(st.sampled_from(["", eol, eol + eol])), head, titles, views


@given(content=st.binary(max_size=300))
@example(content=b"[ZValue = 0]\r\na = 1\x85b\x0c\n\n[T = \xff\n = 3\n\r\n")
def test_any_bytes_come_back(content: bytes) -> None:
    try:
        mdoc = Mdoc.parse(content)
    except DataError:
        return
    assert mdoc.dump() == content


@given(document=documents())
def test_any_document_is_understood_and_comes_back(document) -> None:
    text, head, titles, views = document
    mdoc = Mdoc.parse(text.encode())
    assert mdoc.dump() == text.encode()
    assert mdoc.globals == head
    assert list(mdoc.titles) == titles
    assert {number: mdoc.section(number).values for number in mdoc.numbers} == views


@given(document=documents(), data=st.data())
def test_selection_moves_whole_sections(document, data) -> None:
    text, head, titles, views = document
    order = data.draw(st.lists(st.sampled_from(sorted(views)), max_size=6)) if views else []
    chosen = Mdoc.parse(Mdoc.parse(text.encode()).select(order).dump())
    assert [section.values for section in chosen.sections] == [views[number] for number in order]
    assert chosen.numbers == tuple(range(len(order)))
    assert (chosen.globals, list(chosen.titles)) == (head, titles)


@given(document=documents(), key=keys, value=values, title=values.filter(bool))
def test_edits_change_what_they_say_and_nothing_else(document, key: str, value: str, title: str) -> None:
    text, head, titles, views = document
    mdoc = Mdoc.parse(text.encode())
    given_values = [f"{value}{number}" for number in mdoc.numbers]
    edited = mdoc.with_value(key, value).with_view_values(key, given_values).with_title(title)
    written = Mdoc.parse(edited.dump())
    assert written.globals == head | {key: value}
    assert written.titles == (*titles, title)
    for number, given_value in zip(mdoc.numbers, given_values, strict=True):
        assert written.section(number).values == views[number] | {key: given_value}
        assert list(written.section(number).values) == list(views[number] | {key: given_value})


@given(
    st.lists(st.floats(-180, 180).map(lambda angle: round(angle, 4)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_angles_follow_their_view(tilt_deg: list[float], random) -> None:
    order = list(range(len(tilt_deg)))
    random.shuffle(order)
    mdoc = Mdoc.empty(len(tilt_deg)).with_view_values("TiltAngle", tilt_deg)
    np.testing.assert_allclose(mdoc.tilt_deg, tilt_deg, atol=1e-6)
    np.testing.assert_array_equal(mdoc.select(order).tilt_deg, mdoc.tilt_deg[order])
