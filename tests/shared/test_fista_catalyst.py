"""Reconstruction of the published catalyst phantom under total variation, its weight found by itself.

Relative errors to beat: ETSpy 1.3 at best .041 from 45 views, .179 with noise of 3 % (SIRT 100).
"""

from functools import partial

import numpy as np
import pytest

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.reconstruction.cross_validation import best_weight, leave_out
from etcli.core.solvers.fista import fista
from etcli.core.solvers.methods import METHODS
from etcli.core.solvers.misfit import slab_misfit
from etcli.core.solvers.priors import make_prior
from tests.catalyst import N, catalyst_slices, noisy

ALL, TWO = slice(None), slice(1, None, 2)  # of the slices, of which each has about the same error


@pytest.mark.parametrize(
    ("every", "clean", "slices", "limit"),
    [
        (5, True, TWO, 0.035),
        (5, False, TWO, 0.10),
        pytest.param(5, True, ALL, 0.035, marks=pytest.mark.slow),
        pytest.param(5, False, ALL, 0.10, marks=pytest.mark.slow),
        pytest.param(2, True, ALL, 0.022, marks=pytest.mark.slow),
        pytest.param(2, False, ALL, 0.075, marks=pytest.mark.slow),
    ],
)
def test_total_variation_with_the_weight_it_finds(shared_data, every, clean, slices, limit):
    views, tilt, truth = catalyst_slices(shared_data / "etspy")
    views = (views if clean else noisy(views))[:, slices]
    geometry = SliceGeometry(tilt[::every], n_detector=N, thickness=N, width=N)
    how = {"make_projector": partial(SlabProjector, kernel="strip")}
    prior = partial(make_prior, "tv", lower=0.0)
    found = []
    for row in np.split(views[::every], views.shape[1], axis=1):  # far from each other: each on its own
        series = slab_misfit(row, geometry, **how)
        weight = best_weight(leave_out(series), prior).best
        found.append(
            fista(series, prior(series.shape), weight=weight, iterations=METHODS["fista"].iterations)[..., 0]
        )
    error = np.linalg.norm(np.array(found) - truth[slices]) / np.linalg.norm(truth[slices])
    print(f"\n{len(tilt[::every])} views, {'clean' if clean else '3 % noise'}: {error:.4f}")
    assert error < limit
