"""True sizes of simulated bodies against closed forms and the specimen in voxels."""

import numpy as np
import pytest

from etcli.core.simulate.particles import SUPPORT, needle, particle
from etcli.core.simulate.solids import Specimen, ellipsoid
from etcli.core.simulate.true_solids import true_solids


def test_ellipsoids_have_their_closed_form() -> None:
    """Turned and away from the centre; what leaves the field is left out, and so are voids."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    body = ellipsoid((3, -5, 7), (4, 6, 8), density=2.5, rotation=turn)
    outside, void = ellipsoid((30, 0, 0), 4), ellipsoid((0, 0, 0), 2, density=-1.0)
    (found,) = true_solids(Specimen((body, outside, void)), 64, pixel_A=20.0)
    assert found["density"] == 2.5
    assert found["volume_nm3"] == pytest.approx(8 * 4 / 3 * np.pi * 4 * 6 * 8, rel=1e-9)
    assert found["eq_diameter_nm"] == pytest.approx(4 * np.cbrt(4 * 6 * 8), rel=1e-7)
    assert [found[name] for name in ("x_nm", "y_nm", "z_nm")] == pytest.approx([6, -10, 14])


def test_cut_bodies_are_measured_in_voxels() -> None:
    """Half a ball has half its volume, and its centre of mass is at 3/8 of the radius."""
    half = ellipsoid((0, 0, 0), 12).cut((0, 0, 1), low=0)
    (found,) = true_solids(Specimen((half,)), 32, pixel_A=10.0)
    assert found["volume_nm3"] == pytest.approx(2 / 3 * np.pi * 12**3, rel=2e-3)
    assert [found[name] for name in ("x_nm", "y_nm", "z_nm")] == pytest.approx([0, 0, 4.5], abs=0.02)


def test_bodies_of_a_particle_add_up_to_its_volume() -> None:
    """The first is the support, all others are spheres of metal, which replace parts of it."""
    specimen = particle(48, np.random.default_rng(7))
    support, *metal = true_solids(specimen, 48, pixel_A=10.0)
    assert support["density"] == SUPPORT
    assert 15 <= len(metal) <= 40
    volume = specimen.volume((48, 48, 48)).images()
    replaced = (volume > 1.01).sum()
    total = support["volume_nm3"] + 4 * sum(body["volume_nm3"] for body in metal)
    assert 0 < total - volume.sum(dtype=np.float64) < 1.5 * replaced
    assert len(true_solids(needle(48, np.random.default_rng(4)), 48, pixel_A=10.0)) > 2
