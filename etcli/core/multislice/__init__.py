"""Scattering of fast electrons: wavelength, potentials of atoms, and propagation of waves."""
