"""Which maxima are atoms by their score: the mixture of the specimen, and the smallest score of an atom."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.atoms.candidates import RARE, are_strong
from etcli.core.atoms.mixture import Mixture, fit_mixture

Doubles = NDArray[np.float64]

NEAR, ROUNDS = 2.0, 6
"""Distance from an atom within which maxima are in the specimen, in the smallest distance between atoms;
largest number of rounds in which the specimen grows."""
RIM = 2.0
"""The specimen grows if the share of atoms among the maxima around it is this times that in the vacuum."""


def specimen_mixture(
    place: Doubles,
    score: Doubles,
    apart: NDArray[np.bool_],
    *,
    min_distance: float,
    least_intensity: float,
    n_species: int | None,
    doubt: float,
) -> tuple[Mixture, NDArray[np.bool_], NDArray[np.bool_]]:
    """Fit a mixture to the scores of the maxima in the specimen.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
    score : ndarray of shape (n,), float64
    apart : ndarray of shape (n,), bool
        Maxima that are not too close to a stronger one.
    min_distance : float
        Smallest distance between atoms, in the units of the places.
    least_intensity : float
        Smallest score that counts, as a share of that of strong atoms.
    n_species : int, optional
        As for `fit_mixture`.
    doubt : float
        Largest probability that an accepted maximum is not an atom.

    Returns
    -------
    mixture : Mixture
    inside : ndarray of shape (n,), bool
        Maxima to whose scores it was fitted.
    specimen : ndarray of shape (n,), bool
        Maxima in the specimen; others are no atoms.

    Notes
    -----
    In a large vacuum around a specimen, maxima of noise are weaker than inside it, and may be twenty times as
    numerous as atoms, so that they would look like a species. If strong maxima are fewer than a tenth, only
    those in the specimen count. The specimen is where atoms are near: at first the strong ones, then those by
    its mixture so far, as long as the maxima around it are accepted more often than those farther away.
    """
    strong, everywhere = are_strong(score), np.ones(len(score), bool)
    if np.count_nonzero(strong) > RARE * len(score):
        return *_mixture_of(score, everywhere, least_intensity, n_species), everywhere
    atoms, specimen, cut = apart & strong, ~everywhere, np.inf
    for _ in range(ROUNDS):
        near = specimen | (cKDTree(place[atoms]).query(place)[0] < NEAR * min_distance)
        if specimen.any() and not _grows(score >= cut, apart & near & ~specimen, apart & ~near):
            break
        specimen = near
        mixture, inside = _mixture_of(score, apart & specimen, least_intensity, n_species)
        cut = least_score(score, mixture, doubt)
        atoms = apart & specimen & (score >= cut)
        if not atoms.any():
            break
    return mixture, inside, specimen


def _grows(accepted: NDArray[np.bool_], rim: NDArray[np.bool_], vacuum: NDArray[np.bool_]) -> bool:
    """Check whether maxima around the specimen are accepted more often than those of the vacuum."""
    share_of_vacuum = accepted[vacuum].mean() if vacuum.any() else 0.0
    return bool(rim.any() and accepted[rim].mean() > RIM * share_of_vacuum)


def _mixture_of(
    score: Doubles, chosen: NDArray[np.bool_], least_intensity: float, n_species: int | None
) -> tuple[Mixture, NDArray[np.bool_]]:
    """Fit a mixture to the chosen scores that are not too weak; return these as well."""
    least = least_intensity * float(np.percentile(score[chosen], 95))
    above = chosen & (score > least)
    return fit_mixture(score[above], threshold=least, n_species=n_species), above


def least_score(score: Doubles, mixture: Mixture, doubt: float) -> float:
    """Return the score between maxima that are atoms by a mixture, and those that are not.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores of maxima.
    mixture : Mixture
    doubt : float
        Largest probability that an accepted maximum is not an atom.

    Returns
    -------
    float
        The middle between the two next scores; infinite if there are no atoms.
    """
    ascending = np.sort(score)
    n_not_atoms = int((mixture.probabilities(ascending)[:, 0] > doubt).sum())
    if n_not_atoms in (0, len(score)):
        return float(ascending[0]) if not n_not_atoms else float(np.inf)
    return float(ascending[n_not_atoms - 1 : n_not_atoms + 1].mean())
