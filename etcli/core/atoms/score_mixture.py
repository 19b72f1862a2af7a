"""Which maxima are atoms by their score: the mixture of the specimen, and the smallest score of an atom."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.atoms.candidates import RARE, are_strong
from etcli.core.atoms.mixture import Mixture, fit_mixture, mixture_of_two
from etcli.core.errors import DataError

Doubles = NDArray[np.float64]

NEAR, ROUNDS = 2.0, 6
"""Distance from an atom within which maxima are in the specimen, in the smallest distance between atoms;
largest number of rounds in which the specimen grows."""
MOST_SPREAD = 1 / 3
"""Largest relative spread of scores of a species: 0.03 to 0.3 in published series, 0.33 or more in noise."""
APART = 1.5
"""Smallest distance of the means of automatically found species, in the sum of their standard deviations."""
DOUBTFUL_SPREAD, MOST_WIDTH_SPREAD = 0.25, 0.12
"""Maxima whose scores have a larger relative spread are atoms only if their widths are alike: the relative
spread of widths is 0.02 to 0.113 in published series and parts of them, 0.134 to 0.18 in noise."""
RIM = 2.0
"""The specimen grows if the share of atoms among the maxima around it is this times that in the vacuum."""


@dataclass(frozen=True, eq=False)
class SpecimenMixture:
    """Mixture of the scores of the maxima in the specimen.

    Parameters
    ----------
    mixture : Mixture
    inside : ndarray of shape (n,), bool
        Maxima to whose scores it was fitted.
    specimen : ndarray of shape (n,), bool
        Maxima in the specimen; others are no atoms.
    separated : bool
        Whether a free fit separates atoms from other maxima; if not, the classes are the strong maxima and
        the others.
    """

    mixture: Mixture
    inside: NDArray[np.bool_]
    specimen: NDArray[np.bool_]
    separated: bool


def specimen_mixture(
    place: Doubles,
    score: Doubles,
    apart: NDArray[np.bool_],
    *,
    min_distance: float,
    least_intensity: float,
    n_species: int | None,
    doubt: float,
) -> SpecimenMixture:
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
    SpecimenMixture

    Notes
    -----
    In a large vacuum around a specimen, maxima of noise are weaker than inside it, and may be twenty times as
    numerous as atoms, so that they would look like a species. If strong maxima are fewer than a tenth, only
    those in the specimen count. The specimen is where atoms are near: at first the strong ones, then those by
    its mixture so far, as long as the maxima around it are accepted more often than those farther away.
    """
    strong, everywhere = are_strong(score), np.ones(len(score), bool)
    if np.count_nonzero(strong) > RARE * len(score):
        return _mixture_of(score, everywhere, everywhere, least_intensity, n_species)
    atoms, specimen, cut = apart & strong, ~everywhere, np.inf
    for _ in range(ROUNDS):
        near = specimen | (cKDTree(place[atoms]).query(place)[0] < NEAR * min_distance)
        if specimen.any() and not _grows(score >= cut, apart & near & ~specimen, apart & ~near):
            break
        specimen = near
        found = _mixture_of(score, apart & specimen, specimen, least_intensity, n_species)
        cut = least_score(score, found.mixture, doubt)
        atoms = apart & specimen & (score >= cut)
        if not atoms.any():
            break
    return found


def check_not_noise(found: SpecimenMixture, score: Doubles, width: Doubles | None) -> None:
    """Check that the maxima are atoms of one species, and not those of noise.

    Atoms of one species have the same width, even where their heights vary as much as those of noise.

    Parameters
    ----------
    found : SpecimenMixture
    score : ndarray of shape (n,), float64
        Scores of all maxima.
    width : ndarray of shape (n,), float64, optional
        Their widths, in any unit; None if they were not measured.

    Raises
    ------
    DataError
        When the maxima are of all heights and widths.
    """
    spread = float((found.mixture.deviation / found.mixture.mean)[-1])
    if width is None:
        is_noise = not found.separated
        text = f"heights (their relative standard deviation is {spread:.0%})"
    else:
        strong = np.log(width[found.specimen & are_strong(score)])
        # half of the range that holds 68 %: the standard deviation of a normal distribution
        width_spread = float(np.diff(np.quantile(strong, [0.16, 0.84]))[0]) / 2
        # of a few maxima the spread is uncertain
        most = MOST_WIDTH_SPREAD * (1 + 0.5 / np.sqrt(len(strong)))
        is_noise = width_spread > most and (spread > DOUBTFUL_SPREAD or not found.separated)
        text = f"heights and widths (relative standard deviations of {spread:.0%} and {width_spread:.0%})"
    if is_noise:
        raise DataError(
            f"maxima are of all {text}, as those of noise are; if they are atoms, give their number, the "
            "least score, or all species"
        )


def _grows(accepted: NDArray[np.bool_], rim: NDArray[np.bool_], vacuum: NDArray[np.bool_]) -> bool:
    """Check whether maxima around the specimen are accepted more often than those of the vacuum."""
    share_of_vacuum = accepted[vacuum].mean() if vacuum.any() else 0.0
    return bool(rim.any() and accepted[rim].mean() > RIM * share_of_vacuum)


def _mixture_of(
    score: Doubles,
    chosen: NDArray[np.bool_],
    specimen: NDArray[np.bool_],
    least_intensity: float,
    n_species: int | None,
) -> SpecimenMixture:
    """Fit a mixture to the chosen scores that are not too weak."""
    least = least_intensity * float(np.percentile(score[chosen], 95))
    inside = chosen & (score > least)
    mixture, separated = separating_mixture(
        score[inside], are_strong(score[inside]), threshold=least, n_species=n_species
    )
    return SpecimenMixture(mixture, inside, specimen, separated)


def separating_mixture(
    score: Doubles, strong: NDArray[np.bool_], *, threshold: float, n_species: int | None
) -> tuple[Mixture, bool]:
    """Fit a mixture that separates atoms from other maxima, even where their histogram has no minimum.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores or amplitudes, all above the threshold.
    strong : ndarray of shape (n,), bool
        Maxima that are surely atoms, at least one.
    threshold, n_species
        As for `fit_mixture`.

    Returns
    -------
    mixture : Mixture
    separated : bool
        Whether a free fit separates atoms from other maxima. If not, and if there may be one species, the
        classes are the strong maxima and the others.
    """
    mixture = fit_mixture(score, threshold=threshold, n_species=n_species)
    if (n_species or 1) > 1 or _separates(mixture, score, strong):
        return mixture, True
    return mixture_of_two(score, strong, threshold=threshold), False


def _separates(mixture: Mixture, score: Doubles, strong: NDArray[np.bool_]) -> bool:
    """Check whether a mixture fitted to scores separates atoms from other maxima.

    It does not if its atoms have all heights, as maxima of noise have, or if they are only the brightest few
    of the strong maxima. Near the edge of a film, where its brightness falls off and streaks of the missing
    wedge are as high as weak atoms, the histogram has no minimum.
    """
    accepted = mixture.probabilities(score)[:, 0] < 1 / 2
    if accepted[strong].mean() < 1 / 2:
        return False
    gap = np.diff(mixture.mean) / (mixture.deviation[1:] + mixture.deviation[:-1])
    if len(gap) and gap.min() <= APART:  # overlapping classes are parts of one
        return float(score[accepted].std() / score[accepted].mean()) <= MOST_SPREAD
    return float(mixture.deviation[-1] / mixture.mean[-1]) <= MOST_SPREAD


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
