"""Atoms: tracing in a volume, fits, classification, refinement against the views, comparison of models."""
