"""``etcli stack`` with the mdoc of a session that lists a file per exposure, and with angles for many."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from etcli.io import image_file, listed_files
from etcli.io.image_file import ImageFile, open_without_sidecars
from etcli.io.mdoc import read_mdoc
from tests.files import etcli, failure, images, write_stack

TILTS = (0.0, 3.0, -3.0, 6.0)


def about(path: Path) -> dict:
    return json.loads(etcli("-q", "info", "--json", path).out)


def session_text(*, folder: str = "X:\\\\server\\frames\\", ending: str = "tif", n_frames: int = 2) -> str:
    """An mdoc as Tomo5 and SerialEM write it, with the paths of the computer of the microscope."""
    head = "PixelSpacing = 1.5\nVoltage = 300\n\n[T = Tomo5]\n\n[T = TiltAxisAngle = -91.5  Binning = 1]\n\n"
    return head + "".join(
        f"[ZValue = {k}]\nTiltAngle = {tilt}\nExposureDose = 3\nSubFramePath = {folder}p_{k}.{ending}\n"
        f"NumSubFrames = {n_frames}\nDateTime = 08-Oct-2021  07:{39 + k}:08\n\n"
        for k, tilt in enumerate(TILTS)
    )


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Frames of four exposures, packed, in a folder of their own; the mdoc is elsewhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    for k in range(4):
        frames = np.stack([np.full((12, 10), 10 * k + j, np.uint8) for j in range(2)])
        tifffile.imwrite(tmp_path / f"frames/p_{k}.tif", frames, photometric="minisblack", compression="zlib")
    Path("session.mdoc").write_text(session_text())
    return tmp_path


def test_the_files_of_a_session_become_a_series(folder) -> None:
    """Frames are averaged, a view for each exposure, with the metadata of its section."""
    run = etcli("stack", "--frames", "frames", "--sort", "tilt", "session.mdoc", "s.mrc")
    assert "8 sections give 4 views: mean of frames" in run.err
    facts = about(Path("s.mrc"))
    assert (facts["tilt_deg"], facts["dose_e_A2"]) == ([-3, 0, 3, 6], [3] * 4)
    assert (facts["pixel_A"], facts["axis_deg"], facts["voltage_kv"]) == (1.5, -91.5, 300)
    assert mrcfile.read("s.mrc")[:, 0, 0].tolist() == [20.5, 0.5, 10.5, 30.5]
    assert facts["history"] == ["etcli stack 0.1: 4 views of 4 files, sorted by tilt"]
    etcli("stack", "--frames", "sum", "--frames", "frames", "session.mdoc", "t.mrc")
    assert mrcfile.read("t.mrc")[:, 0, 0].tolist() == [1, 21, 41, 61]


@pytest.mark.parametrize(("exclude", "lacking"), [("2", "[ZValue = 1]"), ("4", "")])
def test_an_exposure_of_unknown_dose_is_named(folder, exclude, lacking) -> None:
    """Where it is left out, but not if it was the last one."""
    sections = session_text().split("[ZValue")
    n = int(exclude)
    sections[n] = sections[n].replace("ExposureDose = 3\n", "")
    Path("session.mdoc").write_text("[ZValue".join(sections))
    said = etcli("stack", "--frames", "frames", "--exclude", exclude, "session.mdoc", "s.mrc").err
    told = f"WARNING: stack - session.mdoc: {lacking} states no dose, so that the doses before later views"
    assert (told in said) if lacking else ("states no dose" not in said)


def test_views_are_counted_as_the_mdoc_counts_them(folder) -> None:
    """Also where each has several frames; the file of an excluded view may be missing."""
    Path("frames/p_1.tif").unlink()
    etcli("stack", "--frames", "frames", "--exclude", "2", "session.mdoc", "s.mrc")
    assert about(Path("s.mrc"))["tilt_deg"] == [0, -3, 6]
    assert mrcfile.read("s.mrc")[:, 0, 0].tolist() == [0.5, 20.5, 30.5]


@pytest.mark.parametrize("listed", ["X:\\\\server\\frames\\", "/data/krios/", "frames\\", ""])
def test_files_are_found_beside_the_mdoc(folder, listed) -> None:
    Path("session.mdoc").write_text(session_text(folder=listed))
    for path in () if listed == "frames\\" else Path("frames").iterdir():
        path.rename(path.name)
    etcli("stack", "session.mdoc", "s.mrc")
    assert mrcfile.read("s.mrc")[:, 0, 0].tolist() == [0.5, 10.5, 20.5, 30.5]


def test_averages_of_another_program_keep_the_name_without_its_ending(folder) -> None:
    Path("session.mdoc").write_text(session_text(ending="eer", n_frames=400))
    Path("aligned").mkdir()
    for k in range(4):
        write_stack(Path(f"aligned/p_{k}.mrc"), np.full((1, 12, 10), k, np.float32), pixel_A=1.5)
    etcli("stack", "--frames", "aligned", "session.mdoc", "s.mrc")
    assert mrcfile.read("s.mrc")[:, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_missing_file_is_named(folder) -> None:
    Path("frames/p_2.tif").unlink()
    line = failure("stack", "--frames", "frames", "session.mdoc", "s.mrc")
    assert "session.mdoc: p_2.tif of [ZValue = 2] is missing (looked for in frames, .)" in line
    assert "--exclude 3" in line


def test_an_unfinished_file_is_named(folder) -> None:
    """With fewer frames than the mdoc counts, or cut off."""
    write_stack(Path("frames/p_1.mrc"), images(3))
    Path("frames/p_1.tif").unlink()
    Path("session.mdoc").write_text(session_text(n_frames=4))
    for k in (0, 2, 3):
        Path(f"frames/p_{k}.tif").unlink()
        write_stack(Path(f"frames/p_{k}.mrc"), images(4))
    line = failure("stack", "--frames", "frames", "session.mdoc", "s.mrc")
    assert "frames/p_1.mrc: 3 frames of 4 that session.mdoc counts" in line
    whole = Path("frames/p_0.mrc").read_bytes()
    Path("frames/p_1.mrc").write_bytes(whole[:-100])
    assert "frames/p_1.mrc: truncated" in failure("stack", "--frames", "frames", "session.mdoc", "s.mrc")
    Path("frames/p_1.mrc").write_bytes(b"")
    assert "frames/p_1.mrc: 0 bytes" in failure("stack", "--frames", "frames", "session.mdoc", "s.mrc")


def test_what_a_session_cannot_be(folder) -> None:
    Path("plain.mdoc").write_text("ImageFile = D:\\a.st\n\n[ZValue = 0]\nTiltAngle = 0\n")
    line = failure("stack", "plain.mdoc", "s.mrc")
    assert "plain.mdoc: lists no files, as it has no SubFramePath; give the images it describes, a.st" in line
    assert "session.mdoc: describes images; name the image file" in failure("recon", "session.mdoc", "s.mrc")
    Path("angles").write_text("0\n1\n2\n")
    line = failure("stack", "--tilts", "angles", "--frames", "frames", "session.mdoc", "s.mrc")
    assert "session.mdoc: 4 sections but 3 tilt angles in angles; give one per section" in line
    line = failure("stack", "--views", "5", "--frames", "frames", "session.mdoc", "s.mrc", status=2)
    assert "view 5 asked for, but there are 4" in line


def doses_before(path: str) -> list[float]:
    """Doses before each view, as the output's mdoc states or implies them."""
    return read_mdoc(Path(f"{path}.mdoc")).prior_dose_e_A2.tolist()


