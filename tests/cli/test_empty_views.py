"""Views that hold one value only, as those that were not recorded: named by every command that reads them."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.cli.test_recon_trust import TILTS, rod_views, write
from tests.files import etcli, failure, write_stack

TOLD = "{}: views 4,20 hold one value only, as if not recorded; leave out with stack --exclude"


@pytest.fixture
def series(tmp_path: Path) -> Path:
    views = rod_views() + np.random.default_rng(0).normal(0, 0.05, (len(TILTS), 24, 48))
    views[[3, 19]] = [[[0]], [[7]]]
    return write(tmp_path / "a.mrc", views)


@pytest.mark.parametrize("command", ["register", "tiltalign", "recon"])
def test_empty_views_are_named_with_the_remedy(command: str, series: Path, tmp_path: Path) -> None:
    how = ("--angle", 0) if command == "tiltalign" else ("--method", "stackreg") * (command == "register")
    said = etcli(command, *how, series, tmp_path / "out.mrc").err
    assert f"WARNING: {command} - {TOLD.format(series)}" in said
    etcli("stack", "--exclude", "4,20", series, tmp_path / "good.mrc")
    assert "one value only" not in etcli(command, *how, tmp_path / "good.mrc", tmp_path / "out.mrc").err


def test_moved_views_are_still_known_to_be_empty(series: Path, tmp_path: Path) -> None:
    """Filled borders hold another value."""
    (tmp_path / "shift.xf").write_text("1 0 0 1 3.5 -2.5\n" * len(TILTS))
    etcli("xform", "--xf", tmp_path / "shift.xf", series, tmp_path / "moved.mrc")
    moved = mrcfile.read(tmp_path / "moved.mrc")
    moved[3, :, :5] = 2
    write(tmp_path / "moved2.mrc", moved)
    said = etcli("recon", tmp_path / "moved2.mrc", tmp_path / "rec.mrc").err
    assert TOLD.format(tmp_path / "moved2.mrc") in said


def test_info_names_them(series: Path) -> None:
    assert "4,20 hold one value only" in etcli("info", series).out
    assert json.loads(etcli("info", "--json", series).out)["empty_views"] == [4, 20]


def test_a_specimen_beside_the_middle_is_no_doubt(tmp_path: Path) -> None:
    """Without noise the middle of all its views is zero."""
    views = np.zeros((len(TILTS), 24, 48), np.float32)
    views[:, 2:5, 20:28] = 3
    path = write(tmp_path / "a.mrc", views)
    assert "one value only" not in etcli("recon", path, tmp_path / "rec.mrc").err
    assert json.loads(etcli("info", "--json", path).out)["empty_views"] == []


def test_sections_of_a_volume_may_be_empty(tmp_path: Path) -> None:
    volume = np.zeros((9, 8, 8), np.float32)
    volume[3:] = np.random.default_rng(1).normal(size=(6, 8, 8))
    path = write_stack(tmp_path / "v.mrc", volume)
    assert json.loads(etcli("info", "--json", path).out)["empty_views"] == []


@pytest.mark.parametrize("exclude", ["1,2", "30,31"])
def test_views_are_numbered_as_in_the_file(exclude: str, series: Path, tmp_path: Path) -> None:
    """Also where some are left out: what is named is what --exclude takes."""
    views = mrcfile.read(series).copy()
    views[9, 11, 20] = 5000
    said = etcli("recon", "--exclude", exclude, write(tmp_path / "b.mrc", views), tmp_path / "rec.mrc").err
    assert TOLD.format(tmp_path / "b.mrc") in said
    assert "1 outlying pixel in view 10, such" in said and "column 21, row 12 of view 10;" in said
    path = write(tmp_path / "c.mrc", views)
    with mrcfile.mmap(path, "r+") as file:
        file.data[4, 11, 20] = np.nan
    assert "view 5" in failure("recon", "-q", "--exclude", exclude, path, tmp_path / "rec.mrc")


def test_most_views_may_be_empty(tmp_path: Path) -> None:
    """A view that holds one value everywhere is no matter of where the specimen is."""
    views = rod_views() + np.random.default_rng(0).normal(0, 0.05, (len(TILTS), 24, 48))
    views[2:24] = 7
    path = write(tmp_path / "a.mrc", views)
    told = "3-24 hold one value only, as if not recorded"
    assert f"{path}: views {told}" in etcli("recon", path, tmp_path / "rec.mrc").err
    assert told in etcli("info", path).out
    path = write(tmp_path / "b.mrc", np.full_like(views, 7))
    told = "all views hold one value only"
    assert f"{path}: {told}" in etcli("register", path, tmp_path / "r.mrc", status=None).err
    assert told in etcli("info", path).out


def test_strict_fails_on_them(series: Path, tmp_path: Path) -> None:
    line = failure("register", "-q", "--strict", series, tmp_path / "r.mrc")
    assert "4,20" in line
