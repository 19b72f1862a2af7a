"""Arrays that are kept beside an output under a key."""

from pathlib import Path
from typing import IO

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.io.keyed_folder import KeyedFolder


def test_what_is_kept_is_found_again_under_its_key_only(tmp_path: Path) -> None:
    folder = KeyedFolder(tmp_path / "a.resume", "key")
    assert len(folder) == 0 and not folder.holds("one") and not (tmp_path / "a.resume").exists()
    folder.keep("one", {"x": np.arange(3), "n": 7})
    folder.keep("two", {"x": np.zeros((2, 2))})
    folder.keep("one", {"x": np.arange(4), "n": 8})
    same = KeyedFolder(tmp_path / "a.resume", "key")
    assert len(same) == 2 and same.holds("one")
    assert same.load("one")["x"].tolist() == [0, 1, 2, 3] and int(same.load("one")["n"]) == 8
    other = KeyedFolder(tmp_path / "a.resume", "other")
    assert len(other) == 0 and not other.holds("one")
    assert len(same) == 2  # until something else is kept
    other.keep("three", {"x": [1.0]})
    assert sorted(path.name for path in (tmp_path / "a.resume").iterdir()) == ["key.txt", "three.npz"]
    other.remove()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = KeyedFolder(tmp_path / "a.resume", "key")
    folder.keep("one", {"x": np.arange(3)})

    def full(file: IO[bytes], **arrays: object) -> None:
        file.write(b"part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        folder.keep("one", {"x": np.arange(9)})
    assert sorted(path.name for path in (tmp_path / "a.resume").iterdir()) == ["key.txt", "one.npz"]
    assert folder.load("one")["x"].tolist() == [0, 1, 2]


def test_damage_and_strangers_are_refused(tmp_path: Path) -> None:
    folder = KeyedFolder(tmp_path / "a.resume", "key")
    folder.keep("one", {"x": np.arange(100)})
    path = tmp_path / "a.resume" / "one.npz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"one.npz: is damaged; remove it"):
        folder.load("one")
    (tmp_path / "b.resume").mkdir()
    with pytest.raises(DataError, match=r"b.resume: is no folder of kept work, which belongs there"):
        KeyedFolder(tmp_path / "b.resume", "key")
