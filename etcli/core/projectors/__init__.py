"""Projection operators and their transposes."""
