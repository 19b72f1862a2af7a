"""Counts of the Pt-Ir particle of StatSTEM, from its stored cross-sections and library."""

from pathlib import Path

import numpy as np
import pytest

from etcli.core.depth.counting import count_by_library, count_by_mixture, count_hybrid, first_count
from etcli.core.depth.cross_section_mixture import choose_mixture, fit_mixtures, local_minima
from etcli.core.errors import ConvergenceError


def table(path: Path) -> np.ndarray:
    return np.genfromtxt(path, delimiter=",", names=True)


@pytest.fixture
def columns(shared_data: Path) -> np.ndarray:
    folder = shared_data / "depth" / "statstem_ptir"
    if not folder.is_dir():
        pytest.skip(f"no particle at {folder}")
    return table(folder / "statstem_columns.csv")


@pytest.fixture
def library(columns: np.ndarray, shared_data: Path) -> np.ndarray:
    return table(shared_data / "depth" / "statstem_ptir" / "library_scs.csv")["scs_A2"]


def test_the_nearest_of_the_library_is_the_stored_count(columns, library):
    counts = count_by_library(columns["scs_e_A2"], library)
    np.testing.assert_array_equal(counts.count, columns["count_library"])
    assert counts.total == 791


def test_the_criterion_alone_does_not_tell_the_number_of_components(columns, library):
    fits = fit_mixtures(columns["scs_e_A2"], most_components=12)
    icl = [fit.icl for fit in fits]
    assert local_minima(icl) == (4, 10) and np.argmin(icl) == 0
    assert icl[0] == pytest.approx(-309.9, abs=0.1) and icl[9] == pytest.approx(-190.9, abs=0.1)
    with pytest.raises(ConvergenceError, match="local minima of ICL are 4, 10"):
        choose_mixture(fits)
    ten = choose_mixture(fits, components=10)
    assert first_count(ten, library) == 1
    counts = count_by_mixture(ten)
    assert counts.total == pytest.approx(791, abs=16)
    assert abs(counts.count - columns["count_library"]).max() <= 1


def test_the_hybrid_finds_the_scale_of_the_library(columns, library):
    x = columns["scs_e_A2"]
    counts = count_hybrid(x, library)
    assert counts.scale == pytest.approx(1.0045, abs=0.003)
    assert (counts.count == columns["count_library"]).mean() >= 0.9
    assert abs(counts.count - columns["count_library"]).max() <= 1
    assert counts.scale_ambiguous  # 0.86 with other counts is nearly as likely, and it says so
    assert counts.expected_exact < 0.8
    nearest = count_by_library(x, library, scale="auto")
    assert nearest.scale == pytest.approx(1, abs=0.01) and nearest.total == pytest.approx(791, abs=8)
