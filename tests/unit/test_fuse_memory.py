"""The memory that a joint reconstruction is said to take, against what it takes."""

import tracemalloc
from dataclasses import replace

import pytest

from etcli.core.fusion import automatic, held_out
from etcli.core.fusion.automatic import choose, fuse_all
from etcli.core.fusion.element_maps import ElementMaps
from etcli.core.fusion.parts import thinned
from etcli.core.fusion.slab_views import LINEAR
from etcli.core.series import TiltSeries
from etcli.pipeline.fuse_inputs import FusionInputs
from etcli.pipeline.fuse_report import memory_needed
from tests.unit.test_fusion_choice import silent
from tests.unit.test_fusion_haadf import HAADF_TILTS, TILTS, measured, specimen


@pytest.mark.parametrize("interpolated", [False, True])
def test_one_element_beside_something_bright_without_a_map(interpolated, monkeypatch):
    """The most arrays an element: its fits with and without HAADF, and with a rest; a few steps suffice."""
    monkeypatch.setattr(held_out, "ITERATIONS", 25)
    monkeypatch.setattr(automatic, "FINAL", 4)
    monkeypatch.setattr(automatic, "FINAL_TIED", 4)
    both = measured(specimen(n=40, rows=32), dose=2.0)
    counts = both.counts[0]
    series = TiltSeries.of(counts, TILTS)
    if interpolated:
        series = replace(series, history=("etcli xform: linear",))
    inputs = FusionInputs({"Ni": series}, haadf=TiltSeries.of(both.haadf_views, HAADF_TILTS))
    maps = ElementMaps(("Ni",), (counts,), both.geometry, both.haadf_views, both.haadf_geometry)
    maps = replace(maps, blur=LINEAR if interpolated else 0.0)
    told = memory_needed(inputs, both.geometry, 1)
    choose(maps, thinned([counts]), silent)  # kernels are loaded
    tracemalloc.start()
    try:
        fuse_all(maps, choose(maps, thinned([counts]), silent), silent)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.6 * told < used < told
