"""Reading and writing of files of atoms, in the format given by the file name.

Positions are in Å from the rotation centre, the pixel-centre point (n - 1) / 2 of the volume, along its x, y
and z, in every format.

- Extended XYZ (``.xyz``, ``.extxyz``) holds everything: the columns, the box of the volume, the history. Its
  first four columns are those of plain XYZ, so that readers of that format open it as well.
- Plain XYZ (``.plain.xyz``): element and position, for programs that read nothing else.
- PDB (``.pdb``): element and position; the box as CRYST1, its corner in the shift of SCALE1 to SCALE3.
- CIF (``.cif``): element and position as a fraction of the box, which is made larger where an atom lies
  outside it; its corner as ``_atom_sites_Cartn_tran_vector``. The CIF of a crystal, which lacks that item, is
  read as one unit cell with all symmetry copies, its corner at the rotation centre.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from etcli.core.atomic_model import Atoms
from etcli.core.errors import DataError, UsageError
from etcli.io.atoms_file import AtomsFile, Box
from etcli.io.cif import read_cif, write_cif
from etcli.io.pdb import read_pdb, write_pdb
from etcli.io.text import read_text
from etcli.io.xyz import read_xyz, write_xyz

__all__ = [
    "AtomsFile",
    "Box",
    "atoms_format",
    "is_atoms_file",
    "read_atoms",
    "read_atoms_file",
    "write_atoms",
]

PLAIN = ".plain.xyz"
FORMATS = {".xyz": "extxyz", ".extxyz": "extxyz", ".cif": "cif", ".pdb": "pdb"}
ENDINGS = (*FORMATS, PLAIN)


def is_atoms_file(name: str) -> bool:
    """Check whether the ending of a file name is that of a file of atoms."""
    return PurePath(name).suffix.lower() in FORMATS


def atoms_format(name: str) -> str:
    """Return the format that the ending of a file name stands for.

    Parameters
    ----------
    name : str
        Name of a file to be read or written.

    Returns
    -------
    {"extxyz", "xyz", "cif", "pdb"}
        ``xyz`` is the plain one.

    Raises
    ------
    UsageError
        When its ending is none of these.
    """
    if name.lower().endswith(PLAIN):
        return "xyz"
    if not is_atoms_file(name):
        raise UsageError(f"{name}: cannot tell the format of the atoms; end its name in {', '.join(ENDINGS)}")
    return FORMATS[PurePath(name).suffix.lower()]


def read_atoms(path: Path) -> Atoms:
    """Read the atoms of a file; see `read_atoms_file`."""
    return read_atoms_file(path).atoms


def read_atoms_file(path: Path) -> AtomsFile:
    """Read atoms with the metadata of their file.

    Parameters
    ----------
    path : Path
        A file whose ending gives its format.

    Returns
    -------
    AtomsFile

    Raises
    ------
    UsageError
        When the ending is none of those known.
    DataError
        When the file is damaged, or holds no atoms, an unknown element, or a position that is not finite;
        the message names the line.
    """
    form = atoms_format(path.name)
    if form == "cif":
        return read_cif(path)
    lines = read_text(path).split("\n")
    file = read_pdb(path, lines) if form == "pdb" else read_xyz(path, lines)
    if not len(file.atoms):
        raise DataError(f"{path}: no atoms; look at how it was made")
    return file


def write_atoms(
    path: Path,
    atoms: Atoms,
    *,
    form: str | None = None,
    box: Box | None = None,
    history: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write atoms; the same atoms give the same bytes.

    Parameters
    ----------
    path : Path
        File to write or replace.
    atoms : Atoms
        Positions are written to 1e-5 Å (PDB: 1e-3 Å), other columns to 7 digits.
    form : {"extxyz", "xyz", "cif", "pdb"}, optional
        By default that of the path; needed where the file is written under a temporary name.
    box : Box, optional
        Box of the volume that the atoms were found in. CIF needs one and makes its own where none is given.
    history : sequence of str
        Processing steps, the oldest first.
    notes : mapping of str to str, optional
        Other values by name (letters, digits and underscores); written to extended XYZ only.

    Raises
    ------
    DataError
        When there are no atoms, or a position is out of the range of the format.
    """
    form = form or atoms_format(path.name)
    if not len(atoms):
        raise DataError("there are no atoms to write")
    file = AtomsFile(atoms, box, tuple(history), dict(notes or {}))
    writers = {"cif": write_cif, "pdb": write_pdb}
    text = writers[form](file) if form in writers else write_xyz(file, plain=form == "xyz")
    path.write_text(text, encoding="utf-8", newline="\n")
