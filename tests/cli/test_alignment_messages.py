"""What register, tiltalign and stack say, so that the reader looks at the right cause."""

import json
from pathlib import Path

import numpy as np
import pytest

from etcli.core.errors import DataError
from etcli.pipeline.compared_part import small_part, small_part_blamed
from etcli.pipeline.view_selection import Region
from tests.cli.test_alignment_doubts import cluster, turned, write
from tests.files import etcli

AXIS_WORDS = "states no tilt axis"


def region(x: int, y: int, size: int) -> Region:
    return Region(slice(x, x + size), slice(y, y + size))


@pytest.mark.parametrize(
    ("size", "mask_size", "told"), [(32, 256, 32), (64, 256, 0), (256, 20, 20), (64, 40, 40)]
)
def test_a_part_that_is_too_small_is_told_with_the_size_it_needs(
    size: int, mask_size: int, told: int
) -> None:
    """Views of 256 px are binned by 4 first."""
    mask = np.zeros((256, 256), bool)
    mask[:mask_size, :mask_size] = True
    said = small_part(np.zeros((3, 256, 256)), region(0, 0, size), mask)
    if not told:
        assert said == ""
        return
    assert (
        f"the part to compare is {told} x {told} px, only {told // 4} x {told // 4} after the binning" in said
    )
    assert said.endswith("give 64 x 64 px or more")


def test_all_of_the_views_is_never_too_small() -> None:
    assert small_part(np.zeros((3, 10, 10)), None, None) == ""


def test_the_part_is_blamed_and_not_the_angles() -> None:
    with (
        pytest.raises(DataError, match=r"^too small, or leave --region and --mask out$"),
        small_part_blamed("too small"),
    ):
        raise DataError("are the tilt angles right?")
    with pytest.raises(DataError, match="tilt angles"), small_part_blamed(""):
        raise DataError("are the tilt angles right?")


def test_hot_pixels_do_not_hide_the_direction_of_the_axis(tmp_path: Path) -> None:
    """One of a million a view, at random places."""
    views, rng = turned(cluster()).copy(), np.random.default_rng(3)
    for view in views:
        view[rng.integers(view.shape[0]), rng.integers(view.shape[1])] = 1e6
    said = etcli("register", write(tmp_path, views), tmp_path / "out.mrc").err
    assert "outlying pixels" in said and "taken as --axis 90" in said


def test_few_views_are_told_once_that_the_axis_is_not_known(tmp_path: Path) -> None:
    etcli("stack", "--views", "10,15,20", write(tmp_path, cluster()), tmp_path / "few.mrc")
    said = etcli("register", tmp_path / "few.mrc", tmp_path / "out.mrc").err
    assert said.count(AXIS_WORDS) == 1


def test_a_crop_says_where_the_middle_of_before_is(tmp_path: Path) -> None:
    path = write(tmp_path, cluster(), axis_deg=0)
    nx = json.loads(etcli("info", "--json", path).out)["size"][0]
    said = etcli("stack", "--crop", f"11-{nx},1-30", path, tmp_path / "c.mrc").err
    assert "what was the middle of the views is now -5 px (-50 Å) along x " in said


def test_registered_crops_whose_axis_is_elsewhere_are_named(tmp_path: Path) -> None:
    """The whole series is 6 px off, so the header of the crop is wrong for it."""
    path = write(tmp_path, np.roll(cluster(), 6, axis=2), axis_deg=0)
    nx = json.loads(etcli("info", "--json", path).out)["size"][0]
    etcli("stack", "--crop", f"3-{nx},1-{nx}", path, tmp_path / "c.mrc")
    for method in ("com", "match"):
        said = etcli("register", "--method", method, tmp_path / "c.mrc", tmp_path / "out.mrc").err
        assert "px as their header says; use tiltalign before recon" in said
