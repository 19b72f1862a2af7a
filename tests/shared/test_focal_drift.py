"""Drift of a simulated focal series of a gold nanorod, whose true drift and columns are known.

The aims are those of a prototype: 0.34-0.38 px from neighbours, 0.16-0.29 px from the fitted columns.
"""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from etcli.core.depth.drift import focal_drift, refine_drift
from etcli.core.registration.shifts import Shifts
from tests.drifted_columns import error_px

Float = NDArray[np.float64]

WIDTHS_PX = 1.2, 1.8, 2.7, 4.0, 6.0
DAMPING = 1e-3  # wide Gaussians overlap: their heights are not independent


@pytest.fixture(scope="module")
def rod(shared_data: Path) -> Path:
    return shared_data / "depth/rod_colmodel"


@pytest.fixture(scope="module")
def sections(rod: Path) -> NDArray[np.int16]:
    return mrcfile.read(rod / "focal_series.mrc")


@pytest.fixture(scope="module")
def drift_px(rod: Path) -> Float:
    return np.loadtxt(rod / "truth_drift.csv", delimiter=",", skiprows=1)[:, 1:]


@pytest.fixture(scope="module")
def sequential(sections: NDArray[np.int16]) -> Shifts:
    return focal_drift(sections)


def fitted(aligned: Float, place_px: Float) -> Float:
    """Gaussians at known places (column, row), whose heights and one width are fitted to each section."""
    n, ny, nx = aligned.shape
    pixels = aligned.reshape(n, -1).T
    best, least = np.zeros(aligned.shape), np.full(n, np.inf)
    for width_px in WIDTHS_PX:
        along_y, along_x = (
            np.exp(-((np.arange(size)[:, np.newaxis] - at) ** 2) / (2 * width_px**2))
            for size, at in ((ny, place_px[:, 1]), (nx, place_px[:, 0]))
        )
        columns = np.einsum("yk,xk->yxk", along_y, along_x).reshape(ny * nx, -1)
        model = np.concatenate([columns, np.ones((ny * nx, 1))], axis=1)
        normal = model.T @ model
        heights = np.linalg.solve(normal + DAMPING * np.diag(normal.diagonal()), model.T @ pixels)
        found = (model @ heights).T.reshape(aligned.shape)
        misfit = ((found - aligned) ** 2).sum(axis=(1, 2))
        better = misfit < least
        best[better], least[better] = found[better], misfit[better]
    return best


def test_neighbours_give_the_drift(sequential: Shifts, drift_px: Float) -> None:
    assert error_px(sequential.shift_px, drift_px) < 0.2
    assert not sequential.doubtful.any()


def test_fewer_electrons_and_a_part_of_the_range_do(sections: NDArray[np.int16], drift_px: Float) -> None:
    thinned = np.random.default_rng(0).binomial(sections, 0.1)
    assert error_px(focal_drift(thinned).shift_px, drift_px) < 0.5
    assert error_px(focal_drift(sections[12:]).shift_px, drift_px[12:]) < 0.25
    assert error_px(focal_drift(sections[::2]).shift_px, drift_px[::2]) < 0.35


def test_fitted_columns_keep_or_improve_it(
    rod: Path, sections: NDArray[np.int16], drift_px: Float, sequential: Shifts
) -> None:
    """A fit of each section for itself knows little more than the section; it must not spoil the shifts."""
    place_px = np.loadtxt(rod / "truth_columns.csv", delimiter=",", skiprows=1, usecols=(2, 3))
    rough_px = sequential.shift_px + np.random.default_rng(0).normal(0, 0.3, (len(sections), 2))
    for start_px, limit_px in ((sequential.shift_px, 0.25), (rough_px, 0.45)):
        aligned = np.array(
            [
                ndimage.shift(section.astype(float), shift_px[::-1], mode="nearest")
                for section, shift_px in zip(sections, start_px, strict=True)
            ]
        )
        shifts = refine_drift(sections, fitted(aligned, place_px), replace(sequential, shift_px=start_px))
        assert error_px(shifts.shift_px, drift_px) < limit_px
        assert not shifts.doubtful.any()


def test_the_true_sections_give_the_limit(
    rod: Path, sections: NDArray[np.int16], drift_px: Float, sequential: Shifts
) -> None:
    clean = mrcfile.read(rod / "focal_series_clean.mrc")
    assert error_px(refine_drift(sections, clean, sequential).shift_px, drift_px) < 0.05
