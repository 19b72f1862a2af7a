"""Rules by which fitted maxima are taken for atoms or not."""

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
    """What an atom has to fulfil.

    Parameters
    ----------
    min_distance_A : float
        Of two that are closer, the weaker goes: shorter than the shortest bond.
    merge_distance_A : float
        Two that are closer become one at their weighted mean.
    least_intensity : float
        Share of the strong atoms' score below which it is none.
    widths : (float, float)
        Least and largest width, in that of a typical atom.
    least_neighbours : int
        Atoms that it has within 6 Å at least; 0 for particles.
    local_intensity : float
        Share of the mean integrated intensity of its species within 10 Å below which it is none.

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
    """How many maxima a rule took away."""

    rule: str
    count: int


def merge_close(atoms: Doubles, weight: Doubles, distance: float) -> tuple[Doubles, int]:
    """Replace pairs that are close to each other by one at their weighted mean.

    Parameters
    ----------
    atoms : ndarray of shape (n, m), float64
        Rows that begin with x, y and z.
    weight : ndarray of shape (n,), float64
        Positive.
    distance : float
        In the units of the places.

    Returns
    -------
    atoms : ndarray of shape (n - k, m), float64
        Of a pair, the row of the heavier one stays, at the weighted mean. The closest pairs come first, and
        no row is merged twice.
    count : int
        Pairs merged, k.
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
    """Tell which stay when of every pair that is too close the one of the lower score goes.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
    score : ndarray of shape (n,), float64
    distance : float
        In the units of the places.

    Returns
    -------
    ndarray of shape (n,), bool
    """
    order = np.argsort(-score, kind="stable")
    stay = np.zeros(len(place), bool)
    stay[order[spaced(place[order], distance)]] = True
    return stay


def with_neighbours(position_A: Doubles, least: int) -> Mask:
    """Tell which have so many others within 6 Å.

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
    """Tell which are as strong as a share of the mean of their species within 10 Å.

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
        these = np.flatnonzero(species == kind)
        tree = cKDTree(position_A[these])
        # only the weak ones need to be looked at
        weak = np.flatnonzero(intensity[these] < share * intensity[these].max())
        near = tree.query_ball_point(position_A[these[weak]], LOCAL_A)
        mean = np.array([intensity[these[list(around)]].mean() for around in near])
        strong[these[weak]] = intensity[these[weak]] >= share * mean
    return strong
