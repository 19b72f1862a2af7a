"""CIF files: read with ASE, which applies the symmetry; written as one cell without symmetry.

Fractions f of the cell are positions M f + t, with M from the cell's lengths and angles and the translation t
of ``_atom_sites_Cartn_tran_vector``, the corner of the box.

References
----------
S. R. Hall, F. H. Allen, I. D. Brown, Acta Cryst. A 47, 655 (1991), doi:10.1107/S010876739101067X; the core
dictionary (coreCIF), category ATOM_SITES.
A. Hjorth Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017), doi:10.1088/1361-648X/aa680e (ASE).
"""

import io
import warnings
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.errors import DataError
from etcli.io.atoms_file import AtomsFile, Box
from etcli.io.file_kind import check_text
from etcli.io.history import steps_of_comment
from etcli.io.text import decoded

VECTOR = "_atom_sites_Cartn_tran_vector_"


def read_cif(path: Path) -> AtomsFile:
    """Read the first structure of a CIF.

    Parameters
    ----------
    path : Path

    Returns
    -------
    AtomsFile
        Element and position only.

    Raises
    ------
    DataError
        When ASE cannot read it or a position is not finite.
    """
    from ase.io.cif import parse_cif

    content = path.read_bytes()
    check_text(content, str(path))
    if not content.strip():
        raise DataError(f"{path}: line 1: the file is empty; write it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            blocks = [block for block in parse_cif(io.BytesIO(content)) if block.has_structure()]
            structure = _structure(blocks[0]) if blocks else None
            corner = _corner(blocks[0]) if blocks else None
    except Exception as error:  # the parser of ASE raises exceptions of many kinds
        text = " ".join(str(error).split())[:100] or type(error).__name__
        raise DataError(f"{path}: not a CIF that ASE can read ({text}); is it cut off?") from error
    if structure is None or corner is None or not len(structure):
        raise DataError(f"{path}: no atom sites with a cell; is it the CIF of a structure?")
    position_A = np.asarray(structure.positions, np.float64) + corner
    bad = np.flatnonzero(~np.isfinite(position_A).all(axis=1))
    if bad.size:
        raise DataError(f"{path}: the position of atom {bad[0] + 1} is not a finite number; remove the atom")
    species = np.array(structure.get_chemical_symbols(), np.str_)
    steps, words = steps_of_comment(_comments(content))
    box = Box(np.array(structure.cell, np.float64), corner)
    return AtomsFile(Atoms(position_A, species), box, tuple(steps), comment="; ".join(words))


def _comments(content: bytes) -> list[str]:
    """Return the comments before the first data."""
    head = takewhile(lambda line: line.startswith("#") or not line.strip(), decoded(content).splitlines())
    return [line.strip("# \t") for line in head]


def write_cif(file: AtomsFile) -> str:
    """Return the text of a CIF with one cell that holds all atoms; other columns are not written.

    Parameters
    ----------
    file : AtomsFile

    Returns
    -------
    str
    """
    atoms = file.atoms
    box = _enclosing_box(atoms.position_A, file.box)
    size_A = np.diag(box.lattice_A)
    lines = [f"# {' '.join(line.split())}" for step in file.history for line in step.split("\n")]
    lines += [
        "data_atoms",
        *(f"_cell_length_{k} {length:.5f}" for k, length in zip("abc", size_A, strict=True)),
    ]
    lines += [f"_cell_angle_{name} 90" for name in ("alpha", "beta", "gamma")]
    lines += ["_space_group_name_H-M_alt 'P 1'", "_space_group_IT_number 1"]
    lines += ["_atom_sites_Cartn_transform_axes 'a, b and c along x, y and z'"]
    lines += [f"{VECTOR}{k} {length + 0.0:.5f}" for k, length in enumerate(box.origin_A, start=1)]
    lines += ["loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{axis}" for axis in "xyz"]
    fractions = ((atoms.position_A - box.origin_A) / size_A).T.tolist()
    species = atoms.species.tolist()
    labels = [f"{symbol}{k}" for k, symbol in enumerate(species, start=1)]
    rows = map("%s %s %.9f %.9f %.9f".__mod__, zip(labels, species, *fractions, strict=True))
    return "\n".join([*lines, *rows, ""])


def _enclosing_box(position_A: NDArray[np.float64], box: Box | None) -> Box:
    """Return an axis-parallel box that holds the atoms and, if it is axis-parallel too, the given box.

    Corner and lengths are whole multiples of 1e-5 Å, so that the written numbers are exact.
    """
    least = Box.around(position_A)
    low, high = least.origin_A, least.origin_A + np.diag(least.lattice_A)
    if box is not None and box.is_upright:
        ends = box.origin_A, box.origin_A + np.diag(box.lattice_A)
        inside = (position_A.min(axis=0) >= ends[0]) & (position_A.max(axis=0) < ends[1])
        low = np.where(inside, ends[0], np.minimum(low, ends[0]))
        high = np.where(inside, ends[1], np.maximum(high, ends[1]))
    low, high = np.round(low, 5), np.round(high, 5)
    return Box(np.diag(high - low), low)


def _structure(block: Any) -> Any:
    """Return the atoms with their symmetry copies; skip the search for copies where there is no symmetry."""
    operations = block._get_sitesym()
    plain = not operations or len(operations) == 1
    if plain and block.get_spacegroup(True).no == 1:
        return block.get_unsymmetrized_structure()
    return block.get_atoms()


def _corner(block: Any) -> NDArray[np.float64]:
    """Return the translation from the cell's corner to the origin of the coordinates."""
    return np.array([float(block.get(f"{VECTOR.lower()}{k}", 0.0)) for k in (1, 2, 3)])
