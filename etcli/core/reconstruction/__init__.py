"""Reconstruction of volumes: plans of slabs, streaming, and automatic choice of parameters."""
