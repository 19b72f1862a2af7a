"""Rules that accept fitted maxima as atoms, merge or remove them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.atoms.peaks import spaced

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

NEIGHBOURHOOD_A = 6.0
LOCAL_A = 10.0


@dataclass(frozen=True)
class AtomCriteria:
    """Criteria that an atom must fulfil.

    Parameters
    ----------
    min_distance_A : float
        Of two atoms closer than this, the weaker is removed; shorter than the shortest bond.
    merge_distance_A : float
        Two atoms closer than this are merged at their weighted mean.
    least_intensity : float
        Smallest score, as a share of that of strong atoms.
    widths : (float, float)
        Smallest and largest width, relative to that of a typical atom.
    least_neighbours : int
        Smallest number of atoms within 6 Å; 0 for particles.
    local_intensity : float
        Smallest integrated intensity, as a share of the mean of its species within 10 Å.

    References
    ----------
    D. Ren et al., Ultramicroscopy 208, 112860 (2020), doi:10.1016/j.ultramic.2019.112860, and
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0: the rules and their values.
    """

    min_distance_A: float = 1.6
    merge_distance_A: float = 1.1
    least_intensity: float = 0.05
    widths: tuple[float, float] = (0.5, 1.6)
    least_neighbours: int = 0
    local_intensity: float = 0.25


@dataclass(frozen=True)
class RemovedCounts:
    """Number of maxima that a rule removed."""

    rule: str
    count: int


def merge_close(atoms: Doubles, weight: Doubles, distance: float) -> tuple[Doubles, int]:
    """Merge pairs of atoms that are close to each other, at their weighted mean.

    Parameters
    ----------
    atoms : ndarray of shape (n, m), float64
        Rows that begin with x, y and z.
    weight : ndarray of shape (n,), float64
        Positive weights.
    distance : float
        Largest distance of a merged pair, in the units of the places.

    Returns
    -------
    atoms : ndarray of shape (n - k, m), float64
        Of each pair, the row with the larger weight is kept, at the weighted mean. The closest pairs are
        merged first, and no row is merged twice.
    count : int
        Number of merged pairs, k.
    """
    if len(atoms) < 2:
        return atoms, 0
    pairs = cKDTree(atoms[:, :3]).query_pairs(distance, output_type="ndarray")
    if not len(pairs):
        return atoms, 0
    apart = ((atoms[pairs[:, 0], :3] - atoms[pairs[:, 1], :3]) ** 2).sum(axis=1)
    merged, kept, used = atoms.copy(), np.ones(len(atoms), bool), np.zeros(len(atoms), bool)
    for i, j in pairs[np.lexsort((pairs.min(axis=1), apart))].tolist():
        if used[i] or used[j]:
            continue
        used[i] = used[j] = True
        stays, goes = (i, j) if weight[i] >= weight[j] else (j, i)
        total = weight[i] + weight[j] or 1.0
        merged[stays, :3] = (weight[i] * atoms[i, :3] + weight[j] * atoms[j, :3]) / total
        kept[goes] = False
    return merged[kept], int((~kept).sum())


def without_close(place: Doubles, score: Doubles, distance: float) -> Mask:
    """Mark the atoms that remain when the one with the lower score of every close pair is removed.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
    score : ndarray of shape (n,), float64
    distance : float
        Smallest allowed distance, in the units of the places.

    Returns
    -------
    ndarray of shape (n,), bool
    """
    order = np.argsort(-score, kind="stable")
    remaining = np.zeros(len(place), bool)
    remaining[order[spaced(place[order], distance)]] = True
    return remaining


def with_neighbours(position_A: Doubles, least: int) -> Mask:
    """Mark the atoms that have at least a number of neighbours within 6 Å.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
    least : int

    Returns
    -------
    ndarray of shape (n,), bool
    """
    if not least or not len(position_A):
        return np.ones(len(position_A), bool)
    tree = cKDTree(position_A)
    count = tree.query_ball_point(position_A, NEIGHBOURHOOD_A, return_length=True) - 1
    return np.asarray(count >= least)


def strong_locally(position_A: Doubles, intensity: Doubles, species: NDArray[np.intp], share: float) -> Mask:
    """Mark the atoms that have at least a share of the mean intensity of their species within 10 Å.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
    intensity : ndarray of shape (n,), float64
    species : ndarray of shape (n,), int
    share : float

    Returns
    -------
    ndarray of shape (n,), bool
    """
    strong = np.ones(len(position_A), bool)
    if not share:
        return strong
    for kind in np.unique(species):
        members = np.flatnonzero(species == kind)
        tree = cKDTree(position_A[members])
        # only weak atoms need a comparison
        weak = np.flatnonzero(intensity[members] < share * intensity[members].max())
        near = tree.query_ball_point(position_A[members[weak]], LOCAL_A)
        mean = np.array([intensity[members[list(around)]].mean() for around in near])
        strong[members[weak]] = intensity[members[weak]] >= share * mean
    return strong
