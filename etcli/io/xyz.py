"""XYZ files, plain and extended: reading and writing of atoms.

Number of atoms; a comment; one line per atom. The comment of the extended form is a list of KEY=VALUE pairs:
``Properties=NAME:TYPE:WIDTH:...`` names the columns, ``Lattice`` gives the box and ``Origin`` its corner.

References
----------
The extended XYZ specification and parsing tools, https://github.com/libAtoms/extxyz
ASE, ase.io.extxyz; OVITO, the XYZ file format (``Origin``).
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from etcli.core.atomic_model import Atoms
from etcli.core.elements import SYMBOLS
from etcli.core.errors import DataError
from etcli.io.atoms_file import AtomsFile, Box, element
from etcli.io.history import from_one_line, in_one_line, steps_of_comment
from etcli.io.text import as_number

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
PAIR = re.compile(r"""([^\s="']+)\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S+)""")
STEP = re.compile(r"history_(\d+)")
PLAIN_COLUMNS = "species:S:1:pos:R:3"
PLAIN_SEPARATOR = "; "
OWN_KEYS = ("lattice", "origin", "properties", "pbc")


class Column(NamedTuple):
    """Column of an extended XYZ file: name, type (R, I, S or L), first word in a line, number of words."""

    name: str
    kind: str
    first: int
    width: int


def read_xyz(path: Path, lines: Sequence[str]) -> AtomsFile:
    """Read an XYZ file, plain or extended.

    Parameters
    ----------
    path : Path
        The file, for error messages.
    lines : sequence of str
        Its lines.

    Returns
    -------
    AtomsFile
        Columns of text other than the element are ignored; a column ``NAME`` of several numbers becomes
        ``NAME_1``, ``NAME_2`` and so on.

    Raises
    ------
    DataError
        When the file is malformed; the message names the line.
    """
    rows = _rows(path, lines)
    comment = lines[1]
    keys = {key.lower(): (key, _unquoted(value)) for key, value in PAIR.findall(comment)}
    columns = _columns(path, keys["properties"][1] if "properties" in keys else PLAIN_COLUMNS)
    named = {column.name: column for column in columns}
    needed = max(column.first + column.width for column in columns)
    for number, row in enumerate(rows, start=3):
        if len(row) < needed or ("properties" in keys and len(row) > needed):
            raise DataError(
                f"{path}: line {number}: {len(row)} words where {needed} are expected "
                f"({', '.join(column.name for column in columns)}); repair or remove the line"
            )
    table = np.array([row[:needed] for row in rows], dtype=np.str_).reshape(len(rows), needed)
    position_A = _numbers(path, table, named["pos"])
    bad = np.flatnonzero(~np.isfinite(position_A).all(axis=1))
    if bad.size:
        raise DataError(
            f"{path}: line {bad[0] + 3}: the position {' '.join(table[bad[0], _span(named['pos'])])} is not "
            "finite; remove the atom"
        )
    numeric = [column for column in columns if column.name not in ("species", "pos") and column.kind != "S"]
    extra = {
        name: values
        for column in numeric
        for name, values in _spread(column.name, _numbers(path, table, column)).items()
    }
    species = _species(path, table, named)
    if "species" not in named:
        extra.pop("Z")
    atoms, box = Atoms(position_A, species, extra), _box(path, keys)
    if "properties" in keys:
        return AtomsFile(atoms, box, _history(keys), _notes(keys))
    steps, words = steps_of_comment(comment.strip().split(PLAIN_SEPARATOR))
    return AtomsFile(atoms, box, tuple(map(from_one_line, steps)), comment=PLAIN_SEPARATOR.join(words))


def write_xyz(file: AtomsFile, *, plain: bool = False) -> str:
    """Return the text of an extended or plain XYZ file.

    Parameters
    ----------
    file : AtomsFile
    plain : bool
        Whether to write element and position only, with the history as a comment.

    Returns
    -------
    str

    Raises
    ------
    DataError
        When the name of a column or a note is not allowed.
    """
    atoms = file.atoms
    columns = {} if plain else atoms.columns
    words = ["%s", *["%.5f"] * 3, *["%.7g"] * len(columns)]
    position_A = np.round(atoms.position_A, 5) + 0.0  # turns -0 into 0
    values = [atoms.species.tolist(), *position_A.T.tolist(), *((v + 0.0).tolist() for v in columns.values())]
    rows = map(" ".join(words).__mod__, zip(*values, strict=True))
    comment = PLAIN_SEPARATOR.join(map(in_one_line, file.history)) if plain else _comment(file)
    return "\n".join([str(len(atoms)), comment, *rows, ""])


def _rows(path: Path, lines: Sequence[str]) -> list[list[str]]:
    """Return the words of every atom's line; raise DataError unless there are as many as line 1 says."""
    first = lines[0].strip()
    if not re.fullmatch(r"\d{1,9}", first):
        what = f"not {first[:40]!r}" if first else "but it is empty"
        raise DataError(f"{path}: line 1: expected the number of atoms, {what}; is it an XYZ file?")
    n = int(first)
    rows = [line.split() for line in lines[2:]]
    while rows and not rows[-1]:
        rows.pop()
    if len(rows) < n:
        raise DataError(
            f"{path}: line 1 promises {n} atoms but {len(rows)} follow; the file is cut off, write it again"
        )
    if len(rows) > n:
        raise DataError(
            f"{path}: line {n + 3}: more than the {n} atoms that line 1 promises; correct it, or keep "
            "one model of several"
        )
    return rows


def _columns(path: Path, text: str) -> list[Column]:
    """Parse ``Properties``, which names the columns."""
    words = text.split(":")
    columns, first = [], 0
    for name, kind, width in zip(words[::3], words[1::3], words[2::3], strict=False):
        if len(words) % 3 or kind not in ("S", "R", "I", "L") or not re.fullmatch(r"[1-9]\d{0,2}", width):
            break
        name = {"symbol": "species", "position": "pos", "positions": "pos"}.get(name.lower(), name)
        columns.append(Column(name, kind, first, int(width)))
        first += int(width)
    widths = {column.name: (column.kind, column.width) for column in columns}
    valid = 3 * len(columns) == len(words) and len(widths) == len(columns) and widths.get("pos") == ("R", 3)
    if not valid or (widths.get("species") != ("S", 1) and widths.get("Z") != ("I", 1)):
        raise DataError(
            f"{path}: line 2: cannot use Properties={text[:80]}; species:S:1:pos:R:3 must be among them"
        )
    return columns


def _span(column: Column) -> slice:
    return slice(column.first, column.first + column.width)


def _numbers(path: Path, table: NDArray[np.str_], column: Column) -> NDArray[np.float64]:
    """Return the numbers (n, width) of a column."""
    words = table[:, _span(column)]
    if column.kind == "L":
        return np.isin(words, ("T", "True", "true", "TRUE")).astype(np.float64)
    with contextlib.suppress(ValueError):
        return words.astype(np.float64)
    numbers = np.empty(words.shape)
    for place, word in np.ndenumerate(words):  # slower, but reads D as an exponent
        try:
            numbers[place] = as_number(word)
        except ValueError:
            raise DataError(
                f"{path}: line {place[0] + 3}: expected a number for {column.name}, not {word[:40]!r}; "
                "repair or remove the line"
            ) from None
    return numbers


def _spread(name: str, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return a column of one number under its name, or one of several as ``NAME_1``, ``NAME_2``, ..."""
    if values.shape[1] == 1:
        return {name: values[:, 0]}
    return {f"{name}_{k}": part for k, part in enumerate(values.T, start=1)}


def _species(path: Path, table: NDArray[np.str_], named: Mapping[str, Column]) -> NDArray[np.str_]:
    """Return the elements, by symbol or by atomic number."""
    if "species" in named:
        words, place = np.unique(table[:, named["species"].first], return_inverse=True)
        first = [int(np.argmax(place == k)) + 3 for k in range(len(words))]
        symbols = [element(str(word), path, line) for word, line in zip(words, first, strict=True)]
        return np.array(symbols, np.str_)[place] if symbols else np.empty(0, np.str_)
    number = _numbers(path, table, named["Z"])[:, 0]
    bad = np.flatnonzero(~np.isin(number, np.arange(len(SYMBOLS))))
    if bad.size:
        raise DataError(
            f"{path}: line {bad[0] + 3}: {number[bad[0]]:g} is the number of no element; repair it"
        )
    return np.array(SYMBOLS, np.str_)[number.astype(np.intp)]


def _box(path: Path, keys: Mapping[str, tuple[str, str]]) -> Box | None:
    """Return the box, None if the file has none."""
    if "lattice" not in keys:
        return None
    numbers = {}
    for key, size in (("lattice", 9), ("origin", 3)):
        text = keys[key][1] if key in keys else "0 0 0"
        try:
            numbers[key] = np.array([as_number(word) for word in text.replace(",", " ").split()])
        except ValueError:
            numbers[key] = np.empty(0)
        if numbers[key].shape != (size,) or not np.isfinite(numbers[key]).all():
            raise DataError(
                f"{path}: line 2: {key.capitalize()} needs {size} numbers, not {text[:60]!r}; repair it, or "
                "leave it out"
            )
    lattice_A = numbers["lattice"].reshape(3, 3)
    if np.linalg.det(lattice_A) == 0:
        raise DataError(f"{path}: line 2: the Lattice has no volume; give three edges, or leave it out")
    return Box(lattice_A, numbers["origin"])


def _history(keys: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    steps = {int(match[1]): keys[key][1] for key in keys if (match := STEP.fullmatch(key))}
    return tuple(from_one_line(steps[k]) for k in sorted(steps))


def _notes(keys: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    return dict(pair for key, pair in keys.items() if key not in OWN_KEYS and not STEP.fullmatch(key))


def _unquoted(value: str) -> str:
    if value[0] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value[1:-1] if value[0] in "'{[" and len(value) > 1 else value


def _quoted(value: str) -> str:
    value = " ".join(value.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _comment(file: AtomsFile) -> str:
    """Return the second line of extended XYZ."""
    steps = {f"history_{k}": in_one_line(step) for k, step in enumerate(file.history, start=1)}
    notes = {**steps, **file.notes}
    for name in (*file.atoms.columns, *notes):
        if not NAME.fullmatch(name) or name.lower() in (*OWN_KEYS, "species", "pos"):
            raise DataError(f"{name!r} cannot name a column or note of atoms; use letters, digits and _")
    parts = []
    if file.box:
        lattice = " ".join(f"{length + 0.0:.9g}" for length in file.box.lattice_A.ravel())
        parts += [f'Lattice="{lattice}"']
        parts += ['Origin="{:.9g} {:.9g} {:.9g}"'.format(*(file.box.origin_A + 0.0))]
    columns = "".join(f":{name}:R:1" for name in file.atoms.columns)
    parts += [f"Properties={PLAIN_COLUMNS}{columns}", 'pbc="F F F"']
    return " ".join([*parts, *(f"{name}={_quoted(value)}" for name, value in notes.items())])
