"""What is wrong is told in one line, with the right status, and nothing is left behind."""

import gzip
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.files import earlier_output, etcli, failure, images, mrc_bytes, write_series

ETCLI = [sys.executable, "-m", "etcli"]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "good.mrc")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def damaged(kind: str) -> bytes:
    good, data = Path("good.mrc").read_bytes(), images()
    data[2, 3, 4] = {"nan": np.nan, "inf": np.inf}.get(kind, 0)
    return {
        "truncated": good[:-1],
        "headless": good[:1000],
        "empty": b"",
        "text": b"no image at all\n" * 100,
        "binary": bytes(range(256)) * 20,
        "sizeless": mrc_bytes(b"", (10, 0, 4), 2),
        "nan": mrc_bytes(data, (10, 12, 4), 2),
        "inf": mrc_bytes(data, (10, 12, 4), 2),
        "complex": mrc_bytes(data.astype("c8"), (10, 12, 4), 4),
        "colours": mrc_bytes(data, (10, 12, 4), 16),
        "tiff": b"II*\0" + bytes(90),
        "gzip": b"\x1f\x8b" + bytes(90),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "truncated, 2943 bytes of the 2944 that 10 x 12 x 4 of mode 2 need"),
        ("headless", "1000 bytes are too few for an MRC header"),
        ("empty", "0 bytes are too few for an MRC header"),
        ("text", "is a text file; name the file of the images"),
        ("binary", "not an MRC file"),
        ("sizeless", "empty image of 10 x 0 x 4"),
        ("nan", "NaN or infinite values in section 3"),
        ("inf", "NaN or infinite values in section 3"),
        ("complex", "holds complex numbers"),
        ("colours", "mode 16 (colours) is not read"),
        ("tiff", "not a TIFF that can be read"),
        ("gzip", "compressed data is damaged"),
    ],
)
@pytest.mark.parametrize("command", [("bin",), ("filter",), ("xform", "-q", "--xf", "a.xf"), ("stack",)])
def test_damaged_images(folder, command, kind, message) -> None:
    """Also when a good output is there from before."""
    Path("bad.mrc").write_bytes(damaged(kind))
    Path("a.xf").write_text("1 0 0 1 0.5 0\n" * 4)
    earlier_output(Path("out.mrc"))
    before = contents(folder)
    line = failure(*command, "bad.mrc", "out.mrc")
    assert line.startswith(f"ERROR: {command[0]} - bad.mrc: ")
    assert message in line
    assert contents(folder) == before


def test_too_few_angles(folder) -> None:
    Path("three").write_text("1\n2\n3\n")
    line = failure("stack", "--tilts", "three", "good.mrc", "out.mrc")
    assert line.startswith("ERROR: stack - good.mrc: 4 sections but 3 tilt angles in three")
    assert not Path("out.mrc").exists()


def test_files_of_different_sizes(folder) -> None:
    write_series(folder / "other.mrc", images(1, 12, 11), [5])
    line = failure("stack", "good.mrc", "other.mrc", "out.mrc")
    assert "other.mrc: images of 11 x 12, but good.mrc has 10 x 12" in line


@pytest.mark.parametrize(
    ("source", "message"), [("none.mrc", "none.mrc: no such file or directory"), (".", ".: is a folder")]
)
def test_inputs_that_are_no_files(folder, source, message) -> None:
    assert message in failure("bin", source, "out.mrc")
    assert not Path("out.mrc").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_input(folder) -> None:
    Path("good.mrc").chmod(0)
    assert "good.mrc: permission denied" in failure("bin", "good.mrc", "out.mrc")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another")
