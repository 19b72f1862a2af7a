"""Unit cells by name, such as ``diamond:Si:5.431``, built with ASE.

References
----------
A. Hjorth Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e (ASE).
"""

import math

import numpy as np

from etcli.core.atomic_model import Atoms
from etcli.core.errors import UsageError
from etcli.io.atoms_file import AtomsFile, Box

FORM = "STRUCTURE:ELEMENT[:A[:C]], as in diamond:Si:5.431"
CUBIC = ("sc", "fcc", "bcc", "diamond", "zincblende", "rocksalt", "cesiumchloride", "fluorite")
"""Structures whose cube is built."""
OTHERS = ("bct", "hcp", "rhombohedral", "wurtzite")
"""Structures whose primitive cell is built. ASE names more, but those lack the atoms inside the cell."""


def read_lattice(text: str) -> AtomsFile:
    """Build the unit cell of a lattice.

    Parameters
    ----------
    text : str
        Structure, element or formula, and the lattice constants a and c in Å, separated by colons. An element
        in its usual structure needs no constants.

    Returns
    -------
    AtomsFile
        The atoms of one cell and its box, a corner of which is at the origin. Cubic lattices have their cube
        along x, y and z.

    Raises
    ------
    UsageError
        When the text has another form, or ASE cannot build such a lattice.
    """
    from ase.build import bulk

    structure, *rest = text.split(":")
    if structure not in (*CUBIC, *OTHERS):
        raise UsageError(f"{text}: no structure '{structure}'; use one of {', '.join((*CUBIC, *OTHERS))}")
    if not 1 <= len(rest) <= 3:
        raise UsageError(f"{text}: a lattice is written {FORM}")
    try:
        constants = [float(word) for word in rest[1:]]
    except ValueError:
        constants = [math.nan]
    if not all(0 < constant < math.inf for constant in constants):
        raise UsageError(f"{text}: lattice constants are lengths in Å; write {FORM}")
    if structure in CUBIC and len(constants) > 1:
        raise UsageError(f"{text}: a cubic lattice has one constant; leave out the second one")
    try:
        a, c = (*constants, None, None)[:2]
        cell = bulk(rest[0], structure, a, c=c, cubic=structure in CUBIC)
        lattice_A = np.array(cell.cell, np.float64)
    except Exception as error:  # ASE raises exceptions of many kinds
        reason = " ".join(str(error).split()).rstrip(".")[:100] or type(error).__name__
        raise UsageError(f"{text}: ASE cannot build this lattice ({reason}); write {FORM}") from error
    atoms = Atoms(np.array(cell.positions), np.array(cell.get_chemical_symbols(), np.str_))
    return AtomsFile(atoms, Box(lattice_A, np.zeros(3)))
