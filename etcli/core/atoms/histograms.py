"""Bonds, angles and coordination, by element, as curves and counts."""

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.structure import Structure

ALL = ""
"""The name of the curve of all elements."""

Curves = dict[str, NDArray[np.float64]]


def bond_lengths(found: Structure, edges_A: NDArray[np.float64]) -> Curves:
    """Return the probability density of the bond lengths.

    Parameters
    ----------
    found : Structure
    edges_A : ndarray of shape (n + 1,), float64
        Borders of the bins.

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        In 1/Å, of all bonds and, where there are several elements, by the two elements, as ``O_Si``; the sum
        of these is that of all.
    """
    curves = {ALL: _density(found.length_A, edges_A, len(found.length_A))}
    if len(found.elements) > 1:
        for name, chosen in bonds_by_elements(found).items():
            curves[name] = _density(found.length_A[chosen], edges_A, len(found.length_A))
    return curves


def bonds_by_elements(found: Structure) -> dict[str, NDArray[np.bool_]]:
    """Return which bonds are between which elements, by names as ``O_Si``; those without any left out."""
    one, other = (found.atoms.species[end] for end in found.bonds.T)
    named = {}
    for a, b in combinations_with_replacement(found.elements, 2):
        chosen = ((one == a) & (other == b)) | ((one == b) & (other == a))
        if chosen.any():
            named[f"{a}_{b}"] = chosen
    return named


def bond_angles(found: Structure, edges_deg: NDArray[np.float64]) -> Curves:
    """Return the probability density of the bond angles.

    Parameters
    ----------
    found : Structure
    edges_deg : ndarray of shape (n + 1,), float64
        Borders of the bins.

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        In 1/degree, of all angles and, where there are several elements, by the one in the middle; the sum of
        these is that of all.
    """
    n = len(found.angle_deg)
    curves = {ALL: _density(found.angle_deg, edges_deg, n)}
    if len(found.elements) > 1:
        middle = found.atoms.species[found.centre]
        curves |= {name: _density(found.angle_deg[middle == name], edges_deg, n) for name in found.elements}
    return curves


def coordination(found: Structure) -> Curves:
    """Return the share of the atoms that have 0, 1, 2, ... bonds.

    Parameters
    ----------
    found : Structure

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        Of all elements and, where there are several, by element; atoms at the surface left out where at least
        a twentieth of the atoms are not.
    """
    looked = inner_atoms(found)
    longest = int(found.coordination.max(initial=0)) + 1
    named = {ALL: looked}
    if len(found.elements) > 1:
        named |= {name: looked & (found.atoms.species == name) for name in found.elements}
    return {
        name: np.bincount(found.coordination[chosen], minlength=longest) / max(int(chosen.sum()), 1)
        for name, chosen in named.items()
    }


def inner_atoms(found: Structure) -> NDArray[np.bool_]:
    """Return the atoms that are not at the surface, or all where these are hardly any."""
    enough = found.inside.sum() >= max(len(found.atoms) / 20, 1)
    return found.inside if enough else np.ones(len(found.atoms), bool)


def nearest_neighbours(found: Structure, edges_A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability density in 1/Å of the distance to the nearest neighbour, (n,)."""
    return _density(found.nearest_A, edges_A, len(found.nearest_A))


def _density(values: NDArray[np.float64], edges: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.asarray(np.histogram(values, edges)[0] / (max(n, 1) * np.diff(edges)))