@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("closed.mrc", "b.mrc", "closed.mrc: permission denied"),
        ("a.mrc", "b.mrc", "b.mrc: cannot write there (Permission denied); write elsewhere"),
    ],
)
def test_permissions_of_another_user(source, target, message) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        write_series(folder / "a.mrc")
        shutil.copy(folder / "a.mrc", folder / "closed.mrc")
        (folder / "closed.mrc").chmod(0)
        before = contents(folder)
        other = ["setpriv", "--reuid=65534", "--clear-groups"]
        command = [*other, *ETCLI, "--version"]
        if subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False).returncode:
            pytest.skip("another user cannot reach the program where it is installed")
        command = [*other, *ETCLI, "bin", source, target]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert (run.returncode, run.stdout, run.stderr) == (1, "", f"ERROR: bin - {message}\n")
        assert contents(folder) == before


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("none/out.mrc", 1, "none/out.mrc: no folder none; make it first"),
        (".", 2, ".: is a folder; name a file to write"),
        ("/dev/null", 2, "/dev/null: is not a regular file"),
        ("out.mrc.gz", 2, "out.mrc.gz: images are not written as .gz; end the name in .mrc, .st, .ali, .rec"),
        ("out.DM3", 2, "out.DM3: images are not written as .dm3; end the name in .mrc"),
    ],
)
def test_outputs_that_can_be_no_files(folder, target, status, message) -> None:
    before = contents(folder)
    assert message in failure("bin", "good.mrc", target, status=status)
    assert contents(folder) == before


def test_an_output_may_be_protected(folder) -> None:
    old = earlier_output(Path("out.mrc"))
    for arguments in (("--no-clobber", "bin"), ("bin", "--no-clobber")):
        assert "out.mrc: exists" in failure(*arguments, "good.mrc", "out.mrc", status=2)
    assert Path("out.mrc").read_bytes() == old
    etcli("bin", "--no-clobber", "good.mrc", "new.mrc")
    etcli("bin", "good.mrc", "out.mrc")
    assert Path("out.mrc").read_bytes() == Path("new.mrc").read_bytes()


@pytest.mark.parametrize("how", ["same name", "another spelling", "symbolic link", "hard link"])
def test_an_output_that_is_an_input_is_refused(folder, how) -> None:
    """What is forgotten on a command line is the output, and the last input must not pay for it."""
    etcli("stack", "good.mrc", "a.mrc")  # etcli's own, which may be replaced otherwise
    if how == "symbolic link":
        Path("b.mrc").symlink_to("a.mrc")
    elif how == "hard link":
        Path("b.mrc").hardlink_to("a.mrc")
    target = {"same name": "a.mrc", "another spelling": "./../" + folder.name + "/a.mrc"}.get(how, "b.mrc")
    before = contents(folder)
    for command in (("bin",), ("stack", "--sort", "tilt", "good.mrc"), ("recon",), ("register",)):
        line = failure("-q", *command, "a.mrc", target, status=2)
        assert line == f"ERROR: {command[0]} - {target}: is an input; give this output a name of its own"
    assert contents(folder) == before


def test_a_description_that_is_an_input_is_not_replaced_either(folder) -> None:
    """good.mdoc describes good.mrc, and would be that of an output named good."""
    Path("good.mrc.mdoc").rename("good.mdoc")
    before = contents(folder)
    line = failure("stack", "good.mrc", "good", status=2)
    assert line.startswith("ERROR: stack - good.mdoc: is an input")
    assert contents(folder) == before


@pytest.mark.parametrize("kind", ["raw.mrc", "raw.mrc.mdoc", "raw.tif", "raw.st", "raw.dm3", "raw.mrc.gz"])
@pytest.mark.parametrize("role", ["output", "side"])
def test_what_etcli_did_not_write_is_raw_data(folder, kind, role) -> None:
    """It is replaced on purpose only, whatever it was taken for."""
    raw = Path(kind)
    if kind.endswith(".tif"):
        tifffile.imwrite(raw, images(1))
    elif kind.endswith(".mdoc"):
        raw.write_text("PixelSpacing = 2\n[ZValue = 0]\nTiltAngle = 1\n")
    elif kind.endswith(".gz"):
        raw.write_bytes(gzip.compress(Path("good.mrc").read_bytes()))
    else:
        raw.write_bytes(Path("good.mrc").read_bytes())
    before = contents(folder)
    target = kind.removesuffix(".mdoc")
    command = ("stack", "good.mrc", target)
    if role == "side":
        command = ("tiltalign", "--angle", "0", "--write-xf", kind, "good.mrc", "out.mrc")
    line = failure(*command, status=2)
    if role == "side":
        assert f"{kind}: transforms cannot be written as {raw.suffix}; end the name in .xf" in line
    elif not kind.endswith((".dm3", ".gz")):
        message = f"{kind}: exists and was not written by etcli; give OUTPUT another name, or --overwrite"
        assert message in line
    assert contents(folder) == before
    if role == "output" and not kind.endswith((".dm3", ".gz")):
        etcli("--overwrite", *command)
        etcli(*command)  # now it is etcli's own
        assert Path(target).read_bytes() != before.get(target)


