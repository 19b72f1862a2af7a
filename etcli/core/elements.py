"""Chemical elements: symbols and atomic numbers."""

from collections.abc import Iterable

from etcli.core.atomic_model import UNKNOWN
from etcli.core.errors import UsageError

# IUPAC, Periodic Table of the Elements (2022), in the order of the atomic number
_NAMES = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""

SYMBOLS = (UNKNOWN, *_NAMES.split())
"""Symbols by atomic number; the first one, of number 0, stands for an unknown element."""

NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def by_brightness(symbols: Iterable[str]) -> tuple[str, ...]:
    """Sort elements by their brightness in dark field, that is by atomic number: the faintest first.

    Parameters
    ----------
    symbols : iterable of str
        Chemical symbols, in upper or lower case.

    Returns
    -------
    tuple of str

    Raises
    ------
    UsageError
        When a symbol is not a chemical element, or is given twice.
    """
    elements = tuple(symbol.strip().capitalize() for symbol in symbols)
    for symbol in elements:
        if symbol not in NUMBERS or symbol == UNKNOWN:
            raise UsageError(f"{symbol!r} is no element; write symbols, as in Si,O")
    if len(set(elements)) < len(elements):
        raise UsageError(f"{','.join(elements)}: an element is given twice; name each once")
    return tuple(sorted(elements, key=NUMBERS.__getitem__))
