"""Counts in two parts, scales, gains, fractions: closed forms and statistics."""

import numpy as np
import pytest

from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.fractions import atomic_fractions
from etcli.core.fusion.parts import LeftOutViews, ThinnedCounts, thinned
from etcli.core.fusion.problem import fusion_problem
from etcli.core.fusion.scales import voxel_scales
from etcli.core.fusion.slab_views import SlabViews
from etcli.core.fusion.view_gains import view_gains
from etcli.core.geometry import SliceGeometry

TILTS = np.linspace(-70, 70, 15)
LOWER = 0.65
"""Scale of a ball of density 1 and radius 6: the blur of 1.5 voxels and few steps lower it."""


def geometry(n=24, tilts=TILTS):
    """Return slices as thick as wide."""
    return SliceGeometry(tilts, n, n, n)


def ball(n=24, rows=16, radius=6.0):
    """Return a ball of density 1, an array (z, y, x)."""
    z, y, x = np.ogrid[:n, :rows, :n]
    far = (z - (n - 1) / 2) ** 2 + (y - (rows - 1) / 2) ** 2 + (x - (n - 1) / 2) ** 2
    return (far < radius**2).astype(np.float32)


def test_parts_are_all_counts_and_independent():
    counts = np.random.default_rng(1).poisson(3.0, (40, 60, 60)).astype(np.float32)
    parts = thinned([counts], seed=2)
    (fitted,), (others,) = parts.fitted, parts.others
    assert (fitted + others == counts).all()
    assert fitted.mean() == pytest.approx(0.8 * 3.0, rel=0.01)
    assert others.var() == pytest.approx(0.2 * 3.0, rel=0.02)
    assert abs(np.corrcoef(fitted.ravel(), others.ravel())[0, 1]) < 0.01
    assert (thinned([counts], seed=2).fitted[0] == fitted).all()
    assert (thinned([counts], seed=3).fitted[0] != fitted).any()


def test_fraction_of_given_parts_is_measured():
    parts = ThinnedCounts.of_parts([np.full((8, 2, 2), 3.0)], [np.full((8, 2, 2), 1.0)])
    assert parts.fraction == pytest.approx(0.75)
    assert parts.scales == pytest.approx((0.75, 0.25))


def test_parts_share_the_background():
    counts = np.full((15, 16, 24), 4.0, np.float32)
    problem = fusion_problem([counts], geometry(), background=np.full((1, 15), 2.0))
    parts = ThinnedCounts.of_parts([0.75 * counts], [0.25 * counts])
    assert (parts.train(problem).background == 1.5).all()
    assert (parts.test(problem).background == 0.5).all()


def test_left_out_views_are_held_out_whole():
    x = ball()
    of_all = geometry()
    counts = SlabViews(of_all, 16, 16).project(x)
    maps = ElementMaps(("Ni",), (counts,), of_all)
    parts = LeftOutViews((counts,), TILTS)
    train, test = parts.train(maps.problem()), parts.test(maps.problem())
    views, (held_out,) = parts.held_out
    fitted = np.setdiff1d(np.arange(len(TILTS)), views)
    assert len(views) == 2
    assert (held_out == counts[views]).all()
    assert train.views.geometry.tilt_deg.tolist() == TILTS[fitted].tolist()
    assert test.views.geometry.tilt_deg.tolist() == TILTS[views].tolist()
    assert parts.fraction == pytest.approx(13 / 15)
    assert parts.scales == (1.0, 1.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_scale_is_that_of_the_dense_element(threads):
    x = ball()
    views = SlabViews(geometry(), 16, 16)
    counts = [(k * views.project(x)).astype(np.float32) for k in (0.2, 5.0)]
    assert voxel_scales(counts, geometry(), threads=threads) / [0.2, 5.0] == pytest.approx(LOWER, abs=0.03)


def test_scale_of_more_slices_than_a_slab():
    x = ball(rows=80, radius=6)
    counts = SlabViews(geometry(), 80, 64).project(x)
    assert voxel_scales([counts], geometry())[0] == pytest.approx(LOWER, abs=0.03)


def test_gains_are_those_of_the_views():
    gains = np.array([0.5, 1.0, 1.2, 0.0, 1.3])
    shown = np.array([[3.0, 4, 5, 6, 7], [1.0, 1, 2, 1, 1]])
    weights, scales = np.array([50.0, 200.0]), np.array([0.1, 0.4])
    counts = [
        np.broadcast_to((k * gains * s / 4)[:, None, None], (5, 2, 2))
        for k, s in zip(scales, shown, strict=True)
    ]
    found = view_gains(counts, scales, weights, weights @ shown)
    assert found == pytest.approx(gains / gains.mean())
    assert view_gains(counts, scales, weights, np.r_[0.0, (weights @ shown)[1:]])[0] == 1


def test_a_film_fills_the_views_and_a_ball_does_not():
    film = np.full((15, 16, 24), 2.0, np.float32)
    assert ElementMaps(("Ti",), (film,), geometry()).fills_views
    counts = SlabViews(geometry(), 16, 16).project(ball())
    maps = ElementMaps(("Ni", "Cr"), (counts, 0.04 * counts), geometry())
    assert not maps.fills_views
    assert maps.minor == (False, True)


def test_fractions_of_an_alloy_and_nothing_in_vacuum():
    counts = np.zeros((2, 4, 4, 4), np.float32)
    counts[0, :2], counts[1, :2] = 0.3, 0.1
    counts[0, 2] = 0.01  # noise
    found = atomic_fractions(counts, [1.0, 2.0], np.array([0.3, 0.1]))
    assert found[:, :2].mean((1, 2, 3)) == pytest.approx([0.6, 0.4])
    assert (found[:, 2:] == 0).all()
