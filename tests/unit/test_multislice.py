"""Wavelengths, scattering factors and phases of atoms, and Bessel functions on a disc."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import j0, jv

from etcli.core.elements import SYMBOLS
from etcli.core.errors import UsageError
from etcli.core.multislice.bessel_basis import bessel_basis
from etcli.core.multislice.constants import relative_mass, wavelength_A
from etcli.core.multislice.scattering_factors import projected_phase, scattering_factor

BOHR_A = 0.529177210903
ELEMENTS = SYMBOLS[1:104]


@pytest.mark.parametrize(
    ("voltage_kV", "wavelength", "mass"),
    [(60, 0.0486606, 1.117417), (200, 0.0250793, 1.391390), (300, 0.0196875, 1.587085)],
)
def test_wavelengths(voltage_kV: float, wavelength: float, mass: float) -> None:
    assert wavelength_A(voltage_kV) == pytest.approx(wavelength, rel=1e-5)
    assert relative_mass(voltage_kV) == pytest.approx(mass, rel=1e-5)


@pytest.mark.parametrize("element", ELEMENTS)
def test_fast_electrons_see_the_bare_nucleus(element: str) -> None:
    """Mott and Bethe: f(q) → Z / 2π²a₀q², a check of every number of the table."""
    number = SYMBOLS.index(element)
    q = np.array([1e4])
    assert scattering_factor(element, q)[0] * q[0] ** 2 == pytest.approx(
        number / (2 * np.pi**2 * BOHR_A), rel=1e-4
    )
    factor = scattering_factor(element, np.linspace(0, 15, 300))
    assert (factor > 0).all() and (np.diff(factor) < 0).all()


def test_scattering_factors_at_rest() -> None:
    """Hydrogen is known exactly, f(0) = a₀; gold from relativistic Hartree-Fock computations, 10.57 Å."""
    assert scattering_factor("H", np.zeros(1))[0] == pytest.approx(BOHR_A, rel=1e-4)
    assert scattering_factor("Au", np.zeros(1))[0] == pytest.approx(10.57, abs=0.03)
    q = np.linspace(0, 4, 9)
    hydrogen = (2 + (np.pi * BOHR_A * q) ** 2) * BOHR_A / 2 / (1 + (np.pi * BOHR_A * q) ** 2) ** 2
    np.testing.assert_allclose(scattering_factor("H", q), hydrogen, rtol=5e-3)


@pytest.mark.parametrize("element", ["C", "Au", "Lr"])
def test_the_phase_is_the_fourier_transform_of_the_scattering_factor(element: str) -> None:
    """Both ways round: the phase integrated over the plane gives the factor back."""
    scale = relative_mass(200) * wavelength_A(200)

    def integrand(u: float, q: float) -> float:
        r = np.exp(u)
        phase = projected_phase(element, np.array([r]), voltage_kV=200)[0]
        return float(2 * np.pi * r**2 * j0(2 * np.pi * q * r) * phase)

    for q in (0.0, 0.3, 1.1):
        parts = [quad(integrand, *ends, args=(q,), limit=200)[0] for ends in ((-16, -1), (-1, 1), (1, 2.8))]
        assert sum(parts) / scale == pytest.approx(scattering_factor(element, np.array([q]))[0], rel=1e-3)


@pytest.mark.parametrize("element", ["Rf", "Xx", ""])
def test_elements_outside_the_table(element: str) -> None:
    with pytest.raises(UsageError, match="give a chemical element from H to Lr"):
        scattering_factor(element, np.zeros(1))


@pytest.mark.parametrize("order", [0, 1, 7, 20])
def test_the_basis_is_orthonormal_and_ends_at_the_edge(order: int) -> None:
    basis = bessel_basis(order, disc_radius_A=9.0, highest_per_A=4.0)
    overlap = basis.values.T @ (basis.area_A2[:, np.newaxis] * basis.values)
    np.testing.assert_allclose(overlap, np.eye(len(overlap)), atol=1e-9)
    assert basis.area_A2.sum() == pytest.approx(np.pi * 81)
    np.testing.assert_allclose(basis.at(np.array([9.0])), 0, atol=1e-9)
    assert basis.frequency_per_A[-1] <= 4.0 < basis.frequency_per_A[-1] + 1 / 17


@pytest.mark.parametrize("order", [0, 3])
def test_coefficients_of_waves_in_closed_form(order: int) -> None:
    basis = bessel_basis(order, disc_radius_A=9.0, highest_per_A=4.0)
    frequency = np.append(np.linspace(0.05, 1.5, 12), basis.frequency_per_A[5])
    waves = jv(order, 2 * np.pi * np.outer(basis.radius_A, frequency))
    np.testing.assert_allclose(basis.plane_waves(frequency), basis.transform(waves), atol=1e-8)
