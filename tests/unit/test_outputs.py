"""Outputs appear whole and together, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from etcli.core.errors import DataError, UsageError
from etcli.io.outputs import Outputs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_appear_at_the_end_of_the_block(folder) -> None:
    with Outputs() as outputs:
        part = outputs.path("a.mrc")
        part.write_text("new")
        assert part.parent.samefile(folder)
        assert names(folder) == [part.name]
        assert part.name.startswith(".a.mrc.")
        assert part.name.endswith(".part")
    assert names(folder) == ["a.mrc"]
    assert Path("a.mrc").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_changes_when_the_block_fails(folder, error) -> None:
    Path("a.mrc").write_text("old")
    with pytest.raises(error), Outputs() as outputs:
        outputs.path("a.mrc").write_text("new")
        outputs.path("b.csv").write_text("new")
        raise error
    assert names(folder) == ["a.mrc"]
    assert Path("a.mrc").read_text() == "old"


def test_the_first_named_is_renamed_last(monkeypatch) -> None:
    renamed, replace = [], Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda part, target: renamed.append(target.name) or replace(part, target)
    )
    with Outputs() as outputs:
        for name in ("a.mrc", "a.mrc.mdoc", "a.csv"):
            outputs.path(name)
    assert renamed == ["a.csv", "a.mrc.mdoc", "a.mrc"]


def test_new_files_have_the_mode_of_the_mask_and_old_ones_keep_theirs(folder) -> None:
    Path("old").touch(0o640)
    Path("old").chmod(0o604)
    mask = os.umask(0o027)
    try:
        with Outputs() as outputs:
            outputs.path("old")
            outputs.path("new")
    finally:
        os.umask(mask)
    assert [oct(Path(name).stat().st_mode & 0o777) for name in ("old", "new")] == ["0o604", "0o640"]


def test_links_are_followed(folder) -> None:
    (folder / "far").mkdir()
    Path("link.mrc").symlink_to("far/a.mrc")
    with Outputs() as outputs:
        outputs.path("link.mrc").write_text("new")
    assert Path("link.mrc").is_symlink()
    assert names(folder / "far") == ["a.mrc"]


def test_existing_files_can_be_protected(folder) -> None:
    Path("a.mrc").write_text("old")
    with pytest.raises(UsageError, match=r"a\.mrc: exists; leave out --no-clobber"):
        Outputs(clobber=False).path("a.mrc")
    with Outputs(clobber=False) as outputs:
        outputs.path("b.mrc")
    assert names(folder) == ["a.mrc", "b.mrc"]


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("-", UsageError, "cannot write this to a stream; name a file"),
        (".", UsageError, "is a folder; name a file"),
        ("pipe", UsageError, "is not a regular file"),
        ("twice.mrc", UsageError, "named as output twice"),
        ("none/a.mrc", DataError, "none/a.mrc: no folder none; make it first"),
        ("twice.mrc/a.mrc", DataError, "no folder twice.mrc"),
    ],
)
def test_targets_that_cannot_be_files_are_refused_at_once(folder, target, kind, message) -> None:
    os.mkfifo("pipe")
    with Outputs() as outputs:
        outputs.path("twice.mrc")
        with pytest.raises(kind, match=message):
            outputs.path(target)
    assert names(folder) == ["pipe", "twice.mrc"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folders_may_be_closed(folder) -> None:
    (folder / "closed").mkdir(0o500)
    with pytest.raises(DataError, match=r"closed/a\.mrc: cannot write there \(Permission denied\)"):
        Outputs().path("closed/a.mrc")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_with_the_target(folder, number) -> None:
    with pytest.raises(DataError, match=rf"{folder}/a\.mrc: .*; write elsewhere"), Outputs() as outputs:
        outputs.path("a.mrc")
        raise OSError(number, os.strerror(number))
    assert names(folder) == []


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(FileNotFoundError), Outputs() as outputs:
        outputs.path("a.mrc")
        Path("none").read_text()
