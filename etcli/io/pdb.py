"""PDB files: reading and writing of atoms in fixed columns of text.

The positions of ATOM and HETATM records are from the rotation centre, as everywhere. CRYST1 gives the box,
where it is along the axes. The shift U of the records SCALE1 to SCALE3, which map a position r to the
fraction S r + U of the box, gives its corner.

References
----------
Protein Data Bank, Atomic Coordinate Entry Format version 3.30, sections 8 and 9 (2012).
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from textwrap import wrap

import numpy as np

from etcli.core.atomic_model import Atoms
from etcli.core.elements import NUMBERS
from etcli.core.errors import DataError
from etcli.io.atoms_file import AtomsFile, Box, element
from etcli.io.frame_label import OURS
from etcli.io.history import steps_of_comment

RECORDS, ENDS = ("ATOM", "HETATM"), ("END", "ENDMDL")
LOW_A, HIGH_A = -999.999, 9999.999  # range of eight columns
SERIALS = 99_999
COMMENT = 69  # columns of a line of 80 that a remark has


def read_pdb(path: Path, lines: Sequence[str]) -> AtomsFile:
    """Read a PDB file; of several models the first one.

    Parameters
    ----------
    path : Path
        The file, for error messages.
    lines : sequence of str
        Its lines.

    Returns
    -------
    AtomsFile
        Element and position only: occupancies and B factors are ignored.

    Raises
    ------
    DataError
        When a record is malformed; the message names the line.
    """
    position_A: list[list[float]] = []
    species: list[str] = []
    cell: list[float] = []
    shift = np.zeros(3)
    for number, line in enumerate(lines, start=1):
        record = line[:6].rstrip()
        if record in ENDS:
            break
        if record in RECORDS:
            words = line[30:38], line[38:46], line[46:54]
            position_A.append([_number(path, number, word) for word in words])
            # old files lack the element, which is then read from the name of the atom
            species.append(element(line[76:78].strip() or _element_in_name(line[12:16]), path, number))
        elif re.fullmatch("SCALE[123]", record):
            shift[int(record[5]) - 1] = _number(path, number, line[45:55])
        elif record == "CRYST1":
            ends = pairwise((6, 15, 24, 33, 40, 47, 54))
            cell = [_number(path, number, line[first:last]) for first, last in ends]
    else:
        if position_A:
            raise DataError(
                f"{path}: line {len(lines)}: no END; the file is cut off, write it again or add END"
            )
    steps, title = steps_of_comment(_remarks(lines))
    history, comment = tuple(steps), "; ".join(title)
    atoms = Atoms(np.array(position_A).reshape(-1, 3), np.array(species, np.str_))
    if cell[3:] != [90, 90, 90] or min(cell[:3]) <= 1:  # a cell of 1 Å means that there is none
        return AtomsFile(atoms, None, history, comment=comment)
    box = Box(np.diag(cell[:3]), -np.array(cell[:3]) * shift)
    return AtomsFile(atoms, box, history, comment=comment)


def _remarks(lines: Sequence[str]) -> list[str]:
    """Return the title, and the remarks that are steps with their details, which may fill several lines."""
    texts = [line[10:].strip() for line in lines if line.startswith("TITLE ")]
    steps: list[str] = []
    for text in (line[11:].rstrip() for line in lines if line.startswith("REMARK   1 ")):
        if text.startswith((OURS, "  ")):
            steps.append(text)
        elif steps:
            steps[-1] += f" {text}"
    return [" ".join(texts), *steps]


def write_pdb(file: AtomsFile) -> str:
    """Return the text of a PDB file with element and position; other columns are not written.

    Parameters
    ----------
    file : AtomsFile

    Returns
    -------
    str

    Raises
    ------
    DataError
        When a position is out of the range of the columns.
    """
    position_A = np.round(file.atoms.position_A, 3) + 0.0
    if position_A.min() < LOW_A or position_A.max() > HIGH_A:
        raise DataError(f"PDB holds positions from {LOW_A} to {HIGH_A} Å only; write extended XYZ (.xyz)")
    words = [line for step in file.history for text in step.split("\n") for line in wrap(text, COMMENT)]
    lines = [f"REMARK   1 {line}" for line in words]
    if file.box and file.box.is_upright:
        lines += _cell_records(file.box)
    form = "HETATM{:5d} {:<4s} MOL A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2s}"
    rows = zip(file.atoms.species.tolist(), position_A.tolist(), strict=True)
    for k, (symbol, (x, y, z)) in enumerate(rows):
        name = f" {symbol.upper()}" if len(symbol) == 1 else symbol.upper()
        lines.append(form.format(k % SERIALS + 1, name, x, y, z, symbol.upper()))
    return "\n".join([*lines, "END", ""])


def _cell_records(box: Box) -> list[str]:
    """Return the records CRYST1 and SCALE1 to SCALE3 of a box."""
    size_A = np.diag(box.lattice_A)
    records = ["CRYST1{:9.3f}{:9.3f}{:9.3f}  90.00  90.00  90.00 P 1           1".format(*size_A)]
    for k, row in enumerate(np.diag(1 / size_A)):
        shift = -box.origin_A[k] / size_A[k] + 0.0
        records.append("SCALE{}    {:10.6f}{:10.6f}{:10.6f}     {:10.5f}".format(k + 1, *row, shift))
    return records


def _element_in_name(name: str) -> str:
    """Return the element at the beginning of an atom's name: letters, right-justified in two columns."""
    letters = re.sub(r"[^A-Za-z]", "", name[:2]) or re.sub(r"[^A-Za-z]", "", name)[:1]
    return letters if letters.capitalize() in NUMBERS else letters[:1]


def _number(path: Path, number: int, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(
            f"{path}: line {number}: expected a finite number in its columns, not {word.strip()[:20]!r}; "
            "repair or remove the line"
        )
    return value
