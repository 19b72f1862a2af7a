"""Element maps of an independent simulation, 1 to 5 counts a pixel, by `recon --likelihood poisson`."""

import json

import mrcfile
import numpy as np
import pytest

from tests.files import etcli


# ‖x - truth‖ / ‖truth‖ of `fista --nonnegative`: 0.34, 0.31, 0.50 and 0.79, means of three seeds
@pytest.mark.parametrize(("element", "limit"), [("Ni", 0.31), ("Co", 0.27), ("Pt", 0.43), ("Cr", 0.60)])
def test_counts_are_reconstructed_better_than_by_least_squares(shared_data, tmp_path, element, limit) -> None:
    data = shared_data / "spectral"
    scale = json.loads((data / "parameters.json").read_text())["sensitivity"][element]
    truth = mrcfile.read(data / f"truth_{element}.mrc") * np.float32(scale)
    source, target = data / f"edx_d1_s1_{element}.mrc", tmp_path / "rec.mrc"
    etcli("recon", "-q", "--likelihood", "poisson", "--thickness", "44px", source, target)
    error = np.linalg.norm(mrcfile.read(target) - truth) / np.linalg.norm(truth)
    assert error < limit
