"""Summary of a file of atoms (elements, extent, box, history) as plain values for JSON."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from etcli.io.atoms_file import AtomsFile
from etcli.io.history import as_values


def facts_of_atoms(name: str, file: AtomsFile) -> dict[str, Any]:
    """Summarise a file of atoms.

    Parameters
    ----------
    name : str
        Name of the file.
    file : AtomsFile

    Returns
    -------
    dict
        ``atoms`` (their number), ``elements`` (number of atoms by symbol, the most frequent first),
        ``extent_A`` (lowest and highest x, y and z from the rotation centre), ``cell_A`` (the edges of the
        box as vectors) and ``cell_origin_A`` (its corner), ``columns`` (names of further properties),
        ``notes`` (other values by name), ``comment``, and ``history`` and ``steps`` as for images; None for
        a box that is unknown.
    """
    symbols, counts = np.unique(file.atoms.species, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    low, high = file.atoms.position_A.min(axis=0), file.atoms.position_A.max(axis=0)
    steps = [as_values(step) for step in file.history]
    return {
        "file": name,
        "atoms": len(file.atoms),
        "elements": {str(symbols[k]): int(counts[k]) for k in order},
        "extent_A": [_rounded(ends) for ends in zip(low, high, strict=True)],
        "cell_A": [_rounded(edge) for edge in file.box.lattice_A] if file.box else None,
        "cell_origin_A": _rounded(file.box.origin_A) if file.box else None,
        "columns": list(file.atoms.columns),
        "notes": dict(file.notes),
        "comment": file.comment,
        "history": [step.pop("step") for step in steps],
        "steps": steps,
    }


def _rounded(lengths: Iterable[float]) -> list[float]:
    """Return lengths to the digits that files of atoms have."""
    return [round(float(length), 5) + 0.0 for length in lengths]