@pytest.mark.parametrize("choice", [("--exclude", "2"), ("--views", "1,3,4"), ("--views", "4,1,3")])
@pytest.mark.parametrize("has_times", [True, False])
def test_exposures_that_are_not_used_count_for_the_dose(folder, choice, has_times) -> None:
    """The specimen received them; their files need not be there. By time view 4 came first, then 1, 2, 3."""
    text = session_text().replace("07:42:08", "07:30:08")
    if not has_times:
        text = "\n".join(line for line in text.splitlines() if "DateTime" not in line)
    Path("session.mdoc").write_text(text)
    Path("frames/p_1.tif").unlink()
    etcli("stack", *choice, "--frames", "frames", "session.mdoc", "s.mrc")
    expected = {1: 3, 3: 9, 4: 0} if has_times else {1: 0, 3: 6, 4: 9}
    order = [1, 3, 4] if choice[1] == "2" else [int(one) for one in choice[1].split(",")]
    assert doses_before("s.mrc") == [expected[view] for view in order]


def test_one_view_of_a_session_has_the_dose_before_it(folder) -> None:
    etcli("stack", "--views", "3", "--frames", "frames", "session.mdoc", "s.mrc")
    assert doses_before("s.mrc") == [6]


def test_an_exposure_without_a_dose_cannot_count(folder) -> None:
    text = session_text().replace("TiltAngle = 3.0\nExposureDose = 3\n", "TiltAngle = 3.0\n")
    Path("session.mdoc").write_text(text)
    etcli("stack", "--exclude", "2", "--frames", "frames", "session.mdoc", "s.mrc")
    assert doses_before("s.mrc") == [0, 3, 6]


def test_views_of_two_sessions_count_what_is_not_used_of_both(folder) -> None:
    """The second one an hour later; the last view of the first, and the first one of the second are out."""
    Path("late.mdoc").write_text(session_text().replace("  07:", "  08:"))
    etcli("stack", "--exclude", "4,5", "--frames", "frames", "session.mdoc", "late.mdoc", "s.mrc")
    assert doses_before("s.mrc") == [0, 3, 6, 15, 18, 21]


def without_angles(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("TiltAngle"))


