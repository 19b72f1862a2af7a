"""Series with several defoci a tilt: told from frames, refused where they make no sense, kept on the way."""

from pathlib import Path

import numpy as np
import pytest

import etcli
from tests.files import etcli as run
from tests.files import failure, images, mdoc_text, without_run, write_stack

TILT_DEG = [-40.0, -40.0, 0.0, 0.0, 40.0, 40.0]
DEFOCUS_UM = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]


@pytest.fixture
def focal(tmp_path: Path) -> Path:
    path = write_stack(tmp_path / "a.mrc", images(6))
    Path(f"{path}.mdoc").write_text(mdoc_text(TILT_DEG, axis_deg=0, defocus_um=DEFOCUS_UM))
    return path


def test_a_linear_reconstruction_refuses_several_defoci_a_tilt(focal: Path, tmp_path: Path) -> None:
    for given in ((), ("--exclude", "6"), ("--method", "fista")):
        line = failure("recon", "-q", "--background", "none", *given, focal, tmp_path / "v.mrc", status=2)
        assert line.startswith(f"ERROR: recon - {focal}: ") and line.endswith(
            "at several defoci, as at -40° views 1 (-1 µm), 2 (1 µm); a linear reconstruction takes one view "
            "a tilt, so choose with --views; phase contrast is for recon --method multislice"
        )
    assert not (tmp_path / "v.mrc").exists()


@pytest.mark.filterwarnings("ignore:.*3 tilt angles only", "ignore:.*explained better")
def test_views_that_are_chosen_are_taken(focal: Path, tmp_path: Path) -> None:
    how = ("recon", "-q", "--background", "none", "--iterations", 2)
    run(*how, "--views", "1,3,5", focal, tmp_path / "v.mrc")
    run(*how, "--exclude", "2,4,6", focal, tmp_path / "w.mrc")  # one defocus a tilt is left
    assert without_run(tmp_path / "v.mrc") == without_run(tmp_path / "w.mrc")
    run(*how, "--views", "1-6", focal, tmp_path / "v.mrc")  # on purpose
    result = etcli.reconstruct(etcli.read(focal).select([1, 3, 5]), iterations=2, background="none")
    assert result.volume.frame.n_views == 3
    with pytest.raises(etcli.UsageError, match="3 tilts at several defoci"):
        etcli.reconstruct(etcli.read(focal), background="none")


def test_defoci_of_a_file_count_more_than_the_mdoc_s(focal: Path, tmp_path: Path) -> None:
    same, other = tmp_path / "same.txt", tmp_path / "other.txt"
    same.write_text("-2\n" * 6)
    other.write_text("".join(f"{value}\n" for value in (-3, 1, 2, 3, 4, 5)))
    run(
        "recon", "-q", "--background", "none", "--defocus", same, "--iterations", 2, focal, tmp_path / "v.mrc"
    )
    run("stack", "--frames", "keep", "--defocus", other, focal, tmp_path / "s.mrc")
    found = etcli.read(tmp_path / "s.mrc").views
    assert found.defocus_um.tolist() == [-3, 1, 2, 3, 4, 5]
    run("stack", "--defocus", same, focal, tmp_path / "f.mrc")  # one defocus a tilt: frames
    assert len(etcli.read(tmp_path / "f.mrc")) == 3
    assert etcli.read(focal, defocus=other).views.defocus_um.tolist() == [-3, 1, 2, 3, 4, 5]
    same.write_text("-2\n" * 5)
    line = failure("recon", "-q", "--defocus", same, focal, tmp_path / "v.mrc")
    assert f"{same}: 5 defoci for the 6 views of {focal}; one per line is needed" in line
    line = failure("stack", "--defocus", other, focal, focal, tmp_path / "x.mrc", status=2)
    assert "--defocus goes with one INPUT" in line


def test_a_focal_series_is_known_for_one(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "f.mrc", images(3))
    Path(f"{path}.mdoc").write_text(mdoc_text([0.0] * 3, defocus_um=[-1, 0, 1]))
    views = etcli.read(path).views
    assert views.is_focal_series and views.groups() == [[0, 1, 2]]


def test_a_projection_has_no_defocus(tmp_path: Path) -> None:
    volume = etcli.Volume(np.ones((4, 6, 6), np.float32), pixel_A=2.0)
    assert etcli.project(volume, [0.0, 0.0, 10.0]).views.focal_groups() == []
