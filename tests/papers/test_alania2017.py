"""Alania et al., Ultramicroscopy 177, 36 (2017): precision of depths from a focal series of gold.

300 kV, 21 mrad, detector 48 to 180 mrad, source 0.7 Å, 41 images from −200 to 200 Å of 9612 e/Å².
"""

import numpy as np
import pytest

from etcli.core.depth.focal_library import FocalLibrary, focal_library
from etcli.core.depth.focal_optics import ColumnKind, FocalOptics
from etcli.core.depth.precision import atom_depth_bounds, column_depth_bounds

GOLD = ColumnKind("Au", 4.08, 0.63)
FOCUS_A = np.arange(-200, 201, 10.0)
FIGURE_2_A = np.array([0.90, 0.61, 0.48, 0.40, 0.35, 0.32, 0.30, 0.29, 0.29, 0.28])
"""An independent program for a region of ±3 Å and 1 to 10 atoms; the paper shows the same curve."""


@pytest.fixture(scope="module")
def library() -> FocalLibrary:
    return focal_library(GOLD, FocalOptics(), most_atoms=10, focus_range_A=200.0, radius_A=5.0)


def test_figure_2_the_depth_of_a_column(library: FocalLibrary) -> None:
    found = column_depth_bounds(library, FOCUS_A, dose_e_A2=9612, half_region_A=3.0)
    np.testing.assert_allclose(found, FIGURE_2_A, rtol=0.1)
    assert (np.diff(found) < 0).all()
    other = [column_depth_bounds(library, FOCUS_A, dose_e_A2=9612, half_region_A=half)[-1] for half in (2, 5)]
    assert other == pytest.approx([0.315, 0.26], rel=0.1)


def test_figure_2_scales_with_dose(library: FocalLibrary) -> None:
    one, four = (column_depth_bounds(library, FOCUS_A, dose_e_A2=dose) for dose in (2403, 9612))
    np.testing.assert_allclose(one, 2 * four)


def test_table_2_single_atoms_of_a_column_are_not_determined() -> None:
    """The paper finds 3 to 6 nm; the Fisher matrix is singular but for details of the model."""
    bounds = atom_depth_bounds(GOLD, FocalOptics(), n_atoms=10, focus_A=FOCUS_A[::2], dose_e_A2=2 * 9612)
    assert bounds.condition > 1e6 and not bounds.trusted
    assert (bounds.sigma_A > 10).all()
