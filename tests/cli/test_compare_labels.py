"""``compare`` and ``info`` of labels, and their colours in ``view``."""

import json
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

import etcli as api
from tests.bodies import ball
from tests.files import etcli, failure

pytestmark = pytest.mark.usefixtures("coarse_pictures")
SHAPE = (24, 32, 40)


def write(path: Path, data: np.ndarray) -> Path:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(data)
        file.set_volume()
        file.voxel_size = 10.0
    return path


def grey(*radii: float) -> np.ndarray:
    places = (12, 12, 11), (12, 18, 28)
    return sum(ball(SHAPE, at, radius) for at, radius in zip(places, radii, strict=True)).astype(np.float32)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    volume = write(tmp_path / "v.mrc", grey(8, 6))
    etcli("segment", volume, tmp_path / "L.mrc")
    return tmp_path / "L.mrc"


def test_labels_are_paired_by_the_voxels_they_share(labels: Path, tmp_path: Path) -> None:
    """Another program numbers them otherwise, finds one too small and a third that is not there."""
    small, large = (ball(SHAPE, (12, *at), radius) > 0.5 for at, radius in (((18, 28), 5), ((12, 11), 8)))
    other = small * 7 + large * 900
    other[1, 1, 1] = 3
    found = json.loads(
        etcli("compare", "--json", write(tmp_path / "o.mrc", other.astype(np.float32)), labels).out
    )
    assert (found["labels_a"], found["labels_b"], found["matched"]) == (3, 2, 2)
    low = 100 * (small.sum() / (ball(SHAPE, (12, 18, 28), 6) > 0.5).sum() - 1) / 2
    assert found["volume_mean_percent"] == pytest.approx(low, abs=1.5)
    assert found["volume_rms_percent"] == pytest.approx(abs(low) * 2**0.5, abs=2)
    n, m = (other > 0).sum(), (grey(8, 6) > 0.5).sum()
    assert found["dice"] == pytest.approx(2 * (n - 1) / (n + m), abs=0.01)
    assert "nrmse" not in found
    assert "labels_a" not in etcli("compare", "--metric", "nrmse", labels, labels).out


def test_labels_of_other_programs_are_compared_on_request() -> None:
    two = np.zeros(SHAPE, np.uint8)
    two[5:10], two[15:20] = 1, 2
    found = api.compare(api.Volume(two), api.Volume(two[::-1].copy()), metrics=["labels"])
    assert found["matched"] == 2 and 0 < found["dice"] < 1


def test_labels_are_no_grey_values(labels: Path, tmp_path: Path) -> None:
    assert "holds labels and" in etcli("compare", labels, tmp_path / "v.mrc").err
    assert "--align and --fit-scale are not for labels" in failure(
        "compare", "--align", labels, labels, status=2
    )


def test_info_tells_how_many_bodies_and_how_they_were_found(labels: Path) -> None:
    assert "bodies       labels 1 to 2: edge, threshold 0.5" in etcli("info", labels).out
    assert json.loads(etcli("info", "--json", labels).out)["segmentation"].endswith("2 labels")


def test_view_draws_labels_in_colours(labels: Path, tmp_path: Path) -> None:
    def hues(*options: str) -> int:
        etcli("view", "--no-crosshair", *options, labels, tmp_path / "p.png")
        pixels = np.asarray(Image.open(tmp_path / "p.png").convert("HSV"))
        strong = pixels[pixels[..., 1] > 60]
        return len(np.unique(strong[:, 0] // 16)) if len(strong) > 500 else 0

    assert hues() == hues("--views", "8-16") == 2
    assert hues("--cmap", "bone") != 2
