"""Views that interpolation has blurred: what they show of a volume."""

import numpy as np
import pytest

from etcli.core.fusion.problem import fusion_problem
from etcli.core.fusion.slab_views import LINEAR, SlabViews
from etcli.core.fusion.solve import solve
from etcli.core.geometry import SliceGeometry

TILTS = np.linspace(-60, 60, 13)
RNG = np.random.default_rng(0)


def views(rows=20, blur=LINEAR):
    """Return the geometry of a small series."""
    return SlabViews(SliceGeometry(TILTS, 12, 12, 12), rows, 16, blur)


def test_a_voxel_is_spread_as_linear_interpolation_spreads_a_pixel():
    sharp = np.zeros((12, 20, 12), np.float32)
    sharp[5, 8, 6] = 1
    seen = views().outer_volume(views().seen(views().inner_volume(sharp)))
    assert seen.sum() == pytest.approx(1)
    fractions = (np.arange(100) + 0.5) / 100
    for axis, centre in enumerate((5, 8, 6)):
        along = seen.sum(axis=tuple(k for k in range(3) if k != axis))
        at = np.arange(len(along)) - centre
        assert (along * at).sum() == pytest.approx(0, abs=1e-6)
        assert (along * at**2).sum() == pytest.approx((fractions * (1 - fractions)).mean(), rel=1e-3)


def test_projection_of_blurred_volumes_has_its_transpose():
    x, y = RNG.random((12, 20, 12)).astype(np.float32), RNG.random((13, 20, 12)).astype(np.float32)
    assert np.vdot(views().project(x), y) == pytest.approx(np.vdot(x, views().back_project(y)), rel=1e-5)
    assert views(blur=0.0).project(x).max() > views().project(x).max()


def test_sharp_volumes_are_found_in_blurred_views():
    x = np.zeros((12, 20, 12), np.float32)
    x[4:8, 6:14, 4:8] = 1
    counts = RNG.poisson(40 * views().project(x)).astype(np.float32)

    def error(blur):
        problem = fusion_problem([counts], views().geometry, blur=blur)
        found = solve(problem, [40.0], [5.0], iterations=120).volume[0]
        assert problem.deviance(found[None], [40.0])[0] / counts.size < 1
        return np.linalg.norm(found - x) / np.linalg.norm(x)

    assert error(LINEAR) < 0.8 * error(0.0)
