"""Clipped HAADF views are told from those that are only bright."""

import numpy as np
import pytest
from scipy.ndimage import shift

from etcli.core.fusion.clipped import clipped_views

NOISE = 5.0


def views(counted=False):
    """Return 12 views of a ball."""
    y, x = np.mgrid[:40, :40] - 19.5
    ball = 20 * np.sqrt(np.maximum(15**2 - x**2 - y**2, 0))
    noisy = ball * np.linspace(0.9, 1.1, 12)[:, None, None]
    noisy = noisy + np.random.default_rng(0).normal(0, NOISE, noisy.shape)
    return np.rint(noisy) if counted else noisy


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_clipped_views_are_found(counted, moved):
    sharp = views(counted)
    clipped = np.minimum(sharp, 250.0)
    if moved:
        sharp, clipped = (
            np.stack([shift(v, (0.3, -0.4), order=3) for v in each]) for each in (sharp, clipped)
        )
    assert not len(clipped_views(sharp.astype(np.float32), NOISE))
    assert clipped_views(clipped.astype(np.float32), NOISE).tolist() == list(range(12))


def test_only_views_that_reach_the_ceiling():
    clipped = np.minimum(views(), 305.0).astype(np.float32)
    found = clipped_views(clipped, NOISE)
    assert 11 in found and 0 not in found


def test_equal_pixels_of_one_view_are_no_ceiling():
    one = views().astype(np.float32)
    one[3] = np.minimum(one[3], 250)
    assert not len(clipped_views(one, NOISE))
    assert not len(clipped_views(np.zeros((3, 8, 8), np.float32), NOISE))


def test_a_slab_of_even_thickness_is_no_ceiling():
    even = np.full((9, 30, 30), 200.0) / np.cos(np.deg2rad(np.linspace(-60, 60, 9)))[:, None, None]
    even += np.random.default_rng(0).normal(0, NOISE, even.shape)
    assert not len(clipped_views(even.astype(np.float32), NOISE))
