"""Depth sectioning: columns, atom counts and depths from a focal series."""
