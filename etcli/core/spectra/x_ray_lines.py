"""X-ray lines of the elements, with the numbers of photons that fast electrons excite.

References
----------
.. [1] W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63, 121 (2002),
   doi:10.1016/S0969-806X(01)00227-4: energies, shares and yields.
.. [2] H. Bethe, Ann. Phys. 397, 325 (1930), doi:10.1002/andp.19303970303: cross-section of ionisation.
"""

from dataclasses import dataclass
from functools import cache
from math import log

from etcli.core.elements import NUMBERS
from etcli.core.errors import UsageError
from etcli.core.spectra.line_table import LINE_TABLE

FAMILIES = ("K", "L", "M")
"""Families of lines, by the shell that has lost an electron."""
ELECTRONS = {"K": 2, "L1": 2, "L2": 2, "L3": 4, "M1": 2, "M2": 2, "M3": 4, "M4": 4, "M5": 6}
"""Electrons of a full subshell."""
LOWEST_keV = 0.2
"""Energy below which no line is used: a detector counts noise there."""


@dataclass(frozen=True)
class XRayLine:
    """Characteristic X-ray line.

    Parameters
    ----------
    element : str
        Chemical symbol.
    name : str
        Siegbahn name, such as Ka1.
    family : {"K", "L", "M"}
    energy_keV : float
    strength : float
        Photons for each atom and electron, in arbitrary units that are the same for all elements.
    """

    element: str
    name: str
    family: str
    energy_keV: float
    strength: float


@dataclass(frozen=True)
class Subshell:
    """Subshell of an element: its edge, and what it emits.

    Parameters
    ----------
    name : str
        K, L1 ... M5.
    edge_keV : float
        Energy of ionisation.
    fluorescence_yield : float
        Photons for each ionisation.
    lines : tuple of (str, float, float)
        Name, energy in keV, and share of the photons of each line.
    """

    name: str
    edge_keV: float
    fluorescence_yield: float
    lines: tuple[tuple[str, float, float], ...]


def x_ray_lines(element: str, *, beam_kV: float = 200.0) -> tuple[XRayLine, ...]:
    """List the X-ray lines of an element.

    The photons of a subshell with n electrons and the edge E are n ln(E0/E) / (E0 E) [2]_ times its
    fluorescence yield [1]_. Transitions between the subshells of a shell (Coster and Kronig), absorption and
    fluorescence are left out, so the strengths of lines of one family are good to some 10 %, and those of
    several families to a factor of 2.

    Parameters
    ----------
    element : str
        Chemical symbol.
    beam_kV : float
        Accelerating voltage.

    Returns
    -------
    tuple of XRayLine
        Those from 0.2 keV up to the energy of the beam, or 45 keV.

    Raises
    ------
    UsageError
        If there is no such element, or it has no lines.
    """
    lines = []
    for subshell in subshells(element):
        if subshell.edge_keV >= beam_kV:
            continue
        edge = subshell.edge_keV
        ionisation = ELECTRONS[subshell.name] * log(beam_kV / edge) / (beam_kV * edge)
        lines += [
            XRayLine(
                element,
                name,
                subshell.name[0],
                energy_keV,
                ionisation * subshell.fluorescence_yield * share,
            )
            for name, energy_keV, share in subshell.lines
            if energy_keV >= LOWEST_keV
        ]
    if not lines:
        raise UsageError(f"{element} has no X-ray lines above {LOWEST_keV:g} keV; leave it out")
    return tuple(lines)


def subshells(element: str) -> tuple[Subshell, ...]:
    """Return the subshells of an element that emit X-rays; raise UsageError for what is no element."""
    if element not in NUMBERS or element == "X":
        raise UsageError(f"{element!r} is no element; write symbols, as in Ni,Co")
    return _all_subshells().get(element, ())


@cache
def _all_subshells() -> dict[str, tuple[Subshell, ...]]:
    """Read the table of lines."""
    found = {}
    words = iter(LINE_TABLE.split())
    elements: dict[str, list[list[str]]] = {}
    for word in words:
        if word.endswith(":"):
            rows = elements.setdefault(word[:-1], [])
        elif word in ELECTRONS:
            rows.append([word])
        else:
            rows[-1].append(word)
    for element, rows in elements.items():
        found[element] = tuple(_subshell(row) for row in rows)
    return found


def _subshell(row: list[str]) -> Subshell:
    name, edge_eV, fluorescence_yield, *rest = row
    lines = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    return Subshell(
        name,
        1e-3 * float(edge_eV),
        float(fluorescence_yield),
        tuple((line, 1e-3 * float(energy_eV), float(share)) for line, energy_eV, share in lines),
    )
