"""Atoms: found in a volume, fitted, classified, refined against the views, and compared."""
