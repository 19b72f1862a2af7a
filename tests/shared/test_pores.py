"""Pores and networks of specimens whose numbers are known."""

import json
from pathlib import Path

import numpy as np
import pytest

import etcli
from etcli.core.measurement.tortuosity import tortuosity
from etcli.pipeline.session import Mute

SESSION = etcli.Session(reporter=Mute())


def truth_of(data: Path, name: str) -> tuple[etcli.Volume, dict]:
    folder = data / "measure"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return etcli.read(folder / f"{name}.mrc"), json.loads((folder / f"{name}_truth.json").read_text())


def test_porous_ball(shared_data: Path) -> None:
    volume, truth = truth_of(shared_data, "porous")
    labels = etcli.segment(volume, split=None, session=SESSION).labels
    found = etcli.measure(volume, labels, pores=True, envelope=12, session=SESSION)
    pores = found.totals["pores"]
    assert (pores["closed"], pores["open"]) == (truth["n_closed"], truth["n_open"])
    assert pores["closed_volume_nm3"] == pytest.approx(truth["closed_pore_volume_nm3"], rel=0.01)
    assert pores["open_volume_nm3"] == pytest.approx(truth["open_pore_volume_nm3"], rel=0.12)
    assert pores["porosity"] == pytest.approx(truth["porosity"], abs=0.0015)
    surface = found.pore_columns["surface_nm2"][found.pore_columns["kind"] == "closed"].sum()
    assert surface == pytest.approx(truth["surface_closed_nm2"], rel=0.02)
    closed = etcli.measure(volume, labels, thickness=True, session=SESSION).totals["thickness"]["pores"]
    assert closed["mean_nm"] == pytest.approx(truth["closed_pore_local_thickness_mean_nm"], abs=0.2)


def test_network(shared_data: Path) -> None:
    volume, truth = truth_of(shared_data, "network")
    labels = etcli.segment(volume, split=None, session=SESSION).labels
    solid = np.asarray(labels.images()) > 0
    axis = np.arange(truth["n"]) - (truth["n"] - 1) / 2
    distance = np.broadcast_to(np.hypot(axis[:, None], axis)[:, None, :], solid.shape)
    region = (distance < truth["roi_radius_nm"]).astype(np.uint8)
    found = etcli.measure(volume, labels, region=region, thickness=True, session=SESSION)
    totals = found.totals
    assert totals["volume_fraction"] == pytest.approx(truth["roi_volume_fraction"], rel=0.01)
    assert totals["surface_per_volume_nm-1"] == pytest.approx(truth["roi_surface_density_per_nm"], rel=0.02)
    inner = (distance < 32) & (np.abs(axis) < 48)[:, None]  # as the thickness of the field was measured
    assert found.thickness[inner & solid].mean() == pytest.approx(12.83, abs=0.1)
    assert found.thickness[inner & ~solid].mean() == pytest.approx(17.07, abs=0.2)
    cube = solid[28:84, :, 28:84]
    factors = [tortuosity(cube, along) for along in (1, 0)]
    assert factors == pytest.approx([2.78, 3.43], rel=0.02)  # of the field itself
