"""Spectra: X-ray lines, the detector, and elements or components in spectrum images."""
