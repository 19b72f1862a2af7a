"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program has it; heeded when NumPy is imported

from tests.gpu import REAL, use

SHARED = Path(os.environ.get("ETCLI_SHARED", Path(__file__).parents[2] / "shared")) / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of data that other people made and that the project must not contain."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED


@pytest.fixture(params=["stand-in", REAL])
def gpu(request: pytest.FixtureRequest) -> Iterator[str]:
    """A GPU, or what stands in for one."""
    yield from use(request.param)


@pytest.fixture
def stand_in() -> Iterator[str]:
    """What stands in for a GPU."""
    yield from use("stand-in")


@pytest.fixture
def coarse_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of a quarter of the resolution, which are drawn in less time."""
    from etcli.plotting.style import DPI, STYLE

    for name in ("figure.dpi", "savefig.dpi"):
        monkeypatch.setitem(STYLE, name, DPI / 4)
