"""Binning is IMOD's where the factor divides the size."""

import mrcfile
import numpy as np
import pytest

from etcli.core.binning import bin_image, bin_volume
from etcli.io.mrc import open_mrc
from tests.imod import imod


@pytest.mark.parametrize("factor", [2, 4])
def test_newstack_bins_the_same(shared_data, tmp_path, factor):
    source = shared_data / "etspy" / "needle_raw.mrc"
    imod(
        "newstack", "-mode", 2, "-float", 0, "-secs", "0,38", "-bin", factor, source, tmp_path / "binned.mrc"
    )
    raw, theirs = (open_mrc(path)[1] for path in (source, tmp_path / "binned.mrc"))
    np.testing.assert_allclose(bin_image(raw[[0, 38]], factor), theirs, atol=0.01)


def test_binvol_bins_the_same(tmp_path):
    volume = np.random.default_rng(3).normal(size=(12, 18, 24)).astype(np.float32)
    mrcfile.write(tmp_path / "volume.mrc", volume)
    imod("binvol", "-binning", 3, tmp_path / "volume.mrc", tmp_path / "binned.mrc")
    np.testing.assert_allclose(bin_volume(volume, 3), mrcfile.read(tmp_path / "binned.mrc"), atol=1e-6)
