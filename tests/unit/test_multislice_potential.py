"""Potentials of atoms: projected, in slices, and averaged over voxels."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.core.multislice import potential as module
from etcli.core.multislice.constants import POTENTIAL_V_A2
from etcli.core.multislice.optics import WaveGrid
from etcli.core.multislice.potential import ProjectedPotential, mean_potential
from etcli.core.multislice.propagation import integrated
from etcli.core.multislice.scattering_factors import scattering_factor

GRID = WaveGrid((96, 120), 1 / 6)
RNG = np.random.default_rng(2)
ATOMS = Atoms(
    np.column_stack([RNG.uniform(-9, 9, 30), RNG.uniform(-7, 7, 30), RNG.uniform(-3, 5, 30)]),
    np.array(["O", "Si", "Sr"])[RNG.integers(0, 3, 30)],
)
FACTORS = {"O": 0.8, "Si": 0.5, "Sr": 0.6}


def of(atoms: Atoms, grid: WaveGrid = GRID, limit: float = 2.4) -> ProjectedPotential:
    return ProjectedPotential.of(atoms.species, grid, limit_per_A=limit, debye_waller_A2=FACTORS)


def at_zero(species: np.ndarray) -> float:
    return POTENTIAL_V_A2 * sum(float(scattering_factor(name, np.zeros(1))[0]) for name in species.tolist())


def test_the_constant() -> None:
    """2π a₀ e / 4πε₀, with e / 4πε₀ = 14.3996454 V Å (CODATA 2018)."""
    assert pytest.approx(2 * np.pi * 0.529177211 * 14.3996454, rel=1e-8) == POTENTIAL_V_A2


def test_the_sum_over_atoms() -> None:
    """Against the sum of exponentials as it is written."""
    qy, qx = GRID.frequencies_per_A
    q = np.hypot(qy, qx)
    spectrum = np.zeros(GRID.shape, complex)
    for (x, y, _), name in zip(ATOMS.position_A, ATOMS.species.tolist(), strict=True):
        form = scattering_factor(name, q) * np.exp(-FACTORS[name] * q**2 / 4) * (q <= 2.41)
        spectrum += form * np.exp(-2j * np.pi * (qx * (x + 119 / 12) + qy * (y + 95 / 12)))
    wanted = POTENTIAL_V_A2 * np.fft.ifft2(spectrum).real * 36
    found = of(ATOMS, limit=2.41).image(ATOMS.position_A[:, :2], ATOMS.species)
    assert found.dtype == np.float32 and wanted.max() > 200
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_an_atom_against_the_integral() -> None:
    """v(r) = V₀ 2π ∫ f(q) exp(-Bq²/4) J₀(2πqr) q dq; the grid repeats itself, but the atom has decayed."""
    grid = WaveGrid((201, 201), 0.08)
    found = of(Atoms(np.zeros((1, 3)), np.array(["Si"])), grid, 6.0).image(np.zeros((1, 2)), np.array(["Si"]))
    for n in (0, 3, 7, 20):

        def integrand(q: float, r: float = 0.08 * n) -> float:
            factor = scattering_factor("Si", np.array([q]))[0] * np.exp(-0.5 * q**2 / 4)
            return float(2 * np.pi * factor * j0(2 * np.pi * q * r) * q)

        wanted = POTENTIAL_V_A2 * quad(integrand, 0, 6, limit=200)[0]
        assert found[100, 100 + n] == pytest.approx(wanted, abs=0.02)


def test_atoms_are_added_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of(ATOMS).image(ATOMS.position_A[:, :2], ATOMS.species)
    monkeypatch.setattr(module, "VALUES_AT_ONCE", 700)
    np.testing.assert_allclose(of(ATOMS).image(ATOMS.position_A[:, :2], ATOMS.species), whole, atol=1e-3)


def test_slices() -> None:
    last_A, slices = of(ATOMS).slices(ATOMS, 0.8)
    found = list(slices)
    nearest = np.round(ATOMS.position_A[:, 2] / 0.8)
    assert last_A == pytest.approx(0.8 * nearest.max())
    assert len(found) == np.ptp(nearest) + 1
    for k, slab in enumerate(found):
        inside = ATOMS.select(nearest == nearest.min() + k)
        np.testing.assert_array_equal(slab, of(ATOMS).image(inside.position_A[:, :2], inside.species))
    assert any(not slab.any() for slab in found) or len(set(nearest)) == len(found)
    np.testing.assert_allclose(sum(found), of(ATOMS).image(ATOMS.position_A[:, :2], ATOMS.species), atol=2e-4)
    assert found[0].mean() * 20 * 16 == pytest.approx(
        at_zero(ATOMS.species[nearest == nearest.min()]), rel=1e-5
    )


def test_the_mean_in_voxels() -> None:
    """The sum is exact, and the projection is that of the slices, averaged over pixels."""
    blurred = {name: 5.0 for name in FACTORS}
    volume = mean_potential(ATOMS, (48, 52, 60), 0.5, debye_waller_A2=blurred)
    assert volume.sum() * 0.5**3 == pytest.approx(at_zero(ATOMS.species), rel=1e-4)
    grid = WaveGrid((52 * 3, 60 * 3), 1 / 6)
    flat = ProjectedPotential.of(ATOMS.species, grid, limit_per_A=2.4, debye_waller_A2=blurred)
    wanted = integrated(flat.image(ATOMS.position_A[:, :2], ATOMS.species), 3)
    # what an atom has beyond 4 Å is folded back into its cube
    np.testing.assert_allclose(volume.sum(axis=0) * 0.5, wanted, atol=0.005 * wanted.max())


def test_voxels_have_the_axes_of_a_volume() -> None:
    lone = Atoms(np.array([[1.0, -1.5, 2.0]]), np.array(["Ti"]))
    volume = mean_potential(lone, (17, 15, 13), 0.5, debye_waller_A2=0.5)
    assert np.unravel_index(volume.argmax(), volume.shape) == (8 + 4, 7 - 3, 6 + 2)
    np.testing.assert_allclose(volume[12, 4, 7], volume[12, 4, 9], rtol=1e-4)
    moved = mean_potential(Atoms(lone.position_A + np.array([0.5, 0, 0]), lone.species), (17, 15, 13), 0.5)
    still = mean_potential(lone, (17, 15, 13), 0.5)
    np.testing.assert_allclose(moved[:, :, 1:], still[:, :, :-1], atol=1e-3)
    assert not mean_potential(Atoms(np.full((1, 3), 30.0), lone.species), (17, 15, 13), 0.5).any()


@pytest.mark.parametrize(
    "compute", [of, lambda atoms: mean_potential(atoms, (8, 8, 8), 0.5, debye_waller_A2=FACTORS)]
)
def test_elements_without_a_factor(compute: object) -> None:
    with pytest.raises(UsageError, match="no Debye-Waller factor of Ti; give one"):
        compute(Atoms(np.zeros((1, 3)), np.array(["Ti"])))  # type: ignore[operator]
