"""``etcli compare`` of volumes of different size: their frames tell what they have in common, or a search."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from tests.files import etcli, failure, write_series, write_stack

SHAPE = (20, 30, 26)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Return a volume with a frame, v.mrc, whose crop c.mrc shows x 6-19, y 8-27 and z 4-15 of it."""
    monkeypatch.chdir(tmp_path)
    smooth = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(9, 30, 26)), (0, 1.5, 1.5))
    write_series(tmp_path / "s.mrc", 100 * smooth.astype(np.float32), np.linspace(-70, 70, 9), axis_deg=0)
    etcli("-q", "recon", "--iterations", 3, "--thickness", "20px", "s.mrc", "v.mrc")
    etcli("stack", "--views", "4-15", "--crop", "6-19,8-27", "v.mrc", "c.mrc")
    return mrcfile.read("v.mrc")


def numbers(*arguments: object) -> dict[str, object]:
    return json.loads(etcli("compare", "--json", "--metric", "nrmse", *arguments).out)


@pytest.mark.parametrize("options", [(), ("--align",)])
def test_a_crop_is_compared_with_its_part_of_the_whole(volume: np.ndarray, options: tuple[str]) -> None:
    run = etcli("compare", "--json", *options, "c.mrc", "v.mrc")
    found = json.loads(run.out)
    assert found["nrmse"] == 0 and found["part_b"] == {"x": [6, 19], "y": [8, 27], "z": [4, 15]}
    assert "all of c.mrc, and x 6-19, y 8-27, z 4-15 of v.mrc" in run.err
    assert numbers(*options, "v.mrc", "c.mrc")["part_a"] == found["part_b"]
    if options:
        assert [found[f"shift_{axis}_px"] for axis in "xyz"] == [0, 0, 0]


def test_the_order_of_axes_does_not_matter(volume: np.ndarray) -> None:
    etcli("-q", "recon", "--iterations", 3, "--thickness", "20px", "--orient", "imod", "s.mrc", "i.mrc")
    assert numbers("i.mrc", "c.mrc")["nrmse"] == 0
    etcli("stack", "--turn", "rotx90", "c.mrc", "t.mrc")
    assert numbers("t.mrc", "v.mrc")["nrmse"] == 0


def test_two_crops_are_compared_where_they_overlap(volume: np.ndarray) -> None:
    etcli("stack", "--views", "4-15", "--crop", "9-22,8-27", "v.mrc", "d.mrc")  # of the same size
    found = numbers("d.mrc", "c.mrc")
    assert found["nrmse"] == 0 and found["part_a"]["x"] == [1, 11] and found["part_b"]["x"] == [4, 14]
    etcli("stack", "--crop", "1-5,1-30", "v.mrc", "e.mrc")
    assert "lie beside each other along x" in failure("compare", "e.mrc", "c.mrc")


def test_what_is_displaced_in_its_frame_is_found(volume: np.ndarray) -> None:
    with mrcfile.open("v.mrc", "r+") as file:
        file.set_data(np.roll(volume, (1, -2, 3), (0, 1, 2)))
    found = numbers("--align", "c.mrc", "v.mrc")
    assert found["nrmse"] < 1e-6
    assert [found[f"shift_{axis}_px"] for axis in "xyz"] == pytest.approx([3, -2, 1], abs=1e-3)
    assert numbers("c.mrc", "v.mrc")["nrmse"] > 0.1


def test_files_without_frames_are_laid_over_each_other_by_a_search(volume: np.ndarray) -> None:
    write_stack(Path("whole.mrc"), volume)
    write_stack(Path("part.mrc"), 2 * volume[3:15, 7:27, 5:19] + 1)
    line = failure("compare", "part.mrc", "whole.mrc")
    assert "no frame tells where part.mrc and whole.mrc are: crop both to the same " in line
    found = numbers("--align", "--fit-scale", "part.mrc", "whole.mrc")
    assert found["nrmse"] < 1e-6 and found["part_b"] == {"x": [6, 19], "y": [8, 27], "z": [4, 15]}
    assert [found[f"shift_{axis}_px"] for axis in "xyz"] == pytest.approx([5, 7, 3], abs=1e-3)
    write_stack(Path("thick.mrc"), np.pad(volume[:, 3:], ((2, 2), (0, 0), (0, 0))))
    assert "crop both to the same " in failure("compare", "--align", "thick.mrc", "whole.mrc")
    write_stack(Path("fine.mrc"), volume[:5], 1.25)
    line = failure("compare", "--align", "fine.mrc", "whole.mrc")
    assert "bin the voxels of fine.mrc, 1.25 Å, to the 2.5 Å of whole.mrc" in line


def test_a_part_of_a_voxel_is_warned_of(volume: np.ndarray) -> None:
    etcli("-q", "recon", "--iterations", 3, "--thickness", "20px", "--z-offset", "2.4px", "s.mrc", "z.mrc")
    run = etcli("compare", "--metric", "nrmse", "z.mrc", "v.mrc")
    assert "WARNING: compare - z.mrc lies 0, 0, 0.4 voxels (x, y, z) from the voxels of v.mrc" in run.err
    assert "z 1-18 of z.mrc, and x 1-26, y 1-30, z 3-20 of v.mrc" in run.err


def test_a_series_is_told_from_a_volume(volume: np.ndarray) -> None:
    advice = "compare the series with the views of the volume: etcli project --tilts s.mrc v.mrc VIEWS.mrc"
    for files in (("s.mrc", "v.mrc"), ("v.mrc", "s.mrc")):
        line = failure("compare", *files)
        assert "s.mrc is a tilt series and v.mrc a volume; " in line and advice in line
    etcli("project", "--tilts", "s.mrc", "v.mrc", "VIEWS.mrc")
    assert numbers("VIEWS.mrc", "s.mrc")["nrmse"] > 0
    write_stack(Path("plain.mrc"), volume)
    assert "plain.mrc a volume, as it has no tilt angles" in failure("compare", "plain.mrc", "s.mrc")


def test_the_section_shown_goes_through_the_specimen_as_in_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.zeros((20, 30, 26), np.float32)
    volume[2:7, 10:20, 8:18] = 1
    files = [write_stack(tmp_path / f"{k}.mrc", volume * (1 + k / 10)) for k in range(2)]
    drawn: dict[str, str] = {}
    monkeypatch.setattr("etcli.plotting.images.side_by_side", lambda *images, **how: drawn.update(how))
    monkeypatch.setattr("etcli.plotting.style.save", lambda figure, path, **how: path.touch())
    etcli("compare", "--plot", tmp_path / "p.png", *files)
    assert drawn["title"] == "section 5 of 20"
