"""Nesterov's momentum: its formula, and where it starts again."""

from math import sqrt

import numpy as np
import pytest

from etcli.core.solvers.momentum import Momentum

RNG = np.random.default_rng(3)


def paces(n):
    """Return t of n steps, as Beck and Teboulle define it."""
    t = [1.0]
    while len(t) < n:
        t.append((1 + sqrt(1 + 4 * t[-1] ** 2)) / 2)
    return t


@pytest.mark.parametrize("threads", [1, 3])
def test_look_ahead_follows_the_formula_until_a_step_turns(threads):
    shape = 5, 3, 7  # not a multiple of eight numbers
    direction = np.abs(RNG.normal(size=shape)).astype(np.float32)
    momentum = Momentum(5, threads=threads)
    t = paces(5)
    volume, ahead = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for k in range(4):
        new = ahead + direction
        momentum.look_ahead(volume, new, ahead)
        expected = new + (t[k] - 1) / t[k + 1] * (new - volume)
        np.testing.assert_allclose(ahead, expected, rtol=1e-5)
        volume = new
    # beyond the point looked at last, and back: (v - x⁺)·(x⁺ - x) > 0
    new = volume + (ahead - volume) / 2
    momentum.look_ahead(volume, new, ahead)
    np.testing.assert_array_equal(ahead, new)


def test_one_voxel_decides_whether_all_turn():
    """The sum over all voxels is what counts, the last ones included."""
    for last, turned in ((30.0, True), (1.0, False)):
        momentum = Momentum(1)
        volume, ahead = np.zeros((1, 1, 13), np.float32), np.zeros((1, 1, 13), np.float32)
        for _ in range(2):
            new = ahead + np.float32(1)
            momentum.look_ahead(volume, new, ahead)
            volume = new
        new = ahead + np.float32(0.5)
        ahead[..., -1] = new[..., -1] + last
        momentum.look_ahead(volume, new, ahead)
        assert np.array_equal(ahead, new) == turned


def test_after_a_restart_the_next_step_looks_no_further():
    momentum = Momentum(1)
    volume, ahead = np.zeros((1, 1, 4), np.float32), np.zeros((1, 1, 4), np.float32)
    for _ in range(3):
        new = ahead + np.float32(1)
        momentum.look_ahead(volume, new, ahead)
        volume = new
    assert (ahead > new).all()
    momentum.restart()
    new = ahead + np.float32(1)
    momentum.look_ahead(volume, new, ahead)
    np.testing.assert_array_equal(ahead, new)
