"""Reconstruction of the published catalyst phantom under total variation, its weight found by itself.

Relative errors to beat: ETSpy 1.3 at best .041 from 45 views, .179 with noise of 3 % (SIRT 100).
"""

from functools import partial

import mrcfile
import numpy as np
import pytest

from etcli.core.geometry import SlabGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.solvers.left_out import best_weight, leave_out
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.regularised import as_series, regularised

SLICES = 29, 61, 86, 112  # counted from the other end of y
N = 150
NOISE = 0.03  # of the brightest pixel


@pytest.fixture(scope="module")
def catalyst(shared_data):
    """Rows of views binned by two, tilts, and the slices they should give: (z, x) by row."""
    folder = shared_data / "etspy"
    tilt = np.loadtxt(folder / "catalyst_180_bin2.rawtlt")
    with mrcfile.mmap(folder / "catalyst_180_bin2.mrc", permissive=True) as file:
        pairs = [file.data[:, [299 - 2 * k, 298 - 2 * k]].astype(float).mean(axis=1) for k in SLICES]
    rows = [pair.reshape(len(tilt), N, 2).mean(axis=2) / 2 for pair in pairs]
    with mrcfile.mmap(folder / "catalyst_truth_bin4.mrc", permissive=True) as file:
        truth = np.array([file.data[N - 1 - k][::-1] for k in SLICES], float)
    return np.array(rows), tilt, truth


@pytest.mark.parametrize(
    ("every", "noisy", "limit"), [(2, False, 0.022), (5, False, 0.035), (2, True, 0.075), (5, True, 0.10)]
)
def test_total_variation_with_the_weight_it_finds(catalyst, every, noisy, limit):
    rows, tilt, truth = catalyst
    if noisy:
        rows = rows + np.random.default_rng(1).normal(0, NOISE * rows.max(), rows.shape)
    geometry = SlabGeometry(tilt[::every], n_detector=N, thickness=N, width=N)
    how = {"make_projector": partial(SlabProjector, kernel="strip"), "threads": 2}
    prior = partial(make_prior, "tv", lower=0.0)
    found = []
    for row in rows:  # far from each other: each on its own
        views = np.ascontiguousarray(row[::every, np.newaxis], np.float32)
        weight = best_weight(leave_out(as_series(views, geometry, **how)), prior).best
        series = as_series(views, geometry, **how)
        found.append(regularised(series, prior(series.shape), weight=weight, iterations=60)[..., 0])
    error = np.linalg.norm(np.array(found) - truth) / np.linalg.norm(truth)
    print(f"\n{len(tilt[::every])} views, {'3 % noise' if noisy else 'clean'}: {error:.4f}")
    assert error < limit