def test_a_session_without_angles_is_told_and_can_be_given_them(folder) -> None:
    Path("session.mdoc").write_text(without_angles(session_text()))
    run = etcli("stack", "--frames", "frames", "session.mdoc", "s.mrc")
    assert "WARNING: stack - session.mdoc: no TiltAngle in its sections" in run.err
    assert "give --tilts FILE" in run.err
    assert about(Path("s.mrc"))["tilt_deg"] is None
    Path("angles").write_text("0\n10\n-10\n20\n")
    run = etcli("stack", "--tilts", "angles", "--frames", "frames", "session.mdoc", "t.mrc")
    assert "WARNING" not in run.err
    assert about(Path("t.mrc"))["tilt_deg"] == [0, 10, -10, 20]


def test_given_angles_replace_those_of_a_session(folder) -> None:
    """With a warning about the difference, as for a series; one file for all exposures of two sessions."""
    Path("late.mdoc").write_text(without_angles(session_text()))
    Path("angles").write_text("0\n3\n-4\n6\n1\n2\n4\n5\n")
    given = ("--tilts", "angles", "--frames", "frames")
    run = etcli("stack", *given, "session.mdoc", "late.mdoc", "s.mrc")
    assert about(Path("s.mrc"))["tilt_deg"] == [0, 3, -4, 6, 1, 2, 4, 5]
    assert run.err.count("WARNING") == 1
    assert "-3.00°" in run.err


def test_the_same_doubt_about_many_files_is_told_once(folder) -> None:
    for k in range(4):
        Path(f"frames/p_{k}.tif").unlink()
        write_stack(Path(f"frames/p_{k}.mrc"), images(2), pixel_A=2)
    err = etcli("stack", "--frames", "frames", "session.mdoc", "s.mrc").err
    assert err.count("Å per pixel in its header") == 1
    assert "(and so of 3 more files)" in err


def test_the_mdoc_and_its_files_are_inputs(folder) -> None:
    for output in ("session.mdoc", "frames/p_1.tif"):
        before = Path(output).read_bytes()
        failure("-q", "stack", "--overwrite", "--frames", "frames", "session.mdoc", output, status=2)
        assert Path(output).read_bytes() == before


@pytest.fixture
def parts(tmp_path, monkeypatch) -> list[str]:
    """Three files of two sections without any angles."""
    monkeypatch.chdir(tmp_path)
    for k in range(3):
        write_stack(Path(f"{k}.mrc"), images(6)[2 * k : 2 * k + 2])
    return [f"{k}.mrc" for k in range(3)]


def test_one_angle_for_each_file(parts) -> None:
    Path("angles").write_text("0\n3\n-3\n")
    run = etcli("stack", "--tilts", "angles", *parts, "s.mrc")
    assert "6 sections give 3 views" in run.err
    assert about(Path("s.mrc"))["tilt_deg"] == [0, 3, -3]
    np.testing.assert_array_equal(mrcfile.read("s.mrc"), images(6).reshape(3, 2, 12, 10).mean(axis=1))


def test_one_angle_for_each_section_of_all_files(parts) -> None:
    Path("angles").write_text("0\n3\n-3\n6\n-6\n9\n")
    etcli("stack", "--tilts", "angles", *parts, "s.mrc")
    assert about(Path("s.mrc"))["tilt_deg"] == [0, 3, -3, 6, -6, 9]


def test_files_that_share_angles_are_opened_once(parts, monkeypatch) -> None:
    """A packed TIFF is read whole whenever it is opened."""
    opened = []

    def counted(path: Path, name: str) -> tuple[ImageFile, np.ndarray | None]:
        opened.append(name)
        return open_without_sidecars(path, name)

    for module in (image_file, listed_files):
        monkeypatch.setattr(module, "open_without_sidecars", counted)
    Path("angles").write_text("0\n3\n-3\n6\n-6\n9\n")
    etcli("stack", "--tilts", "angles", *parts, "s.mrc")
    assert opened == parts


def test_one_file_of_angles_for_each_file(parts) -> None:
    for k in range(3):
        Path(f"{k}.angles").write_text(f"{k}\n{k + 10}\n")
    given = [word for k in range(3) for word in ("--tilts", f"{k}.angles")]
    etcli("stack", *given, *parts, "s.mrc")
    assert about(Path("s.mrc"))["tilt_deg"] == [0, 10, 1, 11, 2, 12]


def test_angles_that_do_not_go_with_the_files(parts) -> None:
    Path("angles").write_text("0\n3\n-3\n6\n")
    line = failure("stack", "--tilts", "angles", *parts, "s.mrc", status=2)
    assert (
        "angles: 4 tilt angles for 3 INPUTs with 6 sections; give one per INPUT, or one per section" in line
    )
    line = failure("stack", "--tilts", "angles", "--tilts", "angles", *parts, "s.mrc", status=2)
    assert "--tilts is given 2 times for 3 INPUTs" in line
    line = failure("stack", "--tilts", "angles", parts[0], "s.mrc")
    assert "2 sections but 4 tilt angles in angles; give one per section" in line
    assert "--tilts" not in line
