"""Commands that are stopped in the middle leave no trace but, after SIGKILL, a hidden part."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.files import earlier_output, images, write_series

ETCLI = [sys.executable, "-m", "etcli"]


@pytest.fixture(autouse=True)
def heeded():
    """A shell starts what it runs in the background deaf to interrupts, such as these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def running(tmp_path):
    """A command that would take long, with a part of its output written, and outputs from before."""
    write_series(tmp_path / "a.mrc", images(60, 200, 200), range(60))
    for name in ("out.mrc", "out.mrc.mdoc"):
        earlier_output(tmp_path / name)
    command = [*ETCLI, "-j", "2", "filter", "--size", "25", "a.mrc", "out.mrc"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while process.poll() is None and not any(map(begun, parts(tmp_path))):
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.02)
        yield process
        process.kill()


def begun(part: Path) -> bool:
    """Tell whether a view has been written; room is taken, and is zero, before."""
    with part.open("rb") as file:
        return bool(file.read(1 << 16).strip(b"\0"))


def assert_untouched(folder: Path) -> None:
    for name in ("out.mrc", "out.mrc.mdoc"):
        before = (folder / name).read_bytes()
        assert earlier_output(folder / name) == before


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.glob(".out.mrc.*.part") if ".mdoc." not in path.name]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(running, tmp_path, number) -> None:
    """By the signal itself, so that a shell loop ends as well."""
    running.send_signal(number)
    out, err = running.communicate(timeout=20)
    assert running.returncode == -number
    assert (out, err.strip()) == (b"", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.mrc",
        "a.mrc.mdoc",
        "out.mrc",
        "out.mrc.mdoc",
    ]
    assert_untouched(tmp_path)


def test_a_kill_leaves_the_outputs_as_they_were(running, tmp_path) -> None:
    running.kill()
    assert running.wait(20) == -signal.SIGKILL
    visible = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert visible == ["a.mrc", "a.mrc.mdoc", "out.mrc", "out.mrc.mdoc"]
    assert_untouched(tmp_path)
    assert parts(tmp_path)


def test_a_shell_loop_ends_with_it(tmp_path) -> None:
    """A program that exits with 130 instead would let the loop go on."""
    write_series(tmp_path / "a.mrc", images(60, 200, 200), range(60))
    loop = "for k in 1 2 3; do " + " ".join(ETCLI) + " filter --size 25 a.mrc out$k.mrc; done; echo went on"
    with subprocess.Popen(
        ["bash", "-c", loop],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        while not list(tmp_path.glob(".out1.mrc.*.part")):
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert b"went on" not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mrc", "a.mrc.mdoc"]
