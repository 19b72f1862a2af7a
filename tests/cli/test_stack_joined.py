"""Doses, rotation centres and numbers of sections where several files become one series."""

from pathlib import Path

import numpy as np
import pytest

import etcli
from tests.files import etcli as run
from tests.files import failure, mdoc_text, write_stack

PIXEL_A = 10.0


def counted(path: Path, n: int, dose_e_A2: float = 100.0) -> Path:
    """Views of a file that counts its doses from 0."""
    write_stack(path, np.random.default_rng(n).random((n, 24, 32), np.float32), PIXEL_A)
    blocks = [f"[ZValue = {k}]\nTiltAngle = {3 * k}\nExposureDose = {dose_e_A2}\n" for k in range(n)]
    Path(f"{path}.mdoc").write_text(f"PixelSpacing = {PIXEL_A:g}\n\n" + "\n".join(blocks))
    return path


def test_doses_of_views_left_out_count_for_those_after_them(tmp_path: Path) -> None:
    first, second = counted(tmp_path / "a.mrc", 4), counted(tmp_path / "b.mrc", 3)
    for excluded, expected in ((1, [100, 200, 300, 400, 500, 600]), (3, [0, 100, 300, 400, 500, 600])):
        run("stack", "-q", "--exclude", excluded, first, second, tmp_path / "j.mrc")
        assert etcli.read(tmp_path / "j.mrc").views.prior_dose_e_A2.tolist() == expected
        (tmp_path / "j.mrc").unlink()


def test_files_that_were_cropped_otherwise_are_not_joined(tmp_path: Path) -> None:
    source = counted(tmp_path / "a.mrc", 4)
    run("stack", "-q", "--crop", "1-20,1-24", source, tmp_path / "left.mrc")
    run("stack", "-q", "--crop", "13-32,1-24", source, tmp_path / "right.mrc")
    line = failure("stack", "-q", tmp_path / "left.mrc", tmp_path / "right.mrc", tmp_path / "j.mrc")
    assert "12 px from where it is there; put the files together before the crop" in line


def test_a_crop_without_a_pixel_size_states_no_rotation_centre(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.mrc", np.random.default_rng(0).random((3, 24, 32), np.float32), 0)
    np.savetxt(tmp_path / "a.tlt", [-3, 0, 3])
    run("stack", "-q", "--crop", "5-20,1-24", tmp_path / "a.mrc", tmp_path / "c.mrc")
    assert "RotationCentre" not in (tmp_path / "c.mrc.mdoc").read_text()


@pytest.mark.parametrize("kind", ["FrameSet", "ZValue"])
def test_numbers_that_repeat_in_the_mdoc_of_a_session_lose_no_view(tmp_path: Path, kind: str) -> None:
    for k in range(2):
        write_stack(tmp_path / f"f{k}.mrc", np.random.default_rng(k).random((1, 24, 32), np.float32), PIXEL_A)
    blocks = [f"[{kind} = 0]\nTiltAngle = {k}\nSubFramePath = D:\\x\\f{k}.mrc\n" for k in range(2)]
    (tmp_path / "s.mdoc").write_text("\n".join(blocks))
    line = failure("stack", "-q", tmp_path / "s.mdoc", tmp_path / "o.mrc")
    assert "several sections have the number 0; number them from 0 in their order" in line


def test_an_mdoc_of_which_no_file_is_left(tmp_path: Path) -> None:
    write_stack(tmp_path / "f.mrc", np.random.default_rng(0).random((1, 24, 32), np.float32), PIXEL_A)
    (tmp_path / "s.mdoc").write_text("[ZValue = 0]\nTiltAngle = 1\nSubFramePath = f.mrc\n")
    line = failure("stack", "-q", "--exclude", 1, tmp_path / "s.mdoc", tmp_path / "o.mrc")
    assert "no view is left; exclude fewer" in line


def test_a_crop_keeps_its_centre_through_transforms_of_register_only(tmp_path: Path) -> None:
    run("simulate", "particle", "--size", 32, "--range", -60, 60, 10, "--drift", "1px", tmp_path / "a.mrc")
    run("stack", "-q", "--crop", "1-28,1-32", tmp_path / "a.mrc", tmp_path / "c.mrc")
    run(
        "register", "-q", "--axis", 0, "--write-xf", tmp_path / "r.xf", tmp_path / "c.mrc", tmp_path / "r.mrc"
    )
    run("xform", "-q", "--xf", tmp_path / "r.xf", tmp_path / "c.mrc", tmp_path / "x.mrc")
    assert etcli.read(tmp_path / "x.mrc").centre_A == etcli.read(tmp_path / "c.mrc").centre_A is not None
    (tmp_path / "r.xf.axis").unlink()
    said = run("xform", "--xf", tmp_path / "r.xf", tmp_path / "c.mrc", tmp_path / "y.mrc").err
    assert "was cropped, and whether the transforms bring the tilt axis to the middle is not known" in said
    assert etcli.read(tmp_path / "y.mrc").centre_A is None


def test_transforms_for_another_axis_are_doubted(tmp_path: Path) -> None:
    run("simulate", "particle", "--size", 32, "--range", -60, 60, 10, "--drift", "1px", tmp_path / "a.mrc")
    run(
        "register", "-q", "--axis", 0, "--write-xf", tmp_path / "r.xf", tmp_path / "a.mrc", tmp_path / "r.mrc"
    )
    same = run("xform", "--xf", tmp_path / "r.xf", tmp_path / "a.mrc", tmp_path / "x.mrc").err
    Path(f"{tmp_path / 'a.mrc'}.mdoc").write_text(mdoc_text(np.arange(-60, 61, 10), axis_deg=90))
    said = run("xform", "--xf", tmp_path / "r.xf", tmp_path / "a.mrc", tmp_path / "y.mrc").err
    assert "are they of the same series?" in said and "same series?" not in same


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_of_options_are_finite(tmp_path: Path, value: str) -> None:
    write_stack(tmp_path / "a.mrc", np.random.default_rng(0).random((3, 24, 32), np.float32), PIXEL_A)
    line = failure("view", "--step", value, tmp_path / "a.mrc", tmp_path / "a.gif", status=2)
    assert f"--step {value}: give a finite number" in line or "is not in the range" in line
