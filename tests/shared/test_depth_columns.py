"""Columns of a nanoparticle that StatSTEM fitted, and of a simulated nanorod."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial import cKDTree

from etcli.core.depth.column_fit import ColumnFit, fit_columns
from etcli.core.depth.columns import find_columns

PTIR_A, ROD_A = 0.1211, 0.4
"""Pixel sizes."""


@pytest.fixture(scope="module")
def particle(shared_data: Path) -> dict[str, np.ndarray]:
    """The image, and StatSTEM's columns of it."""
    folder = shared_data / "depth" / "statstem_ptir"
    if not folder.is_dir():
        pytest.skip(f"no particle at {folder}")
    table = np.genfromtxt(folder / "statstem_columns.csv", delimiter=",", names=True)
    library = np.genfromtxt(folder / "library_scs.csv", delimiter=",", names=True)
    return {
        "image": mrcfile.read(folder / "ptir.mrc"),
        "place": np.stack([table["col_px"], table["row_px"]], axis=1),
        "seed": np.stack([table["seed_x_A"], table["seed_y_A"]], axis=1) / PTIR_A - 1,  # counted from 1 there
        "scs_A2": table["scs_e_A2"],
        "library_A2": np.append(0, library["scs_A2"]),
    }


def scs_A2(fit: ColumnFit) -> np.ndarray:
    return fit.cross_section_px2 * PTIR_A**2


def total(fit: ColumnFit, library_A2: np.ndarray) -> int:
    """Number of atoms, each column having that of the nearest cross-section of the library."""
    return int(np.abs(scs_A2(fit)[:, np.newaxis] - library_A2).argmin(axis=1).sum())


def test_the_stages_of_statstem_end_where_it_does(particle: dict[str, np.ndarray]) -> None:
    fit = fit_columns(particle["image"], particle["seed"], background=0.0, width="staged")
    off_A = PTIR_A * np.hypot(*(np.stack([fit.x_px, fit.y_px], axis=1) - particle["place"]).T)
    assert np.sqrt((off_A**2).mean()) < 0.02
    assert np.median(np.abs(scs_A2(fit) / particle["scs_A2"] - 1)) < 0.01
    assert 0.65 < PTIR_A * fit.width_px[0] < 0.67
    assert fit.sum_of_squares < 3.2287
    assert not fit.bad.any()


def test_the_minimum_is_below_that_of_statstem(particle: dict[str, np.ndarray]) -> None:
    fit = fit_columns(particle["image"], particle["seed"], background=0.0)
    off_A = PTIR_A * np.hypot(*(np.stack([fit.x_px, fit.y_px], axis=1) - particle["place"]).T)
    assert np.sqrt((off_A**2).mean()) < 0.04
    assert np.median(off_A) < 0.02
    assert np.median(np.abs(scs_A2(fit) / particle["scs_A2"] - 1)) < 0.01
    assert np.corrcoef(scs_A2(fit), particle["scs_A2"])[0, 1] > 0.999
    assert 0.65 < PTIR_A * fit.width_px[0] < 0.67
    assert fit.sum_of_squares < 3.22
    assert fit.converged


def test_columns_found_without_help(particle: dict[str, np.ndarray]) -> None:
    found = find_columns(particle["image"], sigma_px=0.5 / PTIR_A, min_distance_px=1.3 / PTIR_A)
    assert np.count_nonzero(PTIR_A * cKDTree(found).query(particle["place"])[0] < 1) >= 135
    assert np.count_nonzero(PTIR_A * cKDTree(particle["place"]).query(found)[0] > 1) <= 5
    fit = fit_columns(particle["image"], found, background=0.0)
    assert abs(total(fit, particle["library_A2"]) - 791) <= 8


def test_columns_of_the_rod(shared_data: Path) -> None:
    folder = shared_data / "depth" / "rod_colmodel"
    if not folder.is_dir():
        pytest.skip(f"no rod at {folder}")
    table = np.genfromtxt(folder / "truth_columns.csv", delimiter=",", names=True)
    true = np.stack([table["col_px"], table["row_px"]], axis=1)
    inside = table["inside_frame"] == 1
    series = mrcfile.read(folder / "focal_series_clean.mrc")
    contrast = series.var(axis=(1, 2))
    first = int(np.argmax([contrast[k : k + 8].sum() for k in range(len(series) - 7)]))
    dose = np.maximum(series[first : first + 8].sum(axis=0), 0) * 1537.92  # electrons, a few below 0
    image = np.random.default_rng(0).poisson(dose)
    found = find_columns(image, sigma_px=0.4 / ROD_A, min_distance_px=1.3 / ROD_A)
    assert cKDTree(found).query(true[inside])[0].max() < 1.25
    assert cKDTree(true).query(found)[0].max() < 1.25
    fit = fit_columns(image, found, width="own", variance=image)
    off_A = ROD_A * cKDTree(np.stack([fit.x_px, fit.y_px], axis=1)).query(true[inside])[0]
    assert np.sqrt((off_A**2).mean()) < 0.02
