"""From a volume to atoms: maxima, Gaussians, and which of them are atoms."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.cleaning import (
    Cleaning,
    Removed,
    merge_close,
    strong_locally,
    with_neighbours,
    without_close,
)
from etcli.core.atoms.gaussian_fit import (
    FitRules,
    Freedom,
    axes,
    fit_atoms,
    heights,
    integrals,
    places,
    scores,
    sigmas,
    start_atoms,
)
from etcli.core.atoms.mixture import Mixture, fit_mixture
from etcli.core.atoms.peaks import difference_of_gaussians, find_peaks, smoothed, spaced
from etcli.core.errors import DataError

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

SIGMA_A = 0.5
"""Width of an atom in a reconstruction at atomic resolution, to begin with."""
DETECTION, LEAST_DETECTION, MOST_DETECTION = 6.0, 0.6, 0.85
"""Smoothing before maxima are looked for, in the width of an atom over its ratio of signal to noise, and its
bounds: where there is much noise nearly the matched filter, where there is little what shows weak neighbours."""
SMOOTHING, LEAST_SMOOTHING, MOST_SMOOTHING = 3.7, 0.3, 0.8
"""Smoothing before the fit, in the width of an atom over its ratio of signal to noise, and its bounds."""
FAINTEST = 0.04
"""Of the strongest maxima: what is lower is not looked at."""
STRONGEST_PERCENT = 99.9
NOISE_FACTOR = 4.0
"""Standard deviations of noise that a maximum has to exceed, where noise shows as negative values."""
RESIDUAL_FACTOR = 8.0
"""... that a maximum of the residual has to exceed."""
LEAST_SNR = 2.5
CYCLES, SWEEPS = 12, 4
COARSEST, FINEST = 0.75, 12.0
"""Voxels that a standard deviation of an atom must measure at least, and at most."""


@dataclass(frozen=True)
class TraceRules:
    """How atoms are looked for.

    Parameters
    ----------
    sigma_A : float
        Standard deviation to begin with of an atom in the volume; it is then found.
    smoothing_A : float, optional
        Standard deviation of the smoothing before the fit; by default from the noise.
    detect : {"peaks", "dog"}
        Maxima of the smoothed volume, or of a difference of Gaussians.
    freedom : {"shared", "isotropic", "elliptical"}
        As for `FitRules`.
    n_species : int, optional
        Species to tell apart; by default as many as the scores show.
    threshold : float, optional
        Least score of an atom, in the units of the volume; by default from the mixture.
    expected : int, optional
        Number of atoms: those of the highest scores.
    cleaning : Cleaning
    """

    sigma_A: float = SIGMA_A
    smoothing_A: float | None = None
    detect: str = "peaks"
    freedom: Freedom = "isotropic"
    n_species: int | None = 1
    threshold: float | None = None
    expected: int | None = None
    cleaning: Cleaning = field(default_factory=Cleaning)


@dataclass(frozen=True, eq=False)
class Trace:
    """Atoms of a volume, and how they were found.

    Parameters
    ----------
    fitted : ndarray of shape (n_atoms, 10), float64
        Gaussians in the smoothed volume, in voxels; see `etcli.core.atoms._gaussians`.
    score : ndarray of shape (n_atoms,), float64
        Height of the Gaussian of typical width that fits best.
    kind : ndarray of shape (n_atoms,), int
        Number of the species, the lightest 0.
    probability : ndarray of shape (n_atoms,), float64
        That it is an atom and of that species.
    removed : list of Removed
        What every rule took away.
    candidates : ndarray of shape (n,), float64
        Scores of all maxima that were classified.
    mixture : Mixture
        Their classes.
    cut : float
        Score from which on they are atoms.
    sigma_A, smoothing_A, snr : float
        Width of a typical atom in the volume; smoothing before the fit; height over the noise.
    rules : FitRules
        Of the last fit.
    volume, residual : ndarray of shape (nz, ny, nx), float32
        Smoothed, with all atoms and without.
    """

    fitted: Doubles
    score: Doubles
    kind: NDArray[np.intp]
    probability: Doubles
    removed: list[Removed]
    candidates: Doubles
    mixture: Mixture
    cut: float
    sigma_A: float
    smoothing_A: float
    snr: float
    rules: FitRules
    volume: Array
    residual: Array


def trace(
    volume: Array,
    pixel_A: float,
    rules: TraceRules,
    *,
    threads: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Trace:
    """Find the atoms of a volume.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Density, finite; it is smoothed in place.
    pixel_A : float
        Size of the voxels, which are cubes, in Å.
    rules : TraceRules
    threads : int
        Threads to work on; the result does not depend on their number.
    progress : callable, optional
        Told what is begun.

    Returns
    -------
    Trace

    Raises
    ------
    DataError
        Where there is nothing that could be atoms, or the voxels are too coarse or too fine for them.

    Notes
    -----
    1. Maxima over 26 neighbours of the volume, smoothed about as wide as an atom is; a first fit gives the width
       of an atom and the noise. 2. Gaussians are fitted to the volume, smoothed as the noise asks, each with the
       others taken off, in sweeps; what is weak, too narrow or wide, or too close goes; maxima of the residual
       come. 3. A mixture tells atoms from others, and species, by their scores. 4. The atoms are fitted again
       until none moves.

    References
    ----------
    D. Ren et al., arXiv:1807.03886 (2018). Y. Yang et al., Nature 592, 60 (2021),
    doi:10.1038/s41586-021-03354-0.
    """
    tell = progress or (lambda text: None)
    _check(volume, pixel_A, rules.sigma_A)
    tell("maxima")
    place, height, floor = _maxima(volume, pixel_A, rules, MOST_DETECTION * rules.sigma_A)
    tell("width and noise")
    sigma_px, snr = _typical(volume, place, height, rules.sigma_A / pixel_A, threads)
    sigma_A = sigma_px * pixel_A
    _check_size(sigma_px, pixel_A)
    smoothing_px = _smoothing(rules.smoothing_A, sigma_px, snr, pixel_A)
    detection_A = sigma_A * float(np.clip(DETECTION / snr, LEAST_DETECTION, MOST_DETECTION))
    if abs(detection_A / (MOST_DETECTION * rules.sigma_A) - 1) > 0.1:
        place, height, floor = _maxima(volume, pixel_A, rules, detection_A)
    smoothed(volume, smoothing_px, out=volume)
    # smoothing lowers what stands out from the voxels about it
    width_px = float(np.hypot(sigma_px, smoothing_px))
    fit = FitRules(width_px, rules.freedom, threads=threads)
    tell("fits")
    atoms = start_atoms(place, height, width_px)
    found = _cycles(volume, atoms, fit, rules, pixel_A, floor, tell)
    tell("classes")
    return _classified(volume, *found, fit, rules, pixel_A, sigma_A, smoothing_px * pixel_A, snr)


def _check(volume: Array, pixel_A: float, sigma_A: float) -> None:
    """Refuse what cannot show atoms."""
    if float(volume.min()) == float(volume.max()):
        raise DataError(f"every voxel is {volume.flat[0]:g}, so there is nothing to find; is it the right file?")
    _check_size(sigma_A / pixel_A, pixel_A)


def _check_size(sigma_px: float, pixel_A: float) -> None:
    """Refuse voxels in which no atom can be seen."""
    if sigma_px < COARSEST:
        raise DataError(
            f"voxels of {pixel_A:g} Å are too coarse for atoms (0.3 to 0.5 Å is usual); is the pixel size "
            "really in Å?"
        )
    if sigma_px > FINEST:
        raise DataError(
            f"voxels of {pixel_A:g} Å are too fine for atoms (0.3 to 0.5 Å is usual); bin the volume, or is the "
            "pixel size in nm?"
        )


def _maxima(
    volume: Array, pixel_A: float, rules: TraceRules, smoothing_A: float
) -> tuple[Doubles, Doubles, float]:
    """Return places and heights of maxima, and the height they exceed."""
    wide = smoothing_A / pixel_A
    image = smoothed(volume, wide) if rules.detect == "peaks" else difference_of_gaussians(volume, wide)
    below = image[image < 0]
    # noise about zero is seen as what lies below it; where nothing does, only the strongest maxima tell
    noise = float(np.sqrt(np.mean(below.astype(np.float64) ** 2))) if 4 * below.size > image.size else 0.0
    del below
    top = float(np.percentile(image, STRONGEST_PERCENT))
    place, height = find_peaks(image, max(FAINTEST * top, NOISE_FACTOR * noise, 0.0))
    chosen = spaced(place, rules.cleaning.merge_distance_A / pixel_A)
    if not len(chosen):
        raise DataError("no maximum stands out from the noise; is it a reconstruction at atomic resolution?")
    return place[chosen], height[chosen], max(FAINTEST * top, NOISE_FACTOR * noise)


def _typical(
    volume: Array, place: Doubles, height: Doubles, sigma_px: float, threads: int
) -> tuple[float, float]:
    """Return the width of an atom in voxels and the ratio of its height to the noise."""
    rules = FitRules(sigma_px, threads=threads)
    for _ in range(3):
        atoms, residual = fit_atoms(volume, start_atoms(place, height, rules.sigma_px), rules, sweeps=3)
        score = scores(residual, atoms, rules)
        strong = score > 0.5 * np.percentile(score, 95)
        found = float(np.median(sigmas(atoms[strong])))
        settled = abs(found / rules.sigma_px - 1) < 0.05
        rules = FitRules(found, threads=threads)
        if settled:
            break
    about = volume - residual
    near = about > 0.2 * float(np.percentile(heights(atoms), 90))
    noise = float(residual[near].std()) if near.any() else 0.0
    snr = float(np.percentile(score, 90)) / noise if noise > 0 else np.inf
    if snr < LEAST_SNR:
        raise DataError(
            f"maxima are only {snr:.1f} times as high as the noise, so they cannot be told from it; more views, "
            "more dose or a smoother reconstruction may help"
        )
    return rules.sigma_px, snr


def _smoothing(asked_A: float | None, sigma_px: float, snr: float, pixel_A: float) -> float:
    """Return the standard deviation of the smoothing before the fit, in voxels."""
    if asked_A is not None:
        return asked_A / pixel_A
    return sigma_px * float(np.clip((SMOOTHING / snr) ** 2, LEAST_SMOOTHING, MOST_SMOOTHING))


def _cycles(
    volume: Array,
    atoms: Doubles,
    fit: FitRules,
    rules: TraceRules,
    pixel_A: float,
    floor: float,
    tell: Callable[[str], None],
) -> tuple[Doubles, Array, list[Removed]]:
    """Fit, remove and add until nothing changes; return atoms, the residual and what was removed."""
    cleaning, residual = rules.cleaning, None
    lost = {"merged": 0, "weak": 0, "width": 0, "added": 0}
    for cycle in range(CYCLES):
        atoms, residual = fit_atoms(volume, atoms, fit, sweeps=SWEEPS, residual=residual)
        score = scores(residual, atoms, fit)
        strong = score > cleaning.least_intensity * float(np.percentile(score, 95))
        width = sigmas(atoms) / fit.sigma_px
        fits = (width > cleaning.widths[0]) & (width < cleaning.widths[1])
        lost["weak"] += int((~strong).sum())
        lost["width"] += int((strong & ~fits).sum())
        atoms, score = atoms[strong & fits], score[strong & fits]
        atoms, n_merged = merge_close(atoms, score, cleaning.merge_distance_A / pixel_A)
        lost["merged"] += n_merged
        new = np.empty((0, atoms.shape[1]))
        if cycle < CYCLES // 2:
            residual = fit_residual(volume, atoms, residual, fit)
            new = _more(residual, atoms, fit, rules, pixel_A, floor)
        lost["added"] += len(new)
        tell(f"cycle {cycle + 1}: {len(atoms)} and {len(new)} more")
        changed = n_merged + len(new) + int((~(strong & fits)).sum())
        atoms = np.concatenate([atoms, new])
        if changed <= len(atoms) // 1000:
            break
    words = {
        "merged": f"closer than {cleaning.merge_distance_A:g} Å, merged",
        "weak": f"weaker than {cleaning.least_intensity:.0%} of strong ones",
        "width": f"narrower than {cleaning.widths[0]:g} or wider than {cleaning.widths[1]:g} of the usual width",
    }
    atoms, residual = fit_atoms(volume, atoms, fit, sweeps=SWEEPS, residual=residual)
    return atoms, residual, [Removed(text, lost[name]) for name, text in words.items()]


def fit_residual(volume: Array, atoms: Doubles, residual: Array, fit: FitRules) -> Array:
    """Return the volume less all atoms, in the memory of an old residual."""
    from etcli.core.atoms.gaussian_fit import residual_of

    return residual_of(volume, atoms, out=residual, threads=fit.threads)


def _more(
    residual: Array, atoms: Doubles, fit: FitRules, rules: TraceRules, pixel_A: float, floor: float
) -> Doubles:
    """Return atoms for maxima of the residual that its noise hardly makes."""
    image = smoothed(residual, MOST_DETECTION * fit.sigma_px)
    spread = float(np.sqrt(np.mean(image[image != 0].astype(np.float64) ** 2))) if image.any() else 0.0
    place, height = find_peaks(image, max(floor, RESIDUAL_FACTOR * spread))
    chosen = spaced(place, rules.cleaning.min_distance_A / pixel_A, taken=places(atoms))
    return start_atoms(place[chosen], height[chosen], fit.sigma_px)


def _classified(
    volume: Array,
    atoms: Doubles,
    residual: Array,
    removed: list[Removed],
    fit: FitRules,
    rules: TraceRules,
    pixel_A: float,
    sigma_A: float,
    smoothing_A: float,
    snr: float,
) -> Trace:
    """Tell atoms from others, and fit them once more."""
    cleaning = rules.cleaning
    candidates = scores(residual, atoms, fit)
    least = cleaning.least_intensity * float(np.percentile(candidates, 95))
    mixture = fit_mixture(candidates[candidates > least], threshold=least, n_species=rules.n_species)
    cut = _cut(candidates, mixture, rules)
    chosen = candidates >= cut
    removed = [*removed, Removed(f"no atoms by their score (below {cut:.4g})", int((~chosen).sum()))]
    atoms, score = atoms[chosen], candidates[chosen]
    stay = without_close(places(atoms), score, cleaning.min_distance_A / pixel_A)
    removed.append(Removed(f"closer than {cleaning.min_distance_A:g} Å to a stronger one", int((~stay).sum())))
    atoms, residual = fit_atoms(volume, atoms[stay], fit, sweeps=CYCLES, residual=residual)
    score = scores(residual, atoms, fit)
    probability = mixture.probabilities(np.maximum(score, mixture.threshold))
    kind = probability[:, 1:].argmax(axis=1)
    stay = with_neighbours(places(atoms) * pixel_A, cleaning.least_neighbours)
    removed.append(
        Removed(f"fewer than {cleaning.least_neighbours} neighbours within 6 Å", int((~stay).sum()))
    )
    strong = strong_locally(places(atoms) * pixel_A, integrals(atoms), kind, cleaning.local_intensity)
    removed.append(
        Removed(
            f"weaker than {cleaning.local_intensity:.0%} of those of their species within 10 Å",
            int((stay & ~strong).sum()),
        )
    )
    stay &= strong
    if not stay.all():
        atoms, score, kind, probability = atoms[stay], score[stay], kind[stay], probability[stay]
        atoms, residual = fit_atoms(volume, atoms, fit, sweeps=SWEEPS, residual=residual)
    certain = probability[np.arange(len(kind)), 1 + kind] if len(kind) else np.empty(0)
    return Trace(
        atoms, score, kind, certain, removed, candidates, mixture, cut, sigma_A, smoothing_A, snr, fit, volume,
        residual,
    )  # fmt: skip


def _cut(score: Doubles, mixture: Mixture, rules: TraceRules) -> float:
    """Return the score from which on maxima are atoms."""
    if rules.threshold is not None:
        return rules.threshold
    if rules.expected is not None:
        if rules.expected > len(score):
            raise DataError(f"only {len(score)} maxima, fewer than the {rules.expected} atoms expected")
        return float(np.sort(score)[-rules.expected])
    ascending = np.sort(score)
    none = mixture.probabilities(ascending)[:, 0] >= 0.5
    return float(ascending[none.sum()]) if not none.all() else float(np.inf)
