"""The focal library against simulations by other programs."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from etcli.core.depth.focal_library import focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics

GOLD = ColumnKind("Au", 4.08, 0.63)


def test_core_profiles_of_another_program(shared_data: Path) -> None:
    path = shared_data / "depth" / "rod_colmodel" / "library_profiles.csv"
    if not path.exists():
        pytest.skip(f"no library at {path}")
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    most = int(table[:, 0].max())
    library = focal_library(GOLD, FocalOptics(), most_atoms=most, focus_range_A=120.0, radius_A=0.6)
    core = library.core_profiles(0.5)
    for n_atoms in range(2, most + 1):
        _, focus, expected = table[(table[:, 0] == n_atoms) & (np.abs(table[:, 1]) <= 100)].T
        np.testing.assert_allclose(core.at(n_atoms, focus), expected, rtol=0.05)


def test_the_peak_of_frozen_phonons() -> None:
    """abTEM, 10 atoms of gold without a source: 11.6 Å behind the first atom, standard deviation 38.5 Å."""
    library = focal_library(
        GOLD, FocalOptics(source_fwhm_A=0.0), most_atoms=10, focus_range_A=100.0, radius_A=0.3
    )
    focus = np.arange(-100.0, 101.0, 10.0)
    values = library.at(10, focus, np.zeros(len(focus)))

    def gaussian(z: np.ndarray, height: float, peak: float, width: float, level: float) -> np.ndarray:
        return height * np.exp(-((z - peak) ** 2) / (2 * width**2)) + level

    _, peak, width, _ = curve_fit(gaussian, focus + 4.5 * GOLD.spacing_A, values, (0.3, 10, 40, 0))[0]
    assert peak == pytest.approx(11.6, abs=1) and abs(width) == pytest.approx(38.5, abs=2)
