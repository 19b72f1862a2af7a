"""Candidates for atoms in a volume: its maxima, their typical width, and the noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms import _peaks
from etcli.core.atoms.gaussian_fit import FitRules, fit_atoms, heights, scores, sigmas, start_atoms
from etcli.core.atoms.peaks import (
    difference_of_gaussians,
    find_peaks,
    high_percentile,
    noise_below_zero,
    sampled_percentile,
    smoothed,
    spaced,
)
from etcli.core.errors import DataError

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

DETECTION, LEAST_DETECTION, MOST_DETECTION = 6.0, 0.6, 0.85
"""Smoothing before the search for maxima, in the width of an atom over its signal-to-noise ratio, and its
bounds: for strong noise nearly the matched filter, for weak noise narrow enough to show weak neighbours."""
SMOOTHING, LEAST_SMOOTHING, MOST_SMOOTHING = 3.7, 0.3, 0.8
"""Smoothing before the fit, in the width of an atom over its signal-to-noise ratio, and its bounds."""
LEAST_WIDTH_PX = 0.9
"""Narrower atoms are smoothed to this standard deviation: voxels hardly sample them, and too few lie within
the radius of a fit."""
FAINTEST = 0.04
"""Lower maxima, as a share of the strongest ones, are ignored."""
STRONGEST_PERCENT = 99.9
NOISE_FACTOR = 4.0
"""Threshold of maxima in standard deviations of the noise, where noise shows as negative values."""
DIFFUSE = 3.0
"""Density that varies over longer distances, in the width of an atom, may be unresolved (diffuse)."""
LEAST_SNR = 2.5
COARSEST, FINEST = 0.6, 12.0
"""Smallest and largest standard deviation of an atom in voxels."""
WIDEST = 2.0
"""Largest width of strong atoms, in the initial width of an atom: 1 to 1.5 in published series."""
NOISE_MARGIN = 0.5
"""The highest maximum must exceed that expected of pure noise by so many standard deviations of the noise."""
PEDESTAL = 0.65
"""Largest median of all voxels, as a share of the strongest maxima; above, there is a background level."""
RARE = 0.15
"""Share of strong maxima below which noise is so much more numerous that percentiles are those of noise."""
SETTLED, SEARCHES = 0.05, 3
"""Relative change of the typical width at which its search ends, and largest number of rounds."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Maxima of a volume, the highest first.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices.
    height : ndarray of shape (n,), float64
    floor : float
        Threshold that they exceed.
    """

    place: Doubles
    height: Doubles
    floor: float


def check_voxels(sigma_px: float, pixel_A: float) -> None:
    """Check that the size of the voxels suits atoms.

    Parameters
    ----------
    sigma_px : float
        Standard deviation of an atom in voxels.
    pixel_A : float

    Raises
    ------
    DataError
        When the voxels are too coarse or too fine.
    """
    if COARSEST <= sigma_px <= FINEST:
        return
    wrong, remedy = ("coarse", "is the pixel size really in Å?")
    if sigma_px > FINEST:
        wrong, remedy = ("fine", "bin the volume, or is the pixel size in nm?")
    raise DataError(f"voxels of {pixel_A:g} Å are too {wrong} for atoms (0.3 to 0.5 Å is usual); {remedy}")


def find_candidates(
    volume: Array, wide_px: float, *, detect: str, apart_px: float, threads: int = 1
) -> Candidates:
    """Find the maxima of a volume that exceed the noise.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    wide_px : float
        Standard deviation of the smoothing before the search, in voxels; see `detection_for`.
    detect : {"peaks", "dog"}
        Maxima of the smoothed volume, or of a difference of Gaussians.
    apart_px : float
        Smallest distance between two maxima.
    threads : int

    Returns
    -------
    Candidates

    Raises
    ------
    DataError
        When there are none, or the background level is nearly as high as the maxima.
    """
    image = (difference_of_gaussians if detect == "dog" else smoothed)(volume, wide_px, threads=threads)
    # the noise is measured from negative values; without any, only the strongest maxima set the threshold
    top, noise = high_percentile(image, STRONGEST_PERCENT), noise_below_zero(image)
    level = sampled_percentile(volume, 50)
    if detect != "dog" and level > PEDESTAL * top:
        raise DataError(
            f"half of the volume is above {level:.4g}, and its strongest parts only at {top:.4g}; subtract "
            "the background before the reconstruction, or is it noise?"
        )
    floor = max(FAINTEST * top, NOISE_FACTOR * noise, 0.0)
    place, height = find_peaks(image, floor)
    chosen = spaced(place, apart_px)
    sure = (np.sqrt(2 * np.log(image.size)) + NOISE_MARGIN) * noise
    if not len(chosen) or height[0] < sure:
        raise DataError("no maximum stands out from the noise; is it a reconstruction at atomic resolution?")
    return Candidates(place[chosen], height[chosen], floor)


def typical_width(
    volume: Array, candidates: Candidates, sigma_px: float, *, threads: int
) -> tuple[float, float]:
    """Measure the width of a strong atom, and its signal-to-noise ratio.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    candidates : Candidates
    sigma_px : float
        Initial standard deviation, in voxels.
    threads : int

    Returns
    -------
    sigma_px : float
        Median standard deviation of the strong atoms.
    snr : float
        Height of a strong atom over the standard deviation of the residual where atoms are.

    Raises
    ------
    DataError
        When maxima are hardly higher than the noise, or narrower or wider than atoms.
    """
    diffuse_px = DIFFUSE * sigma_px
    rules = FitRules(sigma_px, diffuse_px=diffuse_px, threads=threads)
    residual = None
    # the strongest maxima, most of which are not noise even in a large vacuum
    n_strongest = min(len(candidates.height), round(np.count_nonzero(are_strong(candidates.height)) / RARE))
    for _ in range(SEARCHES):
        atoms = start_atoms(candidates.place, candidates.height, rules.sigma_px)
        atoms, residual = fit_atoms(volume, atoms, rules, sweeps=3, residual=residual)
        score = scores(residual, atoms, rules)
        strongest = np.argsort(score, kind="stable")[-n_strongest:]
        width = float(np.median(sigmas(atoms[score > 0.5 * np.percentile(score[strongest], 95)])))
        settled = abs(width / rules.sigma_px - 1) < SETTLED
        rules = FitRules(width, diffuse_px=diffuse_px, threads=threads)
        if settled:
            break
    level = 0.2 * np.percentile(heights(atoms[strongest]), 90)
    noise = _peaks.spread_above(volume, residual, np.float32(level))
    snr = float(np.percentile(score[strongest], 90)) / noise if noise > 0 else np.inf
    if snr < LEAST_SNR:
        raise DataError(
            f"maxima are only {snr:.1f} times as high as the noise, so they cannot be distinguished from it; "
            "more views, more dose or a smoother reconstruction may help"
        )
    if rules.sigma_px > WIDEST * sigma_px:
        raise DataError(
            f"the strongest maxima are {rules.sigma_px / sigma_px:.2g} times as wide as atoms; is the volume "
            "blurred, or not at atomic resolution? Give --sigma if its atoms are that wide"
        )
    if rules.sigma_px < COARSEST:
        raise DataError(
            f"the strongest maxima have a standard deviation of {rules.sigma_px:.2g} voxels, unlike atoms; "
            "is it noise, or not at atomic resolution?"
        )
    return rules.sigma_px, snr


def are_strong(score: Doubles) -> NDArray[np.bool_]:
    """Mark the maxima that are surely atoms: those with at least half of the score of a strong atom.

    Parameters
    ----------
    score : ndarray of shape (n,), float64
        Scores or heights of maxima, at least one positive.

    Returns
    -------
    ndarray of shape (n,), bool

    Notes
    -----
    The score of a strong atom is the median weighted by the fourth power of the scores. Unlike a percentile,
    it is that of atoms even where maxima of noise are twenty times as numerous.
    """
    ascending = np.sort(score)
    weight = np.cumsum(np.maximum(ascending, 0) ** 4)
    return np.asarray(score > ascending[np.searchsorted(weight, weight[-1] / 2)] / 2)


def smoothing_for(sigma_px: float, snr: float) -> float:
    """Return the standard deviation of the smoothing before the fit of atoms, in voxels.

    Parameters
    ----------
    sigma_px : float
        Width of an atom.
    snr : float
        Its height over the noise.

    Returns
    -------
    float
        The more noise, the wider: 0.3 to 0.8 of the width of an atom.
    """
    by_noise = sigma_px * float(np.clip((SMOOTHING / snr) ** 2, LEAST_SMOOTHING, MOST_SMOOTHING))
    return max(by_noise, float(np.sqrt(max(LEAST_WIDTH_PX**2 - sigma_px**2, 0.0))))


def detection_for(sigma_px: float, snr: float) -> float:
    """Return the standard deviation of the smoothing before the search for maxima, in voxels.

    Parameters
    ----------
    sigma_px : float
        Width of an atom.
    snr : float
        Its height over the noise.

    Returns
    -------
    float
        The more noise, the wider: 0.6 to 0.85 of the width of an atom.
    """
    return sigma_px * float(np.clip(DETECTION / snr, LEAST_DETECTION, MOST_DETECTION))
