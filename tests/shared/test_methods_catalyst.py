"""Reconstruction of the published catalyst phantom, so that no method gets worse unseen.

ETSpy 1.3 with the same settings, in the same order: .0702, .1782, .0822; .2589, .2073, .3882.
"""

from functools import partial

import pytest

from etcli.core.geometry import SliceGeometry
from etcli.core.projectors.slab import SlabProjector
from etcli.core.quality import nrmse
from etcli.core.reconstruction.solve import solve
from etcli.core.solvers.methods import MethodParameters
from etcli.core.solvers.misfit import slab_misfit
from tests.catalyst import N, catalyst_slices, noisy

WORSE = 1.03


@pytest.mark.parametrize(
    ("recipe", "today"),
    [
        (MethodParameters("fbp"), 0.0702),
        (MethodParameters("sirt", iterations=20), 0.1782),
        (MethodParameters("sart", iterations=20), 0.0556),
        (MethodParameters("cgls", iterations=10), 0.0535),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_all_views_clean(shared_data, recipe, today):
    views, tilt, truth = catalyst_slices(shared_data / "etspy")
    assert error_of(recipe, views, tilt, truth) < WORSE * today


@pytest.mark.parametrize(
    ("recipe", "today"),
    [
        (MethodParameters("fbp", window="hann"), 0.2587),
        (MethodParameters("sirt", iterations=20), 0.2073),
        (MethodParameters("sart", iterations=20, lower=0), 0.3861),
    ],
    ids=lambda value: getattr(value, "method", ""),
)
def test_every_second_view_with_noise(shared_data, recipe, today):
    views, tilt, truth = catalyst_slices(shared_data / "etspy")
    assert error_of(recipe, noisy(views)[::2], tilt[::2], truth) < WORSE * today


def error_of(recipe, views, tilt, truth):
    geometry = SliceGeometry(tilt, n_detector=N, thickness=N, width=N)
    series = slab_misfit(views, geometry, make_projector=partial(SlabProjector, kernel="strip"))
    volume = solve(recipe, series)[..., : views.shape[1]].transpose(2, 0, 1)
    error = nrmse(volume, truth)
    print(f"\n{error:.4f}")
    return error
