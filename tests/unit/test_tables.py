"""Tables of numbers as CSV: what is written is read, and damage is named."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.tables import read_table, write_table


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


def test_what_is_written_is_read(path: Path) -> None:
    x, flag = np.array([1.5, -2e-7, np.nan, 123456789.0]), ["", "a, b", 'say "c"', "d"]
    write_table(path, {"x_A": x, "flag": flag, "n": np.arange(4)})
    found = read_table(path, needed=["n"], optional=["x_A", "y_A"])
    assert list(found) == ["x_A", "n"]
    np.testing.assert_allclose(found["x_A"], x, rtol=1e-8)
    np.testing.assert_array_equal(found["n"], [0, 1, 2, 3])


def test_tables_of_other_programs(path: Path) -> None:
    table(path, "\ufeff n , y,name\r\n\r\n1,2.5,a\r\n 2 ,-3e1,b\r\n\r\n")
    found = read_table(path, needed=["y", "n"])
    assert found["n"].tolist() == [1, 2] and found["y"].tolist() == [2.5, -30]


def test_optional_fields_may_be_empty(path: Path) -> None:
    found = read_table(table(path, "n,y\n1,\n2\n3,4\n"), needed=["n"], optional=["y"])
    np.testing.assert_array_equal(found["y"], [np.nan, np.nan, 4])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'n' in the header row; it has none"),
        ("a,b\n1,2\n", "no column 'n' in the header row; it has a, b"),
        ("n\n", "no rows below the header"),
        ("n,y\n1,2\n\nx,2\n", "line 4: n 'x' is not a number"),
        ("n,y\n,2\n", "line 2: n '' is not a number"),
        ("y,n\n1\n", "line 2: n '' is not a number"),
        ("n\nnan\n", "line 2: n 'nan' is not a number"),
        ("n\n1\ninf\n", "line 3: n 'inf' is not a number"),
        ("n,y\n1,two\n", "line 2: y 'two' is not a number"),
    ],
)
def test_damage_is_named(path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(table(path, text), needed=["n"], optional=["y"])
    assert str(caught.value) == f"{path}: {words}"


def test_what_is_no_text(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)
    with pytest.raises(DataError, match="no column 'n'"):
        read_table(path, needed=["n"])
