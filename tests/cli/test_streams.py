"""``-`` for a file: MRC files through pipes, description included, in a real shell."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli, failure, images, write_series, write_stack

ETCLI = [sys.executable, "-m", "etcli"]


@pytest.fixture
def series(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.xf").write_text("1 0 0 1 1 -1\n" * 4)
    return write_series(tmp_path / "a.mrc", images(4, 24, 20))


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    program = f'etcli() {{ {shlex.join(ETCLI)} "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(["bash", "-c", program], capture_output=True, timeout=60, check=False)


def same_but_for_the_names(a: Path, b: Path) -> bool:
    """Whether series are the same but for their names, and those in the command lines that made them."""
    mdocs = (Path(f"{path}.mdoc").read_text().replace(path.name, "NAME") for path in (a, b))
    plain = {re.sub(r"\n\[T =   (command|input): .*\]\n", "", text) for text in mdocs}
    return a.read_bytes() == b.read_bytes() and len(plain) == 1


def test_a_pipeline_gives_what_files_give(series, tmp_path) -> None:
    etcli("stack", "--views", "4,1-3", "--crop", "2-19,1-22", "a.mrc", "1.mrc")
    etcli("filter", "1.mrc", "2.mrc")
    etcli("xform", "--xf", "a.xf", "2.mrc", "3.mrc")
    etcli("bin", "3.mrc", "files.mrc")
    run = shell(
        "etcli stack --views 4,1-3 --crop 2-19,1-22 a.mrc - | etcli filter - - | etcli xform --xf a.xf - - "
        "| etcli bin - pipe.mrc"
    )
    matched = b"a.xf: 4 of 4 transforms are used, by tilt angle\n"
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", matched)
    assert same_but_for_the_names(tmp_path / "files.mrc", tmp_path / "pipe.mrc")
    facts = json.loads(etcli("info", "--json", "pipe.mrc").out)
    assert facts["tilt_deg"] == [61.25, -40, 0, 20]
    assert [step.split()[1] for step in facts["history"]] == ["stack", "filter", "xform", "bin"]
    assert sorted(path.name for path in tmp_path.glob("*pipe*")) == ["pipe.mrc", "pipe.mrc.mdoc"]


@pytest.mark.parametrize("command", [("bin",), ("filter",), ("xform", "--xf", "a.xf"), ("stack",)])
def test_each_of_the_four_reads_and_writes_streams(series, tmp_path, command) -> None:
    stream = etcli(*command, "a.mrc", "-")
    assert stream.err == ""
    etcli(*command, "-", "again.mrc", stdin=stream.raw)
    etcli(*command, "a.mrc", "once.mrc")
    etcli(*command, "once.mrc", "twice.mrc")
    assert same_but_for_the_names(tmp_path / "again.mrc", tmp_path / "twice.mrc")


def test_a_stream_is_an_mrc_file_with_the_mdoc_in_its_extended_header(series, tmp_path) -> None:
    (tmp_path / "s.mrc").write_bytes(etcli("bin", "a.mrc", "-").raw)
    with mrcfile.open("s.mrc") as mrc:
        assert bytes(mrc.header.exttyp) == b"MDOC"
        assert mrc.header.nsymbt % 1024 == 0
        assert b"Mark = m3" in bytes(mrc.extended_header.tobytes())
        np.testing.assert_array_equal(mrc.data, images(4, 24, 20).reshape(4, 12, 2, 10, 2).mean(axis=(2, 4)))
        unknown = (mrc.header.dmin, mrc.header.dmax, mrc.header.dmean, mrc.header.rms)
        assert unknown == (0, -1, -2, -1)
    facts = json.loads(etcli("info", "--json", "s.mrc").out)
    assert (facts["tilt_deg"], facts["min"] > 0) == ([-40, 0, 20, 61.25], True)


@pytest.mark.parametrize("command", ["bin", "filter"])
def test_volumes_go_through_pipes_as_well(tmp_path, command) -> None:
    mrcfile.write(tmp_path / "v.mrc", images(8, 12, 10), voxel_size=2.0)
    stream = etcli(command, "--dims", 3, tmp_path / "v.mrc", "-")
    etcli(command, "--dims", 3, "-", tmp_path / "w.mrc", stdin=stream.raw)
    etcli(command, "--dims", 3, tmp_path / "v.mrc", tmp_path / "1.mrc")
    etcli(command, "--dims", 3, tmp_path / "1.mrc", tmp_path / "2.mrc")
    with mrcfile.open(tmp_path / "w.mrc") as found, mrcfile.open(tmp_path / "2.mrc") as expected:
        np.testing.assert_array_equal(found.data, expected.data)
        assert found.get_labels() == expected.get_labels()
        assert found.voxel_size == expected.voxel_size


def test_a_foreign_stream_is_taken_with_what_its_header_knows(tmp_path) -> None:
    source = write_stack(tmp_path / "a.mrc", images())
    etcli("bin", "-", tmp_path / "b.mrc", stdin=source.read_bytes())
    facts = json.loads(etcli("info", "--json", tmp_path / "b.mrc").out)
    assert (facts["pixel_A"], facts["tilt_deg"]) == (5, None)


def test_a_broken_first_command_leaves_no_output(series, tmp_path) -> None:
    """The later ones see a stream that ends too early."""
    (tmp_path / "short.mrc").write_bytes(series.read_bytes()[:-1])
    run = shell("etcli bin short.mrc - | etcli filter - out.mrc")
    assert run.returncode == 1
    first, second = sorted(run.stderr.decode().splitlines())
    assert first.startswith("ERROR: bin - short.mrc: truncated")
    assert (
        second
        == "ERROR: filter - standard input: 0 bytes are too few for an MRC header; is the file complete?"
    )
    assert not list(tmp_path.glob("*out*"))


def test_who_writes_to_nobody_dies_quietly(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path / "a.mrc", np.zeros((4, 300, 300), np.float32))
    run = shell("etcli filter a.mrc - | head -c 2000 > head.out; echo ${PIPESTATUS[0]}")
    assert (run.stdout, run.stderr) == (b"141\n", b"")


@pytest.mark.parametrize("arguments", [["bin", "a.mrc", "-"], ["bin", "--dims", "3", "a.mrc", "-"]])
def test_images_are_not_written_to_a_terminal(series, arguments) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb"), os.fdopen(follower, "wb") as terminal:
        run = subprocess.run(
            [*ETCLI, *arguments], stdout=terminal, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert run.returncode == 2
    assert b"ERROR: bin - - writes an MRC file to a pipe, but the standard output is a terminal" in run.stderr


def test_images_are_not_read_from_a_terminal(series) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "wb"), os.fdopen(follower, "rb") as terminal:
        command = [*ETCLI, "bin", "-", "b.mrc"]
        run = subprocess.run(command, stdin=terminal, stderr=subprocess.PIPE, timeout=60, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(b"ERROR: bin - - reads an MRC file from a pipe, but there is none")


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "-"),
        ("view", "-", "b.png"),
        ("recon", "-", "b.mrc"),
        ("recon", "a.mrc", "-"),
        ("register", "a.mrc", "-"),
        ("project", "--range", "0", "2", "1", "a.mrc", "-"),
        ("simulate", "sphere", "-"),
        ("view", "a.mrc", "-"),
    ],
)
def test_elsewhere_a_stream_is_wrong_usage(series, tmp_path, arguments) -> None:
    before = set(tmp_path.iterdir())
    assert f"ERROR: {arguments[0]} - " in failure(*arguments, status=2)
    assert set(tmp_path.iterdir()) == before
