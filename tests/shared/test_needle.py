"""A real series, from the microscope's file to a volume by commands alone.

The data are NIST's (Herzing & Taillon, Micron 190, 103774 (2024)): a needle of layers stacked along its axis,
77 views with drifts up to 40 pixels, the tilt axis turned by about 3°, an unsigned ramp stored as int16.
"""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.files import etcli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def processed(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("needle")
    names = ("bin", "clean", "pre", "ali", "rec")
    binned, clean, pre, aligned, volume = (folder / f"{name}.mrc" for name in names)
    etcli("bin", "--factor", 2, shared_data / "etspy/needle_raw.mrc", binned)
    etcli("filter", "--method", "despike", binned, clean)
    etcli("register", "--write-xf", folder / "r.xf", clean, pre)
    run = etcli("tiltalign", "--json", "--prexf", folder / "r.xf", clean, aligned)
    etcli("recon", "--iterations", 20, "--nonnegative", aligned, volume)
    return volume, json.loads(run.out)


def test_the_axis_is_where_others_found_it(processed: tuple[Path, dict[str, float]]) -> None:
    _, axis = processed
    assert axis["angle_deg"] == pytest.approx(2.8, abs=0.3)
    assert axis["background"] == pytest.approx(-31890, abs=30)


def test_the_layers_are_flat_and_sharp(processed: tuple[Path, dict[str, float]]) -> None:
    volume = mrcfile.read(processed[0])
    core = volume[54:74, :, 54:74].mean(axis=(0, 2))
    # Five boundaries between the layers and the shaft, each within three voxels.
    jumps = np.abs(core[3:] - core[:-3])[20:100]
    peaks = (jumps[1:-1] >= jumps[:-2]) & (jumps[1:-1] > jumps[2:]) & (jumps[1:-1] > 0.15 * core.max())
    assert peaks.sum() >= 5
    # The boundary to the shaft lies at the same height on all sides: a plane, tilted by little.
    shaft = [
        np.argmax(np.abs(np.diff(volume[z : z + 4, 60:110, x : x + 4].mean(axis=(0, 2)))))
        for z, x in ((50, 62), (74, 62), (62, 50), (62, 74))
    ]
    assert np.ptp(shaft) <= 3


def test_the_needle_is_round(processed: tuple[Path, dict[str, float]]) -> None:
    volume = mrcfile.read(processed[0])
    section = volume[:, 64] > 0.5 * volume[54:74, 64, 54:74].mean()
    z, x = np.nonzero(section)
    assert np.std(z) == pytest.approx(np.std(x), rel=0.1)
    # All of it is one disc: its area is that of its spread.
    assert section.sum() == pytest.approx(4 * np.pi * np.std(x) * np.std(z), rel=0.05)
