"""Weights chosen by held-out counts: curves, the tie that is kept or dropped, what has no map."""

import numpy as np
import pytest

from etcli.core.fusion.automatic import choose, fuse_all, most_iterations
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.held_out import EVIDENT, best_factor, curve
from etcli.core.fusion.parts import thinned
from tests.unit.test_fusion_haadf import SCALES, measured, specimen


def silent(iterations):
    """Be told of progress."""


def error(found, true):
    """Return the relative error of each element."""
    return [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(found, true, strict=True)]


def true_counts(x):
    """Return the counts a voxel of the specimen."""
    return x * SCALES[: len(x), None, None, None]


def test_vertex_of_a_parabola_at_uneven_steps():
    tried = np.array([2.0, 1.4, 1.0, 0.7, 0.5])
    deviance = 3 + (np.log(tried) - np.log(0.9)) ** 2
    assert best_factor(tried, deviance) == pytest.approx(0.9)
    assert best_factor(tried, -deviance) in (2.0, 0.5)
    assert best_factor(tried, tried) == 0.5
    assert min(curve("Ni", tried, deviance, 0.9).deviance) == 0


@pytest.fixture(scope="module")
def tied():
    """A choice with HAADF, and its maps."""
    maps = measured(specimen(), offset=30.0)
    done = []
    choice = choose(maps, thinned(maps.counts), done.append)
    return maps, choice, sum(done)


def test_tie_is_kept_and_halves_the_error(tied):
    maps, choice, _ = tied
    alone = ElementMaps(maps.names, maps.counts, maps.geometry)
    free = fuse_all(alone, choose(alone, thinned(maps.counts), silent), silent)
    with_tie = fuse_all(maps, choice, silent)
    true = true_counts(specimen())
    assert choice.setting.tie is not None
    assert (np.array(error(with_tie.counts, true)) < 0.7 * np.array(error(free.counts, true))).all()
    assert with_tie.rest is None  # at most better by chance
    assert choice.better_nats["rest"] < EVIDENT * choice.chance_nats["rest"]


def test_counts_are_those_measured(tied):
    maps, choice, _ = tied
    fused = fuse_all(maps, choice, silent)
    for counts, measured_counts in zip(fused.counts, maps.counts, strict=True):
        projected = maps.problem().project(counts)
        gains = choice.problem.gains[:, None, None]
        assert (gains * projected).sum() == pytest.approx(measured_counts.sum(), rel=1e-4)


def test_iterations_are_no_more_than_announced(tied):
    maps, choice, done = tied
    assert done + choice.iterations <= most_iterations(maps)


def test_the_same_again(tied):
    maps, choice, _ = tied
    again = choose(maps, thinned(maps.counts), silent)
    assert (again.setting.weights == choice.setting.weights).all()
    assert again.better_nats == choice.better_nats


def test_shifted_haadf_is_dropped(tied):
    maps = tied[0]
    shifted = ElementMaps(
        maps.names, maps.counts, maps.geometry, np.roll(maps.haadf_views, 3, axis=2), maps.haadf_geometry
    )
    dropped = choose(shifted, thinned(maps.counts), silent)
    assert dropped.setting.tie is None
    assert dropped.better_nats["tie"] < -EVIDENT * dropped.chance_nats["tie"]
    alone = ElementMaps(maps.names, maps.counts, maps.geometry)
    without = choose(alone, thinned(maps.counts), silent)
    assert dropped.setting.weights == pytest.approx(without.setting.weights, rel=0.02)


def test_element_without_a_map_is_found_in_haadf():
    x = specimen()
    x[0], x[1] = x.sum(axis=0), 0
    x[1, 9:15, 7:13, 19:22] = 0.2  # beside the other one
    both = measured(x)
    maps = ElementMaps(("Ni",), both.counts[:1], both.geometry, both.haadf_views, both.haadf_geometry)
    choice = choose(maps, thinned(maps.counts), silent)
    fused = fuse_all(maps, choice, silent)
    assert choice.has_rest
    assert choice.better_nats["rest"] > 0 > choice.better_nats["tie"] + EVIDENT * choice.chance_nats["tie"]
    assert fused.rest is not None
    assert np.corrcoef(fused.rest.ravel(), x[1].ravel())[0, 1] > 0.8


def test_one_element_has_no_joint_prior():
    both = measured(specimen())
    maps = ElementMaps(("Ni",), both.counts[:1], both.geometry)
    choice = choose(maps, thinned(maps.counts), silent)
    assert choice.setting.prior == "tv"
    assert "tnv" not in choice.better_nats
    assert choose(maps, thinned(maps.counts), silent, prior="tv").setting.prior == "tv"
