"""Devices that the tests of the GPU's code path run on: a real one, and a stand-in where there is g++.

The stand-in compiles the very kernels for the CPU; see tests/stand_in/cupy. A real GPU is looked for where
ETCLI_TEST_GPU is set, as ``make gpu`` does; the rest of the tests needs none.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

STAND_IN = Path(__file__).parent / "stand_in"
REAL = pytest.param("real", marks=pytest.mark.gpu)


def why_not(device: str) -> str | None:
    """Tell why a device cannot be tested on."""
    if device == "stand-in":
        return None if shutil.which("g++") else "no g++ to compile the kernels with"
    if not os.environ.get("ETCLI_TEST_GPU"):
        return "needs a GPU; make gpu runs it"
    from etcli.core.gpu import why_no_gpu

    return why_no_gpu()


def use(device: str) -> Iterator[str]:
    """Let the package use a device as long as the fixture lives."""
    reason = why_not(device)
    if reason:
        pytest.skip(reason)
    from etcli.core import gpu

    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "cupy"}
    if device == "stand-in":
        for name in before:
            del sys.modules[name]
        sys.path.insert(0, str(STAND_IN))
    gpu._module.cache_clear()
    gpu._thread_local.__dict__.clear()
    yield device
    gpu._module.cache_clear()
    gpu._thread_local.__dict__.clear()
    if device == "stand-in":
        sys.path.remove(str(STAND_IN))
        for name in [name for name in sys.modules if name.split(".")[0] == "cupy"]:
            del sys.modules[name]
        sys.modules.update(before)


def relative(found: object, expected: np.ndarray) -> float:
    """Return the difference of an array, here or on the GPU, from what is expected."""
    from etcli.core.solvers.steps import on_host

    return float(np.linalg.norm(on_host(found) - expected) / np.linalg.norm(expected))


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Return the inner product in double precision."""
    return float(np.vdot(a.astype(float), b.astype(float)))
