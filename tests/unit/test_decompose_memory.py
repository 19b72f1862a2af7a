"""Memory of a decomposition: what is told is what is used."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

import etcli
from etcli.core.spectra.components import block_edge, blocks_of, n_blocks
from etcli.core.spectra.counts import SpectrumCounts
from etcli.pipeline import decompose as module
from tests.spectrum_images import AXIS, TILTS, record


def told_and_used(
    monkeypatch: pytest.MonkeyPatch, spectra: np.ndarray, **options: Any
) -> tuple[list[int], int]:
    """Return the estimates of a run, and its largest use of memory, both in bytes."""
    etcli.decompose(record(size=24), AXIS.energy_keV, TILTS, **options)  # modules and tables are loaded
    told: list[int] = []
    monkeypatch.setattr(module, "check_memory", lambda session, need, *what: told.append(need))
    tracemalloc.start()
    try:
        etcli.decompose(spectra, AXIS.energy_keV, TILTS, **options)
        return told, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["fit", "windows"])
def test_maps(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    spectra = record(size=96)
    told, used = told_and_used(monkeypatch, spectra, elements=("Ti", "Fe", "Mo"), method=method)
    assert 0.9 * used < max(told) < 1.5 * used


@pytest.mark.parametrize("n", [3, "auto"])
def test_components_of_many_counts_a_pixel(monkeypatch: pytest.MonkeyPatch, n: int | str) -> None:
    pytest.importorskip("sklearn", reason="components need scikit-learn")
    spectra = record(size=48, counts=400.0)
    told, used = told_and_used(monkeypatch, spectra, components=n, method="nmf-scaled")
    dense = 8 * spectra.size
    assert used < 2.5 * dense and used < max(told) < 1.6 * used


def test_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    energy_keV = 0.35 + 0.004 * np.arange(64)
    spectra = np.broadcast_to(400 * (energy_keV / 0.35) ** -3.0, (40, 90, 90, 64)).astype(np.float32)
    told: list[int] = []
    monkeypatch.setattr(module, "check_memory", lambda session, need, *what: told.append(need))
    session = etcli.Session(memory=1 << 24)  # small blocks
    wanted = {"elements": ("Ti", "V"), "eels": True, "session": session}
    etcli.decompose(spectra[:2], energy_keV, [0.0, 1.0], **wanted)
    tracemalloc.start()
    etcli.decompose(spectra, energy_keV, np.arange(40.0), **wanted)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.9 * used < told[-1] < 1.5 * used


def test_only_some_blocks_are_summed_where_there_are_many() -> None:
    counts = SpectrumCounts.of(record(size=30, counts=400.0))
    assert block_edge(counts) == 1
    assert len(blocks_of(counts, 1)) == n_blocks(counts, 1) == 4000
    chosen = np.linspace(0, 7 * 900 - 1, 4000).round().astype(int)
    assert np.array_equal(blocks_of(counts, 1), counts.block_sums(1)[chosen])


def test_too_little_memory_is_told_before_the_work() -> None:
    spectra = record(size=24)
    few = etcli.Session(memory=1 << 20)
    with pytest.raises(etcli.UsageError, match=r"take \d+M of memory, but only 1M are allowed; .*--memory"):
        etcli.decompose(spectra, AXIS.energy_keV, TILTS, elements=("Ti",), session=few)
