"""The chemical elements by symbol."""

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
"""Symbols by atomic number; the first one, of number 0, stands for an element that is not known."""

NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS)}


def by_brightness(symbols: Iterable[str]) -> tuple[str, ...]:
    """Order elements as dark field shows them, the lightest and faintest first.

    Parameters
    ----------
    symbols : iterable of str
        In any case of letters.

    Returns
    -------
    tuple of str

    Raises
    ------
    UsageError
        When one of them is no element, or named twice.
    """
    found = tuple(symbol.strip().capitalize() for symbol in symbols)
    for symbol in found:
        if symbol not in NUMBERS or symbol == UNKNOWN:
            raise UsageError(f"{symbol!r} is no element; write symbols, as in Si,O")
    if len(set(found)) < len(found):
        raise UsageError(f"{','.join(found)}: name different elements")
    return tuple(sorted(found, key=NUMBERS.__getitem__))
