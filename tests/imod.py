"""IMOD's own programs, which read what we write and whose answers ours are held against."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import SHARED

HOME = SHARED.parent / "tools" / "imod"
CANNOT_LOAD = 127  # the dynamic linker's exit status where a library of the program is missing


def imod(program: str, *arguments: object, answers: str = "") -> str:
    """Run a program from PATH or from beside the shared data; return what it prints. Skip where none runs."""
    beside = shutil.which(program) is None
    found = shutil.which(program, path=HOME / "bin" if beside else None)
    if found is None:
        pytest.skip(f"no IMOD: {program} is neither on PATH nor in {HOME / 'bin'}")
    environment = os.environ | {"IMOD_NO_IMAGE_BACKUP": "1"}
    if beside:
        environment |= {"IMOD_DIR": str(HOME), "AUTODOC_DIR": str(HOME / "autodoc")}
    run = subprocess.run(
        [found, *map(str, arguments)],
        input=answers,
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if run.returncode == CANNOT_LOAD:
        pytest.skip(f"IMOD's {program} does not start: {run.stderr.strip()}")
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
