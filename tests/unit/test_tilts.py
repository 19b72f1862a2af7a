"""Tilt files, and which source of angles counts."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.mdoc import Mdoc
from etcli.io.tilts import NoTiltsError, find_mdoc, find_tilts, read_tilts, write_tilts


def _write(path: Path, *tilt_deg: float) -> None:
    path.write_text("".join(f"{tilt}\n" for tilt in tilt_deg))


def _mdoc(*tilt_deg: float, name: str = "ts.mrc.mdoc") -> Mdoc:
    return Mdoc.empty(len(tilt_deg), name=name).with_view_values("TiltAngle", tilt_deg)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    return tmp_path / "ts_2.5A.mrc"


def test_free_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.rawtlt"
    path.write_bytes(b"\xef\xbb\xbf  -60.00\r\n# as acquired\r\n\r\n 1e1 # tenth\r\n+3.25")
    np.testing.assert_array_equal(read_tilts(path), [-60, 10, 3.25])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1\nabc\n", r"line 2: expected tilt angle, not 'abc'"),
        (b"1\n2 3\n", r"line 2: expected tilt angle, not '2 3'"),
        (b"1\n\n nan\n", r"line 3: expected tilt angle, not 'nan'"),
        (b"\x00\x01\xff", r"is binary, not text; give the right file"),
        (b"# nothing\n", r"empty; expected tilt angle"),
        (b"1\n-361\n", r"-361 is not a tilt angle"),
    ],
)
def test_damaged_files_are_named_with_their_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tlt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.tlt: {message}"):
        read_tilts(path)


@pytest.mark.parametrize(
    ("tilt_deg", "text"),
    [
        ([-60, -0.00001, 3.25], b" -60.00\n   0.00\n   3.25\n"),
        ([-60, 1.125], b" -60.000\n   1.125\n"),
        ([12.34567, 100], b"  12.3457\n 100.0000\n"),
        ([], b""),
    ],
)
def test_two_decimals_are_written_unless_more_are_needed(tmp_path: Path, tilt_deg, text: bytes) -> None:
    write_tilts(tmp_path / "a.tlt", tilt_deg)
    assert (tmp_path / "a.tlt").read_bytes() == text


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tilt_deg = np.random.default_rng(3).uniform(-80, 80, 50)
    write_tilts(tmp_path / "a.tlt", tilt_deg)
    np.testing.assert_allclose(read_tilts(tmp_path / "a.tlt"), tilt_deg, atol=5.1e-5)


def test_sources_count_in_their_order(stack: Path) -> None:
    """Take away the first choice again and again, and see the next one used."""
    named = stack.with_name("named.txt")
    files = [named, stack.with_name("ts_2.5A.tlt"), stack.with_name("ts_2.5A.rawtlt")]
    for number, file in enumerate(files, start=1):
        _write(file, number, number)
    mdoc, header = _mdoc(10, 10, name="ts_2.5A.mrc.mdoc"), np.array([20.0, 20.0])

    def find(**sources):
        return find_tilts(stack, n_sections=2, **sources)

    found = find(tilts_file=named, mdoc=mdoc, header_tilts=header)
    assert (found.tilt_deg.tolist(), found.source) == ([1, 1], str(named))
    found = find(mdoc=mdoc, header_tilts=header)
    assert (found.tilt_deg.tolist(), found.source) == ([2, 2], str(files[1]))
    files[1].unlink()
    found = find(mdoc=mdoc, header_tilts=header)
    assert (found.tilt_deg.tolist(), found.source) == ([10, 10], "ts_2.5A.mrc.mdoc")
    found = find(header_tilts=header)
    assert (found.tilt_deg.tolist(), found.source) == ([3, 3], str(files[2]))
    files[2].unlink()
    found = find(header_tilts=header)
    assert (found.tilt_deg.tolist(), found.source) == ([20, 20], "the extended header")
    assert found.warnings == []


def test_compressed_stacks_have_two_stems(tmp_path: Path) -> None:
    _write(tmp_path / "ts.tlt", 1, 2)
    assert find_tilts(tmp_path / "ts.mrc.gz", n_sections=2).source == str(tmp_path / "ts.tlt")


def test_mdoc_of_the_file_comes_before_that_of_the_stem(stack: Path) -> None:
    assert find_mdoc(stack) is None
    of_stem, of_file = stack.with_name("ts_2.5A.mdoc"), stack.with_name("ts_2.5A.mrc.mdoc")
    of_stem.touch()
    assert find_mdoc(stack) == of_stem
    of_file.touch()
    assert find_mdoc(stack) == of_file


def test_mdoc_angles_go_by_zvalue(stack: Path) -> None:
    mdoc = Mdoc.parse("[ZValue = 1]\nTiltAngle = 5\n[ZValue = 0]\nTiltAngle = -5\n")
    assert find_tilts(stack, n_sections=2, mdoc=mdoc).tilt_deg.tolist() == [-5, 5]


def test_several_sections_at_a_tilt_are_normal(stack: Path) -> None:
    mdoc = _mdoc(3, 3, 3, -3, -3, -3)
    assert find_tilts(stack, n_sections=6, mdoc=mdoc).tilt_deg.tolist() == [3, 3, 3, -3, -3, -3]


def test_sources_that_disagree_give_a_warning(stack: Path) -> None:
    _write(stack.with_name("ts_2.5A.tlt"), -60, 0, 60.04)
    _write(stack.with_name("ts_2.5A.rawtlt"), -60, 0.07, 60)
    found = find_tilts(stack, n_sections=3, mdoc=_mdoc(-60, 0, 60), header_tilts=np.array([0.0, 0.0, 90.0]))
    assert found.tilt_deg.tolist() == [-60, 0, 60.04]
    rawtlt, header = found.warnings
    assert "ts_2.5A.rawtlt has 0.07° for section 2" in rawtlt
    assert rawtlt.endswith("ts_2.5A.tlt, which is used, has 0.00°")
    assert header.startswith("the extended header has 0.00° for section 1")


def test_a_source_that_is_not_needed_may_be_damaged(stack: Path) -> None:
    _write(stack.with_name("ts_2.5A.tlt"), -60, 0)
    _write(stack.with_name("ts_2.5A.rawtlt"), -60)
    found = find_tilts(stack, n_sections=2, mdoc=_mdoc(1, 2, 3))
    assert found.tilt_deg.tolist() == [-60, 0]
    assert [warning.count("not used") for warning in found.warnings] == [1, 1]


def test_count_that_differs_names_both_counts(stack: Path) -> None:
    _write(stack.with_name("ts_2.5A.tlt"), -60, 0, 60)
    with pytest.raises(DataError, match=r"ts_2\.5A\.mrc: 2 sections but 3 tilt angles in .*ts_2\.5A\.tlt"):
        find_tilts(stack, n_sections=2)


def test_nothing_found_names_what_was_looked_for(stack: Path) -> None:
    with pytest.raises(NoTiltsError) as caught:
        find_tilts(stack, n_sections=2, mdoc=Mdoc.empty(2))
    names = [stack.with_name(f"ts_2.5A.{ending}") for ending in ("tlt", "mrc.mdoc", "mdoc", "rawtlt")]
    assert f"looked for {', '.join(map(str, names))} and in the extended header" in str(caught.value)
    with pytest.raises(
        DataError, match=r"-: no tilt angles \(looked for an mdoc and in the extended header\)"
    ):
        find_tilts(None, n_sections=2)


def test_view_without_an_angle_matters_only_when_it_is_needed(stack: Path) -> None:
    mdoc = Mdoc.parse("[ZValue = 0]\nTiltAngle = 1\n[ZValue = 1]\n[ZValue = 3]\nTiltAngle = 4\n", name="m")
    found = find_tilts(stack, n_sections=4, mdoc=mdoc, views=[3, 0], header_tilts=np.arange(1.0, 5.0))
    np.testing.assert_array_equal(found.tilt_deg, [1, np.nan, np.nan, 4])
    assert found.warnings == []
    with pytest.raises(DataError, match=r"m: no TiltAngle in \[ZValue = 1\]; use --tilts or --exclude 2"):
        find_tilts(stack, n_sections=4, mdoc=mdoc, views=[0, 1, 3])
    with pytest.raises(DataError, match=r"4 sections but m lists 3 \(ZValue 2 absent\)"):
        find_tilts(stack, n_sections=4, mdoc=mdoc)
