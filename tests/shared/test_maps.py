"""Misaligned element maps of an independent simulation: aligned by transforms of the HAADF series."""

import json

import mrcfile
import numpy as np

from tests.files import etcli


def test_maps_follow_the_haadf_series(shared_data, tmp_path) -> None:
    """Transforms of the true errors give maps as near to the expected ones as those of an aligned series."""
    data = shared_data / "spectral"
    true = json.loads((data / "parameters.json").read_text())
    tilt_deg, *shift_px = np.loadtxt(data / "mis_truth.csv", delimiter=",").T
    axis = np.deg2rad(true["axis_deg"])
    turn = np.array([[np.cos(axis), np.sin(axis)], [-np.sin(axis), np.cos(axis)]])
    back = -(turn @ shift_px).T - [true["axis_offset_px"], 0]
    xf = tmp_path / "haadf.xf"
    np.savetxt(xf, np.hstack([np.tile(turn.ravel(), (len(tilt_deg), 1)), back]), fmt="%.7f")
    np.savetxt(tmp_path / "haadf.rawtlt", tilt_deg)
    maps = [data / f"mis_edx_d4_{element}.mrc" for element in true["elements"]]
    etcli("-q", "xform", "--linear", "--xf", xf, *maps, tmp_path / "a.mrc")
    for element in true["elements"]:
        found = mrcfile.read(tmp_path / f"a_{element}.mrc")
        expected = 4 * mrcfile.read(data / f"clean_{element}.mrc").astype(float)
        inner = found[:, 8:-8, 8:-8]
        assert found.min() == 0
        raw = mrcfile.read(data / f"mis_edx_d4_{element}.mrc").astype(float)
        # rows and columns at the rim are filled, and so are not counted twice
        assert abs(found.sum() / raw.sum() - 1) < 0.01
        # bilinear interpolation averages some of the noise away, and blurs the edges a little
        aligned = mrcfile.read(data / f"edx_d4_s1_{element}.mrc")
        assert _correlation(inner, expected) > 0.995 * _correlation(aligned, expected)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
