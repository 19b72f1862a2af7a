"""A nanorod of gold, against columns and a series that were computed without etcli."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from etcli.core.depth.atom_columns import columns_of_atoms
from etcli.io.atoms import read_atoms
from tests.files import etcli


@pytest.fixture
def rod(shared_data: Path) -> Path:
    folder = shared_data / "depth" / "rod_colmodel"
    if not folder.is_dir():
        pytest.skip(f"no nanorod at {folder}")
    return folder


def test_the_columns_of_the_nanorod(rod: Path) -> None:
    truth = np.genfromtxt(rod / "truth_columns.csv", delimiter=",", names=True)
    columns = columns_of_atoms(read_atoms(rod / "truth.xyz"))
    found = np.column_stack([columns.position_A, columns.count, columns.depth_A])
    wanted = np.column_stack([truth[name] for name in ("x_A", "y_A", "count", "z_com_A")])
    by_place = [np.lexsort(table[:, :2].round(2).T) for table in (found, wanted)]
    np.testing.assert_allclose(found[by_place[0]], wanted[by_place[1]], atol=1e-4)
    np.testing.assert_allclose(columns.spacing_A[columns.count > 1], 4.08)


def test_the_series_of_the_nanorod(rod: Path, tmp_path: Path) -> None:
    etcli("simulate", "focal", rod / "truth.xyz", "-q", tmp_path / "s.mrc")
    found, wanted = mrcfile.read(tmp_path / "s.mrc"), mrcfile.read(rod / "focal_series_clean.mrc")
    focus = np.linspace(-200, 200, 41)
    near = np.abs(focus) <= 100
    # far from focus, the other series gains up to 15 % of its electrons; ours keeps them
    error = (found - wanted).std(axis=(1, 2)) / wanted.std(axis=(1, 2))
    assert error[near].max() < 0.035 and error[np.abs(focus) <= 150].max() < 0.035
    np.testing.assert_allclose(found[near].mean(axis=(1, 2)), wanted[near].mean(axis=(1, 2)), rtol=0.035)
    total = found.mean(axis=(1, 2))
    assert np.ptp(total) < 0.02 * total.max()
