"""Electron tomography of materials on the command line."""

__version__ = "0.1.0"
