"""What may be atoms in a volume, before anything is removed: maxima, their usual width, and the noise."""

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
"""Smoothing before maxima are looked for, in the width of an atom over its ratio of signal to noise, and its
bounds: with much noise nearly the matched filter, with little what shows weak neighbours."""
SMOOTHING, LEAST_SMOOTHING, MOST_SMOOTHING = 3.7, 0.3, 0.8
"""Smoothing before the fit, in the width of an atom over its ratio of signal to noise, and its bounds."""
FAINTEST = 0.04
"""Of the strongest maxima: what is lower is not looked at."""
STRONGEST_PERCENT = 99.9
NOISE_FACTOR = 4.0
"""Standard deviations of noise that a maximum has to exceed, where noise shows as negative values."""
DIFFUSE = 3.0
"""In the width of an atom: what varies over longer distances may be density not resolved into atoms."""
LEAST_SNR = 2.5
COARSEST, FINEST = 0.75, 12.0
"""Voxels that a standard deviation of an atom must measure at least, and at most."""
NOISE_MARGIN = 0.5
"""Standard deviations above the highest of so many normal numbers that one maximum at least has to reach."""
PEDESTAL = 0.65
"""Of the strongest maxima: where the median of all voxels is higher, they stand on a level."""
SETTLED, SEARCHES = 0.05, 3
"""Relative change of the usual width at which the search for it ends, and after how many it does anyway."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Maxima of a volume, the highest first.

    Parameters
    ----------
    place : ndarray of shape (n, 3), float64
        x, y and z as indices.
    height : ndarray of shape (n,), float64
    floor : float
        What they exceed.
    """

    place: Doubles
    height: Doubles
    floor: float


def check_voxels(sigma_px: float, pixel_A: float) -> None:
    """Refuse voxels in which no atom can be seen.

    Parameters
    ----------
    sigma_px : float
        Standard deviation of an atom in voxels.
    pixel_A : float

    Raises
    ------
    DataError
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
    """Find the maxima of a volume that stand out from noise.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    wide_px : float
        Standard deviation of the smoothing before, in voxels; see `detection_for`.
    detect : {"peaks", "dog"}
        In the smoothed volume, or in a difference of Gaussians.
    apart_px : float
        Least distance between two.
    threads : int

    Returns
    -------
    Candidates

    Raises
    ------
    DataError
        When there are none, or they stand on a level of their own height.
    """
    image = (difference_of_gaussians if detect == "dog" else smoothed)(volume, wide_px, threads=threads)
    # noise about zero is seen as what lies below it; where nothing does, only the strongest maxima tell
    top, noise = high_percentile(image, STRONGEST_PERCENT), noise_below_zero(image)
    level = sampled_percentile(volume, 50)
    if detect != "dog" and level > PEDESTAL * top:
        raise DataError(
            f"half of the volume is above {level:.4g}, and its strongest parts only at {top:.4g}; take off "
            "the background before the reconstruction, or is it noise?"
        )
    floor = max(FAINTEST * top, NOISE_FACTOR * noise, 0.0)
    place, height = find_peaks(image, floor)
    chosen = spaced(place, apart_px)
    sure = (np.sqrt(2 * np.log(image.size)) + NOISE_MARGIN) * noise
    if not len(chosen) or height[0] < sure:
        raise DataError("no maximum stands out from the noise; is it a reconstruction at atomic resolution?")
    return Candidates(place[chosen], height[chosen], floor)


def usual_width(volume: Array, found: Candidates, sigma_px: float, *, threads: int) -> tuple[float, float]:
    """Find how wide a strong atom is, and how far it stands out from the noise.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
    found : Candidates
    sigma_px : float
        Standard deviation to begin with, in voxels.
    threads : int

    Returns
    -------
    sigma_px : float
        The median of the stronger half.
    snr : float
        Height of a strong atom over the standard deviation of what is left where atoms are.

    Raises
    ------
    DataError
        When maxima are hardly higher than the noise, or narrower or wider than atoms.
    """
    diffuse_px = DIFFUSE * sigma_px
    rules = FitRules(sigma_px, diffuse_px=diffuse_px, threads=threads)
    residual = None
    for _ in range(SEARCHES):
        atoms = start_atoms(found.place, found.height, rules.sigma_px)
        atoms, residual = fit_atoms(volume, atoms, rules, sweeps=3, residual=residual)
        score = scores(residual, atoms, rules)
        width = float(np.median(sigmas(atoms[score > 0.5 * np.percentile(score, 95)])))
        settled = abs(width / rules.sigma_px - 1) < SETTLED
        rules = FitRules(width, diffuse_px=diffuse_px, threads=threads)
        if settled:
            break
    noise = _peaks.spread_above(volume, residual, np.float32(0.2 * np.percentile(heights(atoms), 90)))
    snr = float(np.percentile(score, 90)) / noise if noise > 0 else np.inf
    if snr < LEAST_SNR:
        raise DataError(
            f"maxima are only {snr:.1f} times as high as the noise, so they cannot be told from it; more "
            "views, more dose or a smoother reconstruction may help"
        )
    if not COARSEST <= rules.sigma_px <= FINEST:
        raise DataError(
            f"the strongest maxima have a standard deviation of {rules.sigma_px:.2g} voxels, unlike atoms; "
            "is it noise, or not at atomic resolution?"
        )
    return rules.sigma_px, snr


def smoothing_for(sigma_px: float, snr: float) -> float:
    """Return the standard deviation of the smoothing before atoms are fitted, in voxels.

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
    return sigma_px * float(np.clip((SMOOTHING / snr) ** 2, LEAST_SMOOTHING, MOST_SMOOTHING))


def detection_for(sigma_px: float, snr: float) -> float:
    """Return the standard deviation of the smoothing before maxima are looked for, in voxels.

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