def test_what_another_program_has_written_over_is_that_program_s(folder) -> None:
    for labels, status in (
        (["etcli bin 0.1: x", "NEWSTACK: Images copied"], 2),
        (["made", "etcli bin: x"], 0),
    ):
        Path("b.mrc").write_bytes(mrc_bytes(images(1).astype("<f4"), (10, 12, 1), 2, labels=labels))
        etcli("bin", "good.mrc", "b.mrc", status=status)


def test_an_empty_file_is_nothing_to_lose(folder) -> None:
    """As mktemp makes them."""
    Path("out.mrc").touch()
    etcli("bin", "good.mrc", "out.mrc")
    Path("text.mrc").write_text("notes of a whole day")
    assert "was not written by etcli" in failure("bin", "good.mrc", "text.mrc", status=2)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("bni", "a", "b"), "ERROR: etcli - no such command 'bni'; did you mean bin?"),
        (("xyzzy",), "ERROR: etcli - no such command 'xyzzy'; see etcli --help"),
        (("bin", "good.mrc"), "ERROR: bin - Missing argument 'OUTPUT'"),
        (
            ("bin", "--fctor", "2", "a", "b"),
            "ERROR: bin - No such option '--fctor'. Did you mean '--factor'?",
        ),
        (("--loud", "bin"), "ERROR: etcli - No such option '--loud'"),
        (("-j", "0", "bin", "a", "b"), "ERROR: etcli - Invalid value for '-j' / '--threads'"),
        (("bin", "--memory", "much", "a", "b"), "ERROR: bin - Invalid value for '--memory': 'much' is not"),
    ],
)
def test_wrong_usage_is_one_line_too(folder, arguments, line) -> None:
    assert failure(*arguments, status=2).startswith(line)


