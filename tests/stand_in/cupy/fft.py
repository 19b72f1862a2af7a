"""Fourier transforms are reached through NumPy's functions."""
