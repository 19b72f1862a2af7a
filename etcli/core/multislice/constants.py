"""Wavelength, mass and interaction parameter of fast electrons; potential of a scattering factor."""

from math import pi, sqrt

REST_ENERGY_KEV = 510.99895
"""Rest energy of the electron (CODATA 2018), keV."""
HC_KEV_A = 12.398419843
"""Planck's constant times the speed of light (CODATA 2018), keV Å."""
POTENTIAL_V_A2 = 1e3 * HC_KEV_A**2 / (2 * pi * REST_ENERGY_KEV)
"""h² / (2π m_e e) = 47.878 V Å²: the Fourier transform of a potential over the scattering factor in Å."""


def wavelength_A(voltage_kV: float) -> float:
    """Compute the relativistic wavelength of electrons.

    Parameters
    ----------
    voltage_kV : float
        Accelerating voltage in kV, > 0.

    Returns
    -------
    float
        Wavelength in Å: 0.019687 Å at 300 kV.
    """
    return HC_KEV_A / sqrt(voltage_kV * (voltage_kV + 2 * REST_ENERGY_KEV))


def relative_mass(voltage_kV: float) -> float:
    """Compute the mass of moving electrons relative to their rest mass.

    Parameters
    ----------
    voltage_kV : float
        Accelerating voltage in kV, > 0.

    Returns
    -------
    float
        The Lorentz factor: 1.58708 at 300 kV.
    """
    return 1 + voltage_kV / REST_ENERGY_KEV


def interaction_rad_per_V_A(voltage_kV: float) -> float:
    """Compute the interaction parameter: the phase shift of electrons by a projected potential.

    σ = 2π m_e γ e λ / h², the phase in rad of a projected potential of 1 V Å.

    Parameters
    ----------
    voltage_kV : float
        Accelerating voltage in kV, > 0.

    Returns
    -------
    float
        In rad/(V Å): 6.526161e-4 at 300 kV.

    References
    ----------
    Kirkland, Advanced Computing in Electron Microscopy (2010), equation (5.6).
    """
    energy = voltage_kV + REST_ENERGY_KEV
    return 2e-3 * pi * energy / (voltage_kV + 2 * REST_ENERGY_KEV) / voltage_kV / wavelength_A(voltage_kV)