def test_debug_shows_where_an_error_came_from(folder) -> None:
    command = [*ETCLI, "--debug", "bin", "none.mrc", "out.mrc"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("Traceback")
    assert "FileNotFoundError" in run.stderr


@pytest.fixture
def large(folder) -> Path:
    write_series(folder / "large.mrc", images(4, 400, 400))
    return folder


@pytest.fixture
def small_disk(folder):
    """A file system of 1 MB, which only root may mount."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if (
        shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("no permission to mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("ending", ["mrc", "tif"])
def test_a_full_disk(large, small_disk, ending) -> None:
    target = small_disk / f"out.{ending}"
    old = earlier_output(target)
    # a process of its own, for a hole in a mapped file that cannot be filled kills
    command = [*ETCLI, "stack", "large.mrc", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 1
    assert run.stderr == f"ERROR: stack - {target}: no space left on device; write elsewhere\n"
    assert contents(small_disk) == {target.name: old}


@pytest.mark.parametrize("ending", ["mrc", "tif"])
def test_a_limit_of_the_file_size(large, ending) -> None:
    earlier_output(Path(f"out.{ending}"))
    before = contents(large)
    run = subprocess.run(
        [*ETCLI, "stack", "large.mrc", f"out.{ending}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert run.returncode == 1
    assert run.stderr == f"ERROR: stack - {large / f'out.{ending}'}: file too large; write elsewhere\n"
    assert contents(large) == before


def test_a_full_disk_behind_the_standard_output(large) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    for arguments in (["stack", "large.mrc", "-"], ["info", "large.mrc"]):
        with full.open("wb") as disk:
            run = subprocess.run(
                [*ETCLI, *arguments], stdout=disk, stderr=subprocess.PIPE, text=True, timeout=60, check=False
            )
        assert (run.returncode, run.stderr) == (
            1,
            f"ERROR: {arguments[0]} - standard output: no space left on device\n",
        )


def test_a_closed_standard_output_does_not_fail_a_command_that_needs_none(folder) -> None:
    """As programs do that were started by a daemon."""
    line = " ".join([*ETCLI, "bin", "good.mrc", "out.mrc", ">&-"])
    run = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_makers_formats_need_a_reader_and_a_whole_file(folder, monkeypatch) -> None:
    Path("a.dm3").write_bytes(bytes(90))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rsciio", None)
        line = failure("bin", "a.dm3", "out.mrc")
    assert line == (
        "ERROR: bin - a.dm3: needs the Python module rsciio, which is not installed; "
        "python -m pip install rosettasciio h5py"
    )
    pytest.importorskip("rsciio.digitalmicrograph", exc_type=ImportError)
    assert failure("bin", "a.dm3", "out.mrc").startswith("ERROR: bin - a.dm3: cannot be read (")
    assert "none.dm3: no such file" in failure("bin", "none.dm3", "out.mrc")


def test_colours_are_no_grey_values(folder) -> None:
    tifffile.imwrite("rgb.tif", np.zeros((6, 8, 3), np.uint8), photometric="rgb")
    assert "is no stack of grey images" in failure("bin", "rgb.tif", "out.mrc")


def test_angles_beside_a_compressed_series_are_inputs(tmp_path: Path) -> None:
    series = write_series(tmp_path / "s.mrc")
    packed = tmp_path / "s.mrc.gz"
    packed.write_bytes(gzip.compress(series.read_bytes()))
    for beside in tmp_path.glob("s.mrc.mdoc"):
        beside.unlink()
    series.unlink()
    angles = tmp_path / "s.tlt"
    angles.write_text("-40\n0\n20\n61.25\n")
    said = failure("tiltalign", "--angle", 0, "--write-tlt", angles, packed, tmp_path / "out.mrc", status=2)
    assert "s.tlt: is an input" in said
    assert angles.read_text().startswith("-40\n")


def test_the_ending_of_a_volume_is_checked_before_the_work(tmp_path: Path, monkeypatch) -> None:
    series = write_series(tmp_path / "s.mrc")
    monkeypatch.setattr("etcli.pipeline.prepared_reconstruction.tune", None)
    said = failure("recon", "--background", 0, series, tmp_path / "o.png", status=2)
    assert said.endswith(".mrc, .st, .ali, .rec, .preali, .map, .mrcs (MRC), .tif or .tiff (TIFF)")


IMAGE_COMMANDS = (
    ("bin", "good.mrc"),
    ("filter", "good.mrc"),
    ("stack", "good.mrc"),
    ("xform", "--xf", "a.xf", "good.mrc"),
    ("register", "good.mrc"),
    ("tiltalign", "--angle", "0", "good.mrc"),
    ("recon", "--iterations", "1", "good.mrc"),
    ("project", "--range", "0", "1", "1", "volume.mrc"),
    ("entropy", "--select", "2", "good.mrc", "--output"),
    ("simulate", "phantom", "--size", "16"),
    ("depthsect", "--stop-after", "align", "focal.mrc"),
    ("depthsect", "focal.mrc", "a.xyz", "--write-mean"),
)
ENDINGS = (".zarr", ".npy", ".vtk", ".stl", ".obj", ".nii", ".txt", ".mrc~", ".5")


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        *((command, ".zarr") for command in IMAGE_COMMANDS),
        *((("bin", "good.mrc"), ending) for ending in ENDINGS),
    ],
)
def test_images_are_written_under_their_own_endings_only(folder, command, ending) -> None:
    """Unknown endings are refused with those that are known, and nothing is written."""
    Path("a.xf").write_text("1 0 0 1 0 0\n" * 4)
    Path("volume.mrc").write_bytes(mrc_bytes(images(), (10, 12, 4), 2))
    write_series(folder / "focal.mrc", images(4), [0] * 4, defocus_um=[-0.1, -0.2, -0.3, -0.4])
    before = contents(folder)
    said = failure("-q", *command, f"out{ending}", status=2)
    assert f"out{ending}: images are not written as {ending}; end the name in .mrc, .st, .ali, .rec" in said
    assert contents(folder) == before
