"""Histograms of bond lengths, bond angles and coordination, for all elements and by element."""

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.structure import Structure

ALL = ""
"""Name of the curve for all elements."""

Curves = dict[str, NDArray[np.float64]]


def bond_lengths(structure: Structure, edges_A: NDArray[np.float64]) -> Curves:
    """Compute the probability density of the bond lengths.

    Parameters
    ----------
    structure : Structure
    edges_A : ndarray of shape (n + 1,), float64
        Borders of the bins.

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        In 1/Å, for all bonds and, if there are several elements, by pairs of elements, as ``O_Si``; the sum
        of these is the curve for all.
    """
    curves = {ALL: _density(structure.length_A, edges_A, len(structure.length_A))}
    if len(structure.elements) > 1:
        for name, chosen in bonds_by_elements(structure).items():
            curves[name] = _density(structure.length_A[chosen], edges_A, len(structure.length_A))
    return curves


def bonds_by_elements(structure: Structure) -> dict[str, NDArray[np.bool_]]:
    """Mark the bonds between each pair of elements, by names such as ``O_Si``; omit pairs without bonds."""
    one, other = (structure.atoms.species[end] for end in structure.bonds.T)
    masks = {}
    for a, b in combinations_with_replacement(structure.elements, 2):
        chosen = ((one == a) & (other == b)) | ((one == b) & (other == a))
        if chosen.any():
            masks[f"{a}_{b}"] = chosen
    return masks


def bond_angles(structure: Structure, edges_deg: NDArray[np.float64]) -> Curves:
    """Compute the probability density of the bond angles.

    Parameters
    ----------
    structure : Structure
    edges_deg : ndarray of shape (n + 1,), float64
        Borders of the bins.

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        In 1/degree, for all angles and, if there are several elements, by the element of the middle atom; the
        sum of these is the curve for all.
    """
    n = len(structure.angle_deg)
    curves = {ALL: _density(structure.angle_deg, edges_deg, n)}
    if len(structure.elements) > 1:
        middle = structure.atoms.species[structure.centre]
        curves |= {
            name: _density(structure.angle_deg[middle == name], edges_deg, n) for name in structure.elements
        }
    return curves


def coordination(structure: Structure) -> Curves:
    """Compute the share of atoms that have 0, 1, 2, ... bonds.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    dict of str to ndarray of shape (n,), float64
        For all elements and, if there are several, by element; without atoms at the surface, if at least a
        twentieth of the atoms are inside.
    """
    inner = inner_atoms(structure)
    n_counts = int(structure.coordination.max(initial=0)) + 1
    masks = {ALL: inner}
    if len(structure.elements) > 1:
        masks |= {name: inner & (structure.atoms.species == name) for name in structure.elements}
    return {
        name: np.bincount(structure.coordination[chosen], minlength=n_counts) / max(int(chosen.sum()), 1)
        for name, chosen in masks.items()
    }


def inner_atoms(structure: Structure) -> NDArray[np.bool_]:
    """Mark the atoms that are not at the surface, or all atoms if fewer than a twentieth are inside."""
    enough = structure.inside.sum() >= max(len(structure.atoms) / 20, 1)
    return structure.inside if enough else np.ones(len(structure.atoms), bool)


def nearest_neighbours(structure: Structure, edges_A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the probability density in 1/Å of the distance to the nearest neighbour, (n,)."""
    return _density(structure.nearest_A, edges_A, len(structure.nearest_A))


def _density(values: NDArray[np.float64], edges: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.asarray(np.histogram(values, edges)[0] / (max(n, 1) * np.diff(edges)))
