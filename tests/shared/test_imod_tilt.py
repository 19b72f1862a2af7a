"""IMOD's ``tilt`` puts a point where ``recon`` puts it."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.blobs import Point, blob_near, blob_views
from tests.files import etcli
from tests.imod import imod

POINTS: tuple[Point, ...] = ((7.3, -5.2, 4.4), (-9.1, 3.6, -6.7), (2.8, 9.9, -8.5))
TILTS = np.arange(-70, 71, 3.5)


def both(folder: Path, shape: tuple[int, int], thickness: int) -> tuple[np.ndarray, np.ndarray]:
    """Reconstruct one stack that etcli has written by IMOD's program and by ours, in IMOD's layout."""
    mrcfile.write(folder / "raw.mrc", blob_views(POINTS, TILTS, shape))
    np.savetxt(folder / "raw.tlt", TILTS, fmt="%.2f")
    etcli("stack", "-q", folder / "raw.mrc", folder / "ali.mrc")
    np.savetxt(folder / "ali.tlt", TILTS, fmt="%.2f")
    imod(
        *(
            "tilt",
            "-input",
            folder / "ali.mrc",
            "-output",
            folder / "imod.mrc",
            "-tiltfile",
            folder / "ali.tlt",
        ),
        *("-thickness", thickness, "-RADIAL", "0.5,0.05", "-SCALE", "0,1"),
    )
    size = ("--thickness", f"{thickness}px")
    etcli(
        "recon", "-q", "--method", "fbp", *size, "--orient", "imod", folder / "ali.mrc", folder / "ours.mrc"
    )
    return mrcfile.read(folder / "imod.mrc"), mrcfile.read(folder / "ours.mrc")


@pytest.mark.parametrize(
    ("shape", "thickness"), [((32, 40), 30), ((33, 40), 30), ((33, 41), 30), ((33, 40), 31), ((32, 41), 31)]
)
def test_a_point_has_one_place(tmp_path: Path, shape: tuple[int, int], thickness: int) -> None:
    theirs, ours = both(tmp_path, shape, thickness)
    assert theirs.shape == ours.shape == (shape[0], thickness, shape[1])
    # IMOD halves an odd width or thickness down to a whole number: its centre is half a voxel lower then
    lower = np.array([shape[1] % 2, thickness % 2, 0]) / 2
    for x, y, z in POINTS:
        place = np.array([x, -z, y])  # along the axes x, y, z of the file
        np.testing.assert_allclose(blob_near(ours, tuple(place)), place, atol=0.1)
        np.testing.assert_allclose(blob_near(theirs, tuple(place - lower)) + lower, place, atol=0.1)


def test_the_layouts_are_one(tmp_path: Path) -> None:
    theirs, ours = both(tmp_path, (32, 40), 30)

    def alike(volume: np.ndarray) -> float:
        return float(np.corrcoef(volume.ravel(), theirs.ravel())[0, 1])

    assert alike(ours) > 0.97
    for axis in range(3):  # turned round in any direction they have nothing in common
        assert alike(np.flip(ours, axis)) < 0.2


def test_turned_upright_it_is_the_usual_volume(tmp_path: Path) -> None:
    theirs, _ = both(tmp_path, (32, 40), 30)
    imod("clip", "rotx", tmp_path / "imod.mrc", tmp_path / "upright.mrc")
    etcli("recon", "-q", "--method", "fbp", "--thickness", "30px", tmp_path / "ali.mrc", tmp_path / "zyx.mrc")
    upright, zyx = (mrcfile.read(tmp_path / name) for name in ("upright.mrc", "zyx.mrc"))
    assert upright.shape == zyx.shape == (30, 32, 40)
    assert theirs.max() == upright.max()
    for point in POINTS:
        np.testing.assert_allclose(blob_near(upright, point), blob_near(zyx, point), atol=0.1)
