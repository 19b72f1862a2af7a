"""Which maxima are atoms by their score: the mixture of the specimen, and the smallest score of an atom."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.atoms.candidates import are_strong
from etcli.core.atoms.mixture import Mixture, fit_mixture

Doubles = NDArray[np.float64]

NEAR, ROUNDS = 2.0, 6
"""Distance from an atom within which maxima are in the specimen, in the smallest distance between atoms;
largest number of rounds in which the specimen grows."""


def specimen_mixture(
    place: Doubles,
    score: Doubles,
    apart: NDArray[np.bool_],
    *,
    min_distance: float,
    least_intensity: float,
    n_species: int | None,
    doubt: float,
) -> tuple[Mixture, NDArray[np.bool_]]:
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

    Notes
    -----
    In the vacuum around a specimen, maxima of noise are weaker than inside it, and may be twenty times as
    numerous as atoms, so that they would look like a species. The specimen is where atoms are near: at first
    the strong ones, then those by the mixture of the specimen so far.
    """
    atoms = apart & are_strong(score)
    for _ in range(ROUNDS):
        inside = apart & (cKDTree(place[atoms]).query(place)[0] < NEAR * min_distance)
        least = least_intensity * float(np.percentile(score[inside], 95))
        inside &= score > least
        mixture = fit_mixture(score[inside], threshold=least, n_species=n_species)
        before, atoms = atoms, apart & (score >= least_score(score, mixture, doubt))
        if not atoms.any() or (atoms == before).all():
            break
    return mixture, inside


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
