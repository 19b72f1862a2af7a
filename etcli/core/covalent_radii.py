"""Covalent radii of the elements, and the shortest bond between them.

References
----------
B. Cordero et al., Dalton Trans. 2832 (2008), doi:10.1039/b801115j: table 2, with the radius of sp³ carbon and
those of manganese, iron and cobalt in the low-spin state.
"""

from collections.abc import Sequence
from math import inf

from etcli.core.elements import SYMBOLS

# in pm, in the order of the atomic number: H to Cm
_RADII_PM = """
31 28 128 96 84 76 71 66 57 58 166 141 121 111 107 105 102 106 203 176 170 160 153 139 139 132 126 124
132 122 122 120 119 120 120 116 220 195 190 175 164 154 147 146 142 139 145 144 142 139 139 138 139 140
244 215 207 204 203 201 199 198 198 196 194 192 192 189 190 187 187 175 170 162 151 144 141 136 136 132
145 146 148 140 150 150 260 221 215 206 200 196 190 187 180 169
"""

COVALENT_RADII_A = {
    symbol: 0.01 * int(radius) for symbol, radius in zip(SYMBOLS[1:], _RADII_PM.split(), strict=False)
}


def shortest_bond_A(symbols: Sequence[str]) -> float:
    """Return the length of the shortest bond in a compound, from covalent radii.

    Parameters
    ----------
    symbols : sequence of str
        Its elements, each once.

    Returns
    -------
    float
        The least sum of the radii of two different elements, or twice the radius of the only one, in Å;
        infinite where no radius is known.
    """
    radii_A = sorted(COVALENT_RADII_A.get(symbol, inf) for symbol in symbols)
    return radii_A[0] + radii_A[min(1, len(radii_A) - 1)]
