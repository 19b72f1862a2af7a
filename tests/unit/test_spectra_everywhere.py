"""Counts of an element where there is no specimen."""

import numpy as np
import pytest

from etcli.core.spectra.everywhere import EVERYWHERE, levels_off_specimen

RNG = np.random.default_rng(7)
Y, X = np.mgrid[:40, :40] - 19.5
BALL = np.sqrt(np.maximum(144 - X**2 - Y**2, 0)) / 12 * np.ones((5, 1, 1))


def counted(*expected: np.ndarray) -> np.ndarray:
    return RNG.poisson(np.stack(expected)).astype(np.float32)


def test_counts_of_a_holder_are_measured() -> None:
    (nickel, none), (copper, share) = levels_off_specimen(counted(3 * BALL, BALL + 0.4))
    assert (nickel, none) == (0, 0)
    assert copper == pytest.approx(0.4, rel=0.1)
    assert share == pytest.approx(0.4 / (0.4 + BALL.mean()), rel=0.1)


def test_elements_of_the_specimen_only_have_none() -> None:
    shell = np.where(np.hypot(X, Y) < 15, 1.0, 0.0) * np.ones((5, 1, 1))
    assert all(share < EVERYWHERE for _, share in levels_off_specimen(counted(3 * BALL, shell)))


def test_a_film_that_fills_the_field_has_no_beside() -> None:
    film = np.ones((5, 40, 40))
    assert levels_off_specimen(counted(2 * film, film)) == [(0, 0), (0, 0)]


def test_an_empty_map() -> None:
    assert levels_off_specimen(counted(3 * BALL, 0 * BALL))[1] == (0, 0)
