"""From a volume to atoms: maxima, Gaussians, and which of them are atoms."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.candidates import (
    MOST_DETECTION,
    check_voxels,
    detection_for,
    find_candidates,
    smoothing_for,
    usual_width,
)
from etcli.core.atoms.cleaning import (
    AtomCriteria,
    RemovedCounts,
    merge_close,
    strong_locally,
    with_neighbours,
    without_close,
)
from etcli.core.atoms.gaussian_fit import (
    FitRules,
    Freedom,
    fit_atoms,
    integrals,
    places,
    rest_of,
    scores,
    sigmas,
    start_atoms,
)
from etcli.core.atoms.mixture import Mixture, fit_mixture
from etcli.core.atoms.peaks import find_peaks, root_mean_square, smoothed, spaced
from etcli.core.errors import DataError

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

DIFFUSE_A, UNRESOLVED = 1.5, 6.0
"""Where atoms are less than so many times as high as the noise, part of the density is not resolved into
atoms, and what varies over such distances (a standard deviation) is taken off."""
SIGMA_A = 0.5
"""Width of an atom in a reconstruction at atomic resolution, to begin with."""
DOUBT = 0.3
"""Largest probability that an atom is none: missing ones are found by a refinement."""
RESIDUAL_FACTOR = 8.0
"""Standard deviations of the residual that a maximum of it has to exceed."""
APART = 1.5
"""Distance of the means of species that were not asked for, in the sum of their standard deviations."""
MARGIN_PX = 0.5
NEARER = 0.95
"""Of the least distance: what errors of positions may take off it."""
CYCLES, SWEEPS = 12, 4
MOST_SPREAD = 1 / 3
"""Of the scores of atoms of one species: 0.03 to 0.26 in published series, 0.37 or more for noise."""
UNSETTLED = 1e-3
"""Share of atoms that may still come or go when the cycles end."""
OTHER_WIDTH = 0.1
"""Relative difference of the smoothing from the first one at which maxima are looked for again."""


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
        Species to tell apart; None for as many as the scores show.
    threshold : float, optional
        Least score of an atom, in the units of the volume; by default from the mixture.
    expected : int, optional
        Number of atoms: those of the highest scores.
    cleaning : AtomCriteria
    """

    sigma_A: float = SIGMA_A
    smoothing_A: float | None = None
    detect: str = "peaks"
    freedom: Freedom = "isotropic"
    n_species: int | None = 1
    threshold: float | None = None
    expected: int | None = None
    cleaning: AtomCriteria = field(default_factory=AtomCriteria)


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
    removed : list of RemovedCounts
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
    removed: list[RemovedCounts]
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
        Where nothing could be atoms, fewer than expected, or the voxels are too coarse or too fine for them.

    Notes
    -----
    1. Maxima over 26 neighbours of the volume, smoothed about as wide as an atom is; a first fit gives the
       width of an atom and the noise.
    2. Gaussians are fitted to the volume, smoothed as the noise asks, each with the others taken off, in
       sweeps; what is weak, too narrow or wide, or too close goes; maxima of the residual come.
    3. A mixture tells atoms from others, and species, by their scores.
    4. The atoms are fitted again until none moves.

    References
    ----------
    D. Ren et al., Ultramicroscopy 208, 112860 (2020), doi:10.1016/j.ultramic.2019.112860.
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0.
    """
    tell = progress or (lambda text: None)
    lowest = float(volume.min())
    if lowest == float(volume.max()):
        raise DataError(f"every voxel is {lowest:g}, so there is nothing to find; is it the right file?")
    sigma_px, apart_px = rules.sigma_A / pixel_A, rules.cleaning.merge_distance_A / pixel_A
    check_voxels(sigma_px, pixel_A)
    tell("maxima")
    wide_px = MOST_DETECTION * sigma_px
    found = find_candidates(volume, wide_px, detect=rules.detect, apart_px=apart_px, threads=threads)
    tell("width and noise")
    usual_px, snr = usual_width(volume, found, sigma_px, threads=threads)
    better_px = detection_for(usual_px, snr)
    if abs(better_px / wide_px - 1) > OTHER_WIDTH:
        found = find_candidates(volume, better_px, detect=rules.detect, apart_px=apart_px, threads=threads)
    asked_A = rules.smoothing_A
    smoothing_px = smoothing_for(usual_px, snr) if asked_A is None else asked_A / pixel_A
    smoothed(volume, smoothing_px, out=volume, threads=threads)
    # what is fitted is wider by the smoothing
    width_px = float(np.hypot(usual_px, smoothing_px))
    diffuse_px = DIFFUSE_A / pixel_A if snr < UNRESOLVED else 0.0
    fit = FitRules(width_px, rules.freedom, diffuse_px=diffuse_px, threads=threads)
    search = _Search(volume, pixel_A, rules, fit, found.floor)
    tell("fits")
    atoms, residual = search.cycles(start_atoms(found.place, found.height, fit.sigma_px), tell)
    tell("classes")
    return Trace(
        **search.classified(atoms, residual),
        removed=search.removed,
        sigma_A=usual_px * pixel_A,
        smoothing_A=smoothing_px * pixel_A,
        snr=snr,
        rules=fit,
        volume=volume,
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """A volume ready to be fitted, how that is done, and what was removed so far.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Smoothed.
    pixel_A : float
    rules : TraceRules
    fit : FitRules
    floor : float
        What maxima exceed.
    removed : list of RemovedCounts
    """

    volume: Array
    pixel_A: float
    rules: TraceRules
    fit: FitRules
    floor: float
    removed: list[RemovedCounts] = field(default_factory=list)

    def cycles(self, atoms: Doubles, tell: Callable[[str], None]) -> tuple[Doubles, Array]:
        """Fit, remove and add until hardly anything changes; return atoms and the residual."""
        cleaning, residual = self.rules.cleaning, None
        lost = np.zeros(3, int)
        for cycle in range(CYCLES):
            atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)
            score = scores(residual, atoms, self.fit)
            strong = score > cleaning.least_intensity * float(np.percentile(score, 95))
            width = sigmas(atoms) / self.fit.sigma_px
            good = strong & (width > cleaning.widths[0]) & (width < cleaning.widths[1]) & self._inside(atoms)
            atoms, n_merged = merge_close(atoms[good], score[good], cleaning.merge_distance_A / self.pixel_A)
            self._some(atoms)
            n_gone = np.array([n_merged, np.count_nonzero(~strong), np.count_nonzero(strong & ~good)])
            lost += n_gone
            new = atoms[:0]
            if cycle < CYCLES // 2:
                rest_of(self.volume, atoms, self.fit, out=residual)
                new = self._more(residual, atoms)
            tell(f"cycle {cycle + 1}: {len(atoms)} and {len(new)} more")
            atoms = np.concatenate([atoms, new])
            if n_gone.sum() + len(new) <= UNSETTLED * len(atoms):
                break
        narrow, wide = cleaning.widths
        self._note(f"closer than {cleaning.merge_distance_A:g} Å, merged", lost[0])
        self._note(f"weaker than {cleaning.least_intensity:.0%} of strong ones", lost[1])
        self._note(f"narrower than {narrow:g} or wider than {wide:g} of the usual width, or outside", lost[2])
        return fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)

    def _inside(self, atoms: Doubles) -> NDArray[np.bool_]:
        """Tell which atoms lie in the volume: of others too little is seen."""
        beyond = np.maximum(-places(atoms), places(atoms) - np.array(self.volume.shape[::-1]) + 1)
        return np.asarray((beyond <= MARGIN_PX).all(axis=1))

    def _more(self, residual: Array, atoms: Doubles) -> Doubles:
        """Return atoms for maxima of the residual that its noise hardly makes."""
        image = smoothed(residual, MOST_DETECTION * self.fit.sigma_px, threads=self.fit.threads)
        place, height = find_peaks(image, max(self.floor, RESIDUAL_FACTOR * root_mean_square(image)))
        chosen = spaced(place, self.rules.cleaning.merge_distance_A / self.pixel_A, taken=places(atoms))
        return start_atoms(place[chosen], height[chosen], self.fit.sigma_px)

    def classified(self, atoms: Doubles, residual: Array) -> dict[str, Any]:
        """Tell atoms from others, and fit them once more; return these parts of a `Trace`."""
        cleaning = self.rules.cleaning
        candidates = scores(residual, atoms, self.fit)
        least = cleaning.least_intensity * float(np.percentile(candidates, 95))
        mixture = fit_mixture(candidates[candidates > least], threshold=least, n_species=self.rules.n_species)
        apart = without_close(places(atoms), candidates, NEARER * cleaning.min_distance_A / self.pixel_A)
        cut = _cut(candidates, apart, mixture, self.rules)
        chosen = candidates >= cut
        self._note(f"no atoms by their score (below {cut:.4g})", np.count_nonzero(~chosen))
        self._note(
            f"closer than {cleaning.min_distance_A:g} Å to a stronger one", np.count_nonzero(chosen & ~apart)
        )
        atoms = self._some(atoms[chosen & apart])
        atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=CYCLES, residual=residual)
        score = scores(residual, atoms, self.fit)
        probability = mixture.probabilities(np.maximum(score, mixture.threshold))
        kind = probability[:, 1:].argmax(axis=1)
        stay = self._in_company(atoms, kind)
        if not stay.all():
            atoms, score, kind, probability = (values[stay] for values in (atoms, score, kind, probability))
            self._some(atoms)
            atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)
        self._check_alike(mixture, candidates[chosen])
        return {
            "fitted": atoms,
            "score": score,
            "kind": kind,
            "probability": probability[np.arange(len(kind)), 1 + kind],
            "candidates": candidates,
            "mixture": mixture,
            "cut": cut,
            "residual": residual,
        }

    def _check_alike(self, mixture: Mixture, score: Doubles) -> None:
        """Refuse maxima of all heights, where nobody says how many atoms or species there are."""
        rules = self.rules
        spread = float((mixture.deviation / mixture.mean)[-1])
        if rules.n_species is None and len(mixture.mean) > 1:
            gap = np.diff(mixture.mean) / (mixture.deviation[1:] + mixture.deviation[:-1])
            # classes that run into each other are parts of one
            spread = spread if gap.min() > APART else float(score.std() / score.mean())
        asked = rules.threshold is not None or rules.expected is not None or (rules.n_species or 1) > 1
        if spread > MOST_SPREAD and not asked:
            raise DataError(
                f"maxima are of all heights (their standard deviation is {spread:.0%} of the mean), as "
                "those of noise are; if they are atoms, give their number, the least score, or all species"
            )

    def _in_company(self, atoms: Doubles, kind: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which atoms are such as those about them make likely."""
        cleaning, position_A = self.rules.cleaning, places(atoms) * self.pixel_A
        least, share = cleaning.least_neighbours, cleaning.local_intensity
        near = with_neighbours(position_A, least)
        strong = strong_locally(position_A, integrals(atoms), kind, share)
        self._note(f"fewer than {least} neighbours within 6 Å", np.count_nonzero(~near))
        self._note(
            f"weaker than {share:.0%} of those of their species within 10 Å", np.count_nonzero(near & ~strong)
        )
        return near & strong

    def _note(self, rule: str, count: np.integer[Any]) -> None:
        """Keep what a rule took away."""
        self.removed.append(RemovedCounts(rule, int(count)))

    def _some(self, atoms: Doubles) -> Doubles:
        """Return the atoms, of which there must be one."""
        if not len(atoms):
            raise DataError(
                "none of the maxima is an atom by the rules for its intensity, width and neighbours; is it a "
                "reconstruction at atomic resolution?"
            )
        return atoms


def _cut(score: Doubles, apart: NDArray[np.bool_], mixture: Mixture, rules: TraceRules) -> float:
    """Return the score from which on maxima are atoms, where they are as far apart as atoms are."""
    if rules.threshold is not None:
        return rules.threshold
    if rules.expected is not None:
        if rules.expected > np.count_nonzero(apart):
            raise DataError(
                f"only {np.count_nonzero(apart)} maxima, fewer than the {rules.expected} atoms expected"
            )
        return float(np.sort(score[apart])[-rules.expected])
    ascending = np.sort(score)
    n_none = int((mixture.probabilities(ascending)[:, 0] > DOUBT).sum())
    if n_none in (0, len(score)):
        return float(ascending[0]) if not n_none else float(np.inf)
    return float(ascending[n_none - 1 : n_none + 1].mean())
