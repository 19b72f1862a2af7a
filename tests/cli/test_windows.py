"""The program without what Windows lacks: a stand-in, as the tests run on POSIX systems."""

import ast
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from etcli.cli import run
from etcli.core.errors import DataError
from etcli.io.outputs import Outputs
from etcli.pipeline.machine_limits import available_bytes
from tests.files import etcli, write_series
from tests.windows import MISSING, MODULES

STAND_IN = Path(__file__).parents[1] / "windows.py"
SOURCES = STAND_IN.parents[1] / "etcli"
GUARDED = {"SIG_BLOCK", "SIG_SETMASK", "sched_yield"}  # with pthread_sigmask; by WinDLL of ctypes

WORKFLOW = """
from tests.windows import become_windows
become_windows()
from tests.files import etcli

etcli("simulate", "needle", "--size", 24, "--pixel", "2nm", "--range", -60, 60, 12, "raw.mrc")
for _ in range(2):  # outputs are replaced at the second time
    etcli("filter", "--method", "despike", "raw.mrc", "clean.mrc")
    etcli("stack", "raw.mrc", "raw.tif")
    etcli("register", "--method", "com-cl", "--write-xf", "r.xf", "--plot", "r.png", "clean.mrc", "pre.mrc")
    etcli("xform", "--xf", "r.xf", "raw.tif", "moved.mrc")
    etcli("recon", "--resume", "--half-sets", "-j", 2, "--error-curve", "e.csv", "pre.mrc", "volume.mrc")
    etcli("recon", "--method", "fista", "--iterations", 2, "--weight", 1, "pre.mrc", "fista.mrc")
    etcli("view", "volume.mrc", "volume.gif")
etcli("stack", "raw.tif", "raw.tif", status=2)
etcli("stack", "--mode", 0, "--no-clobber", "raw.mrc", "bytes.mrc")
print(etcli("info", "--field", "size", "volume.mrc").out)
"""


def on_windows(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(STAND_IN.parents[1])} | environment,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see which files are in use")
def test_a_workflow_needs_nothing_that_windows_lacks(tmp_path) -> None:
    run = on_windows("-c", WORKFLOW, cwd=tmp_path)
    assert (run.stdout.decode().split(), run.returncode) == (["24"] * 3, 0), run.stderr.decode()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see which files are in use")
@pytest.mark.parametrize(
    "attempt",
    [
        "file = open('a', 'w'); os.replace('b', 'a')",
        "file = numpy.memmap('a', shape=1); os.remove('a')",
        "exec('import signal; signal.SIGHUP', {'__name__': 'etcli.cli'})",
        "exec('import fcntl', {'__name__': 'etcli.cli'})",
        "os.fsync(os.open('a', os.O_RDONLY))",
    ],
)
def test_the_stand_in_refuses_what_windows_refuses(tmp_path, attempt) -> None:
    for name in "ab":
        (tmp_path / name).write_text("1")
    setup = "import numpy, os, tests.windows; tests.windows.become_windows(); "
    assert on_windows("-c", setup + attempt, cwd=tmp_path).returncode == 1
    assert on_windows("-c", setup, cwd=tmp_path).returncode == 0


def test_names_that_windows_lacks_are_used_under_a_guard() -> None:
    for file in SOURCES.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        used = {node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)} & MISSING
        if "except ImportError" in text and any(f"import {name}\n" in text for name in MODULES):
            continue  # where such a module is missing, they are not used
        unguarded = {name for name in used - GUARDED if f', "{name}")' not in text}
        assert not unguarded, file


def test_text_files_are_the_same_on_every_system() -> None:
    """Neither the code page nor the line ends of the system decide what is written or read."""
    for file in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) < 2:
                needed = {"write_text": {"encoding", "newline"}, "read_text": {"encoding"}}
                lacking = needed.get(node.func.attr, set()) - {given.arg for given in node.keywords}
                assert not lacking or "formatter" in ast.unparse(node), f"{file}:{node.lineno}"


def test_consoles_without_all_letters(tmp_path) -> None:
    series = write_series(tmp_path / "å.mrc")
    table = on_windows(STAND_IN, "info", series.name, cwd=tmp_path, PYTHONIOENCODING="cp1251")
    assert b"pixel        2.5 ?" in table.stdout, table.stderr
    as_json = on_windows(STAND_IN, "info", "--json", series.name, cwd=tmp_path, PYTHONIOENCODING="cp1251")
    assert json.loads(as_json.stdout)["file"] == "å.mrc"
    assert as_json.stdout.isascii()


def test_ctrl_c_ends_with_the_status_that_a_shell_shows(monkeypatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    monkeypatch.setattr(run.etcli, "main", lambda **how: signal.raise_signal(signal.SIGINT))
    monkeypatch.setattr(signal, "signal", lambda *to: None)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_ignored_between_renames_where_they_cannot_be_held(tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    before, during = signal.getsignal(signal.SIGINT), []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda *names: (during.append(signal.getsignal(signal.SIGINT)), replace(*names))
    )
    with Outputs() as outputs:
        for name in "ab":
            outputs.path(tmp_path / name).write_text(name)
    assert during == [signal.SIG_IGN] * 2
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "a").read_text() == "a"


def test_an_output_that_is_open_elsewhere_is_named(tmp_path, monkeypatch) -> None:
    def refuse(*names: Path) -> None:
        raise PermissionError(13, "Permission denied", str(names[0]), None, str(names[1]))

    (tmp_path / "a").write_text("before")
    monkeypatch.setattr(Path, "replace", refuse)
    with (
        pytest.raises(DataError, match=r"a: cannot be replaced \(permission denied\); close what"),
        Outputs() as outputs,
    ):
        outputs.path(tmp_path / "a").write_text("after")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_free_memory_is_asked_of_windows(monkeypatch) -> None:
    class Kernel32:
        @staticmethod
        def GlobalMemoryStatusEx(status):
            assert status[0] == ctypes.sizeof(status) == 64
            status[1], status[2] = 1 << 30, 1 << 28
            return 1

    monkeypatch.setattr(ctypes, "windll", type("Windll", (), {"kernel32": Kernel32}), raising=False)
    monkeypatch.setattr("etcli.pipeline.machine_limits.PROC", Path("nowhere"))
    assert available_bytes() == 1 << 28


@pytest.mark.parametrize("before", [True, False])
def test_the_status_of_failures_may_be_chosen(before, monkeypatch) -> None:
    options = ["--fail-status", 7]
    place = [*options, "info"] if before else ["info", *options]
    etcli(*place, "missing.mrc", status=7)
    etcli(*place, "--no-such-option", status=2)
    monkeypatch.setenv("ETCLI_FAIL_STATUS", "9")
    etcli("info", "missing.mrc", status=9)
    etcli(*place, "missing.mrc", status=7)
    etcli("--fail-status", 0, "info", "missing.mrc", status=2)
