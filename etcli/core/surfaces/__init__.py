"""Triangulated surfaces of volumes: extraction, smoothing, reduction, checks."""
