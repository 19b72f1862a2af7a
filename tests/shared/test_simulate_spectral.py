"""Elemental specimens beside an independent simulation: other formulas for solids, projections and voxels."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import mrcfile
import numpy as np
import pytest

from etcli.core.simulate.elemental import ElementalSpecimen, Linear, Part
from etcli.core.simulate.elemental_specimens import haadf_weights
from etcli.core.simulate.imaging import ViewGeometry
from etcli.core.simulate.shapes import box, cylinder
from etcli.core.simulate.solids import ellipsoid

BODIES: dict[str, Any] = {
    "ellipsoid": lambda c, size, axes: ellipsoid(c, size, rotation=axes),
    "box": lambda c, size, axes: box(c, size, axes=axes),
    "cylinder": lambda c, size, axes: cylinder(c, size, axes=axes),
}


def load(folder: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def described(shared_data: Path) -> dict[str, Any]:
    """The specimen as its own program describes it."""
    folder = shared_data.parent / "prototypes" / "spectral"
    if not folder.is_dir():
        pytest.skip(f"no description of the specimen at {folder}")
    import sys

    sys.modules["shapes"] = load(folder, "shapes")
    try:
        found: dict[str, Any] = load(folder, "specimens").main()
    finally:
        del sys.modules["shapes"]
    return found


@pytest.fixture(scope="module")
def specimen(described: dict[str, Any]) -> ElementalSpecimen:
    parts = []
    for solid in described["solids"]:
        content = {
            element: Linear.along(solid.about, solid.R[:, 0], density, slope)
            for element, (density, slope) in solid.content.items()
        }
        parts.append(Part(BODIES[solid.kind](solid.c, solid.size, solid.R), content))
    elements = tuple(described["elements"])
    return ElementalSpecimen(elements, tuple(parts), described["shape"])


def test_expected_counts_agree(specimen, shared_data) -> None:
    """To the digits in which those are stored, and to other points in the pixels on the surfaces."""
    data = shared_data / "spectral"
    true = json.loads((data / "parameters.json").read_text())
    for k in (0, 9, 14):
        lines = specimen.project(ViewGeometry.of(true["edx_tilts"][k]), specimen.shape[1:])
        for element, line in zip(specimen.elements, lines, strict=True):
            expected = mrcfile.read(data / f"clean_{element}.mrc")[k].astype(np.float64)
            counts = true["sensitivity"][element] * line
            assert np.abs(counts - expected).max() < 1e-3 * expected.max() + 1e-6
            assert counts.sum() == pytest.approx(expected.sum(), rel=2e-4)


def test_misaligned_views_agree(specimen, shared_data) -> None:
    """Counted views scatter about those of the same axis, offset and displacement as widely as counts do."""
    data = shared_data / "spectral"
    true = json.loads((data / "parameters.json").read_text())
    tilt_deg, x, y = np.loadtxt(data / "mis_truth.csv", delimiter=",").T
    k = 30
    geometry = ViewGeometry.of(
        tilt_deg[k], (x[k], y[k]), axis_deg=true["axis_deg"], axis_offset_px=true["axis_offset_px"]
    )
    view = mrcfile.read(data / "mis_haadf.mrc")[k]
    lines = specimen.project(geometry, view.shape)
    weights = haadf_weights(specimen.elements)
    np.testing.assert_allclose(weights, [true["haadf_weight"][element] for element in specimen.elements])
    expected = true["haadf_counts_per_unit"] * np.tensordot(weights, lines, 1)
    scatter = (view - expected) / np.sqrt(expected + 25)
    assert abs(scatter.mean()) < 0.05
    assert scatter.std() == pytest.approx(1, abs=0.05)


def test_densities_agree(specimen, shared_data) -> None:
    """Except for what points in voxels of the surface miss: 4 x 4 x 4 there, 4 x 4 lines here."""
    for element in specimen.elements:
        expected = mrcfile.read(shared_data / "spectral" / f"truth_{element}.mrc")
        found = specimen.volume(element)
        assert np.linalg.norm(found - expected) < 0.03 * np.linalg.norm(expected)
        assert found.sum() == pytest.approx(expected.sum(dtype=np.float64), rel=2e-3)
        inside = np.abs(found - expected) > 0.03 * expected.max()
        assert inside.mean() < 0.02
