"""Informational entropy of projections: which views of a tilt series carry the information.

S. M. Collins et al., Phys. Rev. Lett. 119, 166101 (2017).
"""
