"""``etcli recon`` of four to seven views, whose parameters set themselves."""

import json
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from tests.files import etcli, failure

N = 32
RANGES = {4: (-30, 31, 20), 5: (-40, 41, 20), 6: (-50, 51, 20), 7: (-60, 61, 20)}


def written_series(path: Path, n_views: int) -> tuple[Path, NDArray[np.float32]]:
    """Write noisy views of a disc in a disc, 16 rows of it; return the slice (z, x)."""
    z, x = np.mgrid[:N, :N] - (N - 1) / 2
    truth = np.float32(np.hypot(z, x) < 11) + np.float32(np.hypot(z + 3, x - 4) < 4)
    tilt_deg = np.arange(*RANGES[n_views], dtype=float)
    geometry = SliceGeometry(tilt_deg, n_detector=N, thickness=N, width=N)
    slab = np.repeat(truth[..., np.newaxis], 16, axis=2)
    views = SlabProjector(geometry, n_slices=16).forward(slab).swapaxes(1, 2)
    views += np.random.default_rng(n_views).normal(0, 0.03 * views.max(), views.shape)
    with warnings.catch_warnings(action="ignore"), mrcfile.new(path, np.float32(views)) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = 10.0
    np.savetxt(path.with_suffix(".tlt"), tilt_deg)
    return path, truth


@pytest.mark.parametrize("n_views", RANGES)
def test_a_weight_is_found_from_four_views_on(tmp_path: Path, n_views: int) -> None:
    """It is between the weights that smooth everything and nothing, and better than both."""
    source, truth = written_series(tmp_path / "few.mrc", n_views)

    def error(*how: object) -> float:
        out = tmp_path / "out.mrc"
        fixed = "--method", "fista", "--nonnegative", "--background", 0
        run = etcli("recon", "--json", *fixed, *how, source, out)
        weights.append(json.loads(run.out)["weight"])
        found = mrcfile.read(out)
        return float(np.linalg.norm(found[:, 8] - truth) / np.linalg.norm(truth))

    weights: list[float] = []
    auto, smooth, rough = error(), error("--weight", 200), error("--weight", 0.01)
    assert weights[2] < weights[0] < weights[1]
    assert auto < 0.9 * min(smooth, rough)
    assert auto < {4: 0.3, 5: 0.25, 6: 0.2, 7: 0.15}[n_views]


@pytest.mark.parametrize("n_views", RANGES)
@pytest.mark.parametrize("method", ["sirt", "cgls"])
def test_a_number_of_iterations_is_found_from_four_views_on(
    tmp_path: Path, method: str, n_views: int
) -> None:
    source, _ = written_series(tmp_path / "few.mrc", n_views)
    curve = tmp_path / "curve.csv"
    how = "--method", method, "--iterations", "auto", "--background", 0, "--error-curve", curve
    run = etcli("recon", "--json", *how, source, tmp_path / "out.mrc")
    iterations = json.loads(run.out)["iterations"]
    assert f"{iterations} iterations predict left-out views as well as any number" in run.err
    assert 1 <= iterations < 300


@pytest.mark.parametrize("how", [("--method", "fista"), ("--iterations", "auto")])
def test_three_views_are_refused_with_the_way_out(tmp_path: Path, how: tuple[str, ...]) -> None:
    source, _ = written_series(tmp_path / "few.mrc", 4)
    out = tmp_path / "out.mrc"
    words = failure("recon", "-q", "--views", "1-3", *how, source, out, status=1)
    assert "3 views are too few to leave one out, which takes 4; give weight and iterations" in words
    assert not out.exists()


@pytest.mark.parametrize("method", ["sirt", "fbp"])
def test_one_view_is_refused(tmp_path: Path, method: str) -> None:
    source, _ = written_series(tmp_path / "few.mrc", 4)
    out = tmp_path / "out.mrc"
    words = failure("recon", "-q", "--views", 2, "--method", method, source, out)
    assert "a single view at one tilt angle, -10°, too few to tell at which depth" in words
    np.savetxt(source.with_suffix(".tlt"), np.zeros(4))
    assert "4 views at one tilt angle, 0°" in failure("recon", "-q", "--method", method, source, out)
    assert not out.exists()


def test_three_views_do_with_numbers(tmp_path: Path) -> None:
    source, _ = written_series(tmp_path / "few.mrc", 4)
    out = tmp_path / "out.mrc"
    etcli("recon", "-q", "--method", "fista", "--weight", 5, "--views", "1-3", source, out)
    assert mrcfile.read(out).shape == (N, 16, N)
