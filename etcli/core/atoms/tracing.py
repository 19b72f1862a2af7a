"""Atom tracing: find maxima in a volume, fit Gaussians to them, and classify them as atoms or not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.candidates import (
    LEAST_WIDTH_PX,
    MOST_DETECTION,
    check_voxels,
    detection_for,
    find_candidates,
    smoothing_for,
    typical_width,
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
    residual_without_diffuse,
    scores,
    sigmas,
    start_atoms,
)
from etcli.core.atoms.mixture import Mixture
from etcli.core.atoms.peaks import find_peaks, root_mean_square, smoothed, spaced
from etcli.core.atoms.score_mixture import check_not_noise, least_score, specimen_mixture
from etcli.core.errors import DataError

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

DIFFUSE_A, UNRESOLVED = 1.5, 6.0
"""If the height of atoms over the noise is below UNRESOLVED, part of the density is not resolved into atoms;
density that varies over more than DIFFUSE_A (a standard deviation) is then subtracted as diffuse."""
SIGMA_A = 0.5
"""Initial width of an atom, for a reconstruction at atomic resolution."""
RESIDUAL_FACTOR, NARROW_RESIDUAL_FACTOR = 8.0, 4.0
"""Threshold of maxima in the residual, in its standard deviations; lower for atoms narrower than
LEAST_WIDTH_PX, between which hardly any density is unresolved."""
DOUBT, NARROW_DOUBT = 0.3, 0.4
"""Largest probability that an accepted maximum is not an atom, the second for narrow ones. Less suits
densities from projections, as a refinement against these finds missing atoms."""
MARGIN_PX = 0.5
NEARER = 0.95
"""Factor of the smallest distance between atoms, to allow for errors of positions."""
CYCLES, SWEEPS = 12, 4
UNSETTLED = 1e-3
"""Share of atoms that may still be added or removed when the cycles end."""
OTHER_WIDTH = 0.1
"""Relative change of the smoothing width for which the search for maxima is repeated."""


@dataclass(frozen=True)
class TraceRules:
    """Parameters of atom tracing.

    Parameters
    ----------
    sigma_A : float
        Initial standard deviation of an atom in the volume; the actual one is then measured.
    smoothing_A : float, optional
        Standard deviation of the smoothing before the fit; by default from the noise.
    detect : {"peaks", "dog"}
        Maxima of the smoothed volume, or of a difference of Gaussians.
    freedom : {"shared", "isotropic", "elliptical"}, optional
        As for `FitRules`; by default "isotropic", or "shared" for atoms narrower than 0.9 voxels.
    n_species : int, optional
        Number of species to distinguish; None for as many as the scores show.
    threshold : float, optional
        Smallest score of an atom, in the units of the volume; by default from the mixture.
    expected : int, optional
        Number of atoms: those with the highest scores are taken.
    cleaning : AtomCriteria
    """

    sigma_A: float = SIGMA_A
    smoothing_A: float | None = None
    detect: str = "peaks"
    freedom: Freedom | None = None
    n_species: int | None = 1
    threshold: float | None = None
    expected: int | None = None
    cleaning: AtomCriteria = field(default_factory=AtomCriteria)


@dataclass(frozen=True, eq=False)
class Trace:
    """Atoms traced in a volume, with the data of the search.

    Parameters
    ----------
    fitted : ndarray of shape (n_atoms, 10), float64
        Gaussians in the smoothed volume, in voxels; see `etcli.core.atoms._gaussians`.
    score : ndarray of shape (n_atoms,), float64
        Height of the Gaussian of typical width that fits best.
    kind : ndarray of shape (n_atoms,), int
        Number of the species, the lightest 0.
    probability : ndarray of shape (n_atoms,), float64
        Probability that it is an atom of that species.
    removed : list of RemovedCounts
        Number of maxima that each rule removed.
    candidates : ndarray of shape (n,), float64
        Scores of the maxima in the specimen, to which the mixture was fitted.
    mixture : Mixture
        Distribution of their scores.
    separated : bool
        Whether the distribution has a minimum between atoms and other maxima.
    cut : float
        Smallest score of atoms.
    sigma_A, smoothing_A, snr : float
        Width of a typical atom in the volume; smoothing before the fit; height over the noise.
    rules : FitRules
        Rules of the last fit.
    volume, residual : ndarray of shape (nz, ny, nx), float32
        Smoothed volume, and the same after subtraction of all atoms.
    """

    fitted: Doubles
    score: Doubles
    kind: NDArray[np.intp]
    probability: Doubles
    removed: list[RemovedCounts]
    candidates: Doubles
    mixture: Mixture
    separated: bool
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
        Number of threads; the result does not depend on it.
    progress : callable, optional
        Called with the name of each stage when it begins.

    Returns
    -------
    Trace

    Raises
    ------
    DataError
        When there are no atoms, fewer than expected, or the voxels are too coarse or too fine for atoms.

    Notes
    -----
    1. Maxima over 26 neighbours are searched in the volume, smoothed to about the width of an atom; a first
       fit gives the width of an atom and the noise.
    2. The volume is smoothed according to the noise. Gaussians are fitted to it in sweeps, each after the
       others are subtracted. Those that are weak, too narrow or wide, or too close are removed, and maxima of
       the residual are added.
    3. A mixture model of the scores separates atoms from other maxima, and the species from each other.
    4. The atoms are fitted again until none moves.

    References
    ----------
    D. Ren et al., Ultramicroscopy 208, 112860 (2020), doi:10.1016/j.ultramic.2019.112860.
    Y. Yang et al., Nature 592, 60 (2021), doi:10.1038/s41586-021-03354-0.
    """
    report = progress or (lambda text: None)
    lowest = float(volume.min())
    if lowest == float(volume.max()):
        raise DataError(f"every voxel is {lowest:g}, so there is nothing to find; is it the right file?")
    sigma_px, apart_px = rules.sigma_A / pixel_A, rules.cleaning.merge_distance_A / pixel_A
    check_voxels(sigma_px, pixel_A)
    report("maxima")
    detection_px = MOST_DETECTION * sigma_px
    candidates = find_candidates(
        volume, detection_px, detect=rules.detect, apart_px=apart_px, threads=threads
    )
    report("width and noise")
    typical_px, snr = typical_width(volume, candidates, sigma_px, threads=threads)
    new_detection_px = detection_for(typical_px, snr)
    if abs(new_detection_px / detection_px - 1) > OTHER_WIDTH:
        candidates = find_candidates(
            volume, new_detection_px, detect=rules.detect, apart_px=apart_px, threads=threads
        )
    requested_A = rules.smoothing_A
    smoothing_px = smoothing_for(typical_px, snr) if requested_A is None else requested_A / pixel_A
    smoothed(volume, smoothing_px, out=volume, threads=threads)
    # the smoothing makes the fitted atoms wider
    width_px = float(np.hypot(typical_px, smoothing_px))
    diffuse_px = DIFFUSE_A / pixel_A if snr < UNRESOLVED else 0.0
    # too few voxels lie within the radius of a fit to determine the width of a narrow atom
    is_narrow = typical_px < LEAST_WIDTH_PX
    freedom = rules.freedom or ("shared" if is_narrow else "isotropic")
    fit = FitRules(width_px, freedom, diffuse_px=diffuse_px, threads=threads)
    limits = (NARROW_RESIDUAL_FACTOR, NARROW_DOUBT) if is_narrow else (RESIDUAL_FACTOR, DOUBT)
    search = _Search(volume, pixel_A, rules, fit, candidates.floor, *limits)
    report("fits")
    atoms, residual = search.cycles(start_atoms(candidates.place, candidates.height, fit.sigma_px), report)
    report("classes")
    return Trace(
        **search.classified(atoms, residual),
        removed=search.removed,
        sigma_A=typical_px * pixel_A,
        smoothing_A=smoothing_px * pixel_A,
        snr=snr,
        rules=fit,
        volume=volume,
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """Search for atoms in a smoothed volume: fits, removal and addition of atoms, classification.

    Parameters
    ----------
    volume : ndarray of shape (nz, ny, nx), float32
        Smoothed.
    pixel_A : float
    rules : TraceRules
    fit : FitRules
    floor : float
        Threshold of maxima.
    residual_factor : float
        Threshold of maxima in the residual, in its standard deviations.
    doubt : float
        Largest probability that an accepted maximum is not an atom.
    removed : list of RemovedCounts
        Number of maxima that each rule has removed so far.
    """

    volume: Array
    pixel_A: float
    rules: TraceRules
    fit: FitRules
    floor: float
    residual_factor: float
    doubt: float
    removed: list[RemovedCounts] = field(default_factory=list)

    def cycles(self, atoms: Doubles, report: Callable[[str], None]) -> tuple[Doubles, Array]:
        """Fit, remove and add atoms until their number hardly changes; return the atoms and the residual."""
        cleaning, residual = self.rules.cleaning, None
        n_removed = np.zeros(3, int)
        for cycle in range(CYCLES):
            atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)
            score = scores(residual, atoms, self.fit)
            strong = score > cleaning.least_intensity * float(np.percentile(score, 95))
            width = sigmas(atoms) / self.fit.sigma_px
            good = strong & (width > cleaning.widths[0]) & (width < cleaning.widths[1]) & self._inside(atoms)
            atoms, n_merged = merge_close(atoms[good], score[good], cleaning.merge_distance_A / self.pixel_A)
            self._require_atoms(atoms)
            n_removed_now = np.array([n_merged, np.count_nonzero(~strong), np.count_nonzero(strong & ~good)])
            n_removed += n_removed_now
            new = atoms[:0]
            if cycle < CYCLES // 2:
                residual_without_diffuse(self.volume, atoms, self.fit, out=residual)
                new = self._atoms_from_residual(residual, atoms)
            report(f"cycle {cycle + 1}: {len(atoms)} and {len(new)} more")
            atoms = np.concatenate([atoms, new])
            if n_removed_now.sum() + len(new) <= UNSETTLED * len(atoms):
                break
        narrow, wide = cleaning.widths
        self._record(f"closer than {cleaning.merge_distance_A:g} Å, merged", n_removed[0])
        self._record(f"weaker than {cleaning.least_intensity:.0%} of strong ones", n_removed[1])
        width_rule = f"narrower than {narrow:g} or wider than {wide:g} of the usual width, or outside"
        self._record(width_rule, n_removed[2])
        return fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)

    def _inside(self, atoms: Doubles) -> NDArray[np.bool_]:
        """Mark the atoms inside the volume; too little of the others is visible."""
        outside_px = np.maximum(-places(atoms), places(atoms) - np.array(self.volume.shape[::-1]) + 1)
        return np.asarray((outside_px <= MARGIN_PX).all(axis=1))

    def _atoms_from_residual(self, residual: Array, atoms: Doubles) -> Doubles:
        """Return new atoms at maxima of the residual that clearly exceed its noise."""
        image = smoothed(residual, MOST_DETECTION * self.fit.sigma_px, threads=self.fit.threads)
        place, height = find_peaks(image, max(self.floor, self.residual_factor * root_mean_square(image)))
        chosen = spaced(place, self.rules.cleaning.merge_distance_A / self.pixel_A, taken=places(atoms))
        return start_atoms(place[chosen], height[chosen], self.fit.sigma_px)

    def classified(self, atoms: Doubles, residual: Array) -> dict[str, Any]:
        """Separate atoms from other maxima and fit them once more; return these fields of a `Trace`."""
        cleaning = self.rules.cleaning
        candidates = scores(residual, atoms, self.fit)
        apart = without_close(places(atoms), candidates, NEARER * cleaning.min_distance_A / self.pixel_A)
        found = specimen_mixture(
            places(atoms),
            candidates,
            apart,
            min_distance=cleaning.min_distance_A / self.pixel_A,
            least_intensity=cleaning.least_intensity,
            n_species=self.rules.n_species,
            doubt=self.doubt,
        )
        rules = self.rules
        is_automatic = rules.threshold is None and rules.expected is None
        if is_automatic and (rules.n_species or 1) == 1:
            check_not_noise(found, candidates, None if self.fit.freedom == "shared" else sigmas(atoms))
        mixture = found.mixture
        cut = self._score_threshold(candidates, apart, mixture)
        chosen = candidates >= cut
        if is_automatic:
            chosen &= found.specimen
        self._record(f"no atoms by their score (below {cut:.4g})", np.count_nonzero(~chosen))
        close_rule = f"closer than {cleaning.min_distance_A:.3g} Å to a stronger one"
        self._record(close_rule, np.count_nonzero(chosen & ~apart))
        atoms = self._require_atoms(atoms[chosen & apart])
        atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=CYCLES, residual=residual)
        score = scores(residual, atoms, self.fit)
        probability = mixture.probabilities(np.maximum(score, mixture.threshold))
        kind = probability[:, 1:].argmax(axis=1)
        kept = self._typical_of_surroundings(atoms, kind)
        if not kept.all():
            atoms, score, kind, probability = (values[kept] for values in (atoms, score, kind, probability))
            self._require_atoms(atoms)
            atoms, residual = fit_atoms(self.volume, atoms, self.fit, sweeps=SWEEPS, residual=residual)
        return {
            "fitted": atoms,
            "score": score,
            "kind": kind,
            "probability": probability[np.arange(len(kind)), 1 + kind],
            "candidates": candidates[found.inside],
            "separated": found.separated,
            "mixture": mixture,
            "cut": cut,
            "residual": residual,
        }

    def _typical_of_surroundings(self, atoms: Doubles, kind: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Mark the atoms that have enough neighbours and are not much weaker than those of their species."""
        cleaning, position_A = self.rules.cleaning, places(atoms) * self.pixel_A
        least, share = cleaning.least_neighbours, cleaning.local_intensity
        near = with_neighbours(position_A, least)
        strong = strong_locally(position_A, integrals(atoms), kind, share)
        self._record(f"fewer than {least} neighbours within 6 Å", np.count_nonzero(~near))
        self._record(
            f"weaker than {share:.0%} of those of their species within 10 Å", np.count_nonzero(near & ~strong)
        )
        return near & strong

    def _record(self, rule: str, count: np.integer[Any]) -> None:
        """Record how many maxima a rule removed."""
        self.removed.append(RemovedCounts(rule, int(count)))

    def _require_atoms(self, atoms: Doubles) -> Doubles:
        """Return the atoms; raise DataError if there are none."""
        if not len(atoms):
            raise DataError(
                "none of the maxima is an atom by the rules for its intensity, width and neighbours; is it a "
                "reconstruction at atomic resolution?"
            )
        return atoms

    def _score_threshold(self, score: Doubles, apart: NDArray[np.bool_], mixture: Mixture) -> float:
        """Return the smallest score of maxima that are atoms, if they are far enough apart."""
        if self.rules.threshold is not None:
            return self.rules.threshold
        if self.rules.expected is not None:
            if self.rules.expected > (n_apart := np.count_nonzero(apart)):
                raise DataError(f"only {n_apart} maxima, fewer than the {self.rules.expected} atoms expected")
            return float(np.sort(score[apart])[-self.rules.expected])
        return least_score(score, mixture, self.doubt)
