"""HAADF as a volume of its own beside the elements, and elements beside something bright without a map."""

import numpy as np
import pytest

from etcli.core.fusion.automatic import FINAL, FINAL_TIED, Choice, _with_channel, choose, fuse_all
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.haadf_channel import voxel_weights, with_channel
from etcli.core.fusion.haadf_fit import HaadfFit
from etcli.core.fusion.held_out import TYPICAL, HeldOut, Setting, Trial
from etcli.core.fusion.parts import thinned
from tests.unit.test_fusion_choice import error, silent
from tests.unit.test_fusion_haadf import SCALES, WEIGHTS, measured, specimen


def test_voxel_weights_go_by_the_majority():
    rng = np.random.default_rng(0)
    x = np.zeros((2, 10, 10, 10), np.float32)
    x[0, :5], x[1, 5:] = 1, 1
    signal = 50 * x[0] + 280 * x[1] + rng.normal(0, 5, x[0].shape).astype(np.float32)
    signal[:, :2] += 300  # of something else, in 20 % of the voxels
    assert voxel_weights(x, signal) == pytest.approx([50, 280], rel=0.08)
    assert (voxel_weights(x, -signal) == 0).all()
    assert (voxel_weights(0 * x, signal) == 0).all()


def test_edges_of_haadf_that_is_no_sum_of_the_elements():
    """A channel of HAADF sharpens the elements although nothing is known of their signal."""
    x = specimen()
    maps = measured(x)
    held_out = HeldOut(maps.problem(), thinned(maps.counts), SCALES, maps.minor, silent)
    weights = TYPICAL * np.sqrt(SCALES)
    free = held_out.trial(Setting("tnv", weights))
    fit = HaadfFit(np.zeros(2), np.zeros(2), 5.0, np.zeros(len(maps.haadf_views)), np.ones(13), 13)
    setting = with_channel(maps, fit, Setting("tv", weights), "tnv")
    trial = held_out.trial(setting)
    assert setting.channel and len(setting.weights) == 3
    assert setting.tie is not None and (setting.tie.weights[:2] == 0).all()
    both = trial.volume[:2], free.volume
    assert (np.array(error(both[0], x)) < 0.9 * np.array(error(both[1], x))).all()
    assert np.corrcoef(trial.volume[2].ravel(), np.tensordot(WEIGHTS, x, 1).ravel())[0, 1] > 0.95


@pytest.mark.parametrize(("better", "use"), [(30.0, "channel"), (9.0, "none")])
def test_channel_is_kept_where_it_predicts_better_by_two_standard_errors(monkeypatch, better, use):
    """The judgement alone, of fits whose deviances are given."""
    maps = measured(specimen())
    held_out = HeldOut(maps.problem(), thinned(maps.counts), SCALES, maps.minor, silent)
    fit = HaadfFit(WEIGHTS, np.ones(2), 5.0, np.zeros(len(maps.haadf_views)), np.ones(13), 13)
    setting = Setting("tnv", np.ones(2))

    def trial(self, setting, start=None, *, keep=False):
        deviance = np.array([100.0 - better * setting.channel, 50.0])
        return Trial(setting, deviance, np.zeros((2, 24, 20, 24), np.float32))

    monkeypatch.setattr(HeldOut, "trial", trial)
    monkeypatch.setattr(HeldOut, "chance", lambda *_: 5.0)
    choice = Choice(maps.problem(), setting, SCALES, maps.minor, fit)
    found = _with_channel(choice, maps, held_out, setting)
    assert found.haadf_use == use and not found.has_rest
    assert found.better_nats["channel"] == pytest.approx(better)
    assert found.iterations == (FINAL_TIED if use == "channel" else FINAL)


def test_something_bright_without_a_map_is_found():
    x = specimen()
    both = measured(x, dose=4.0)
    maps = ElementMaps(("Ni",), both.counts[:1], both.geometry, both.haadf_views, both.haadf_geometry)
    choice = choose(maps, thinned(maps.counts), silent)
    fused = fuse_all(maps, choice, silent)
    assert choice.has_rest
    assert fused.rest is not None
    assert np.corrcoef(fused.rest.ravel(), x[1].ravel())[0, 1] > 0.9
