"""Images of models of silicon, against numbers that were computed without etcli."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.special import gammaln

from tests.files import etcli

N, COUNTS = 140, 1e6
FRAME = ("--axis-direction", 0, 0, 1, "--beam", 0, 1, 0)
ALONG_101 = ("--axis-direction", 1, 0, 1, "--beam", 0, 1, 0)
FRAMES = {"crystal_axis_001": FRAME, "crystal_axis_101": ALONG_101, "amorphous_axis_001": FRAME}


@pytest.fixture
def folder(shared_data: Path) -> Path:
    folder = shared_data / "entropy"
    if not folder.is_dir():
        pytest.skip(f"no models of silicon at {folder}")
    return folder


def views(folder: Path, target: Path, model: str, radius_A: float, angles: tuple[float, ...]) -> np.ndarray:
    """Views of a model as spheres with 1e6 counts, at angles of the reference, which have the other sign."""
    path = folder / f"si_{model.split('_')[0]}_3409.xyz"
    turned = [-angle for angle in angles]
    options = (*FRAMES[model], "--spheres", radius_A, "--counts", COUNTS, "--no-noise", "--range", *turned)
    etcli("simulate", "adf", path, *options, target)
    return mrcfile.read(target).reshape(-1, N, N)


def entropy(view: np.ndarray) -> float:
    """S / N³ in the gamma form: the number of ways to put counts into the voxels along a ray."""
    i = view[view > 0].astype(np.float64)
    return float((gammaln(i + N) - gammaln(i + 1) - gammaln(N)).sum() / N**3)


def test_zone_axes_have_the_known_zeros_and_entropy(folder: Path, tmp_path: Path) -> None:
    special = json.loads((folder / "golden.json").read_text())["special"]
    assert len(special) >= 10
    for case in special:
        angle = case["angle_deg"]
        (view,) = views(folder, tmp_path / "s.mrc", case["model"], 0.2, (angle, angle, 1))
        assert view.sum() == pytest.approx(COUNTS, rel=1e-6)
        # the angles of zone axes are rounded in the file, which moves atoms over edges
        assert (view == 0).mean() == pytest.approx(case["zero_pixel_fraction"], abs=1e-4), case
        assert entropy(view) == pytest.approx(case["gamma"], abs=2e-6), case


@pytest.mark.parametrize("model", FRAMES)
@pytest.mark.parametrize(("kind", "radius_A"), [("sphere", 0.2), ("point", 0)])
def test_curves_of_all_views(folder: Path, tmp_path: Path, model: str, kind: str, radius_A: float) -> None:
    curves = json.loads((folder / "golden.json").read_text())["curves"]
    (curve,) = [curves[name] for name in curves if name.startswith(kind)]
    seen = views(folder, tmp_path / "s.mrc", model, radius_A, (0, 177, 3))
    found = [entropy(view) for view in seen]
    np.testing.assert_allclose(found, curve[model]["gamma"], atol=2e-6)
