"""Reconstruction: the registry of methods, and how their work is planned, streamed and tuned."""
