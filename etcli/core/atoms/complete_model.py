"""Refinement of a model against views together with what is in it: atoms added and removed, and species."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from etcli.core.atoms.cleaning import RemovedCounts, without_close
from etcli.core.atoms.deconvolution import deconvolved_atoms
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, with_diffuse
from etcli.core.atoms.missing import missing_atoms
from etcli.core.atoms.refine_model import AMPLITUDE_SPREAD, RefinedModel, refine_model
from etcli.core.atoms.refined_species import AmplitudeClasses, amplitude_classes
from etcli.core.atoms.tracing import NEARER

Doubles = NDArray[np.float64]

SETTLING, ROUNDS = 3, 16
"""Rounds of refinement before atoms are removed and added, and in all."""
FEW = 1e-3
"""Share of an alloy's atoms that may remain of those that a search has found, if it is to be the last one."""


@dataclass(frozen=True, eq=False)
class CompletedModel:
    """Refined model with the atoms and species that the views show.

    Parameters
    ----------
    refined : RefinedModel
    classes : AmplitudeClasses
        From the amplitudes.
    origin : ndarray of shape (n_atoms,), int
        Index of each atom in the initial model, -1 for added atoms.
    home_A : ndarray of shape (n_atoms, 3), float64
        Positions to which the restraint keeps the atoms: of the initial model, or where they were added.
    removed : list of RemovedCounts
        Number of initial atoms that each rule removed.
    """

    refined: RefinedModel
    classes: AmplitudeClasses
    origin: NDArray[np.intp]
    home_A: Doubles
    removed: list[RemovedCounts]

    @property
    def n_added(self) -> int:
        """Number of atoms that the initial model lacked."""
        return int(np.count_nonzero(self.origin < 0))


@dataclass(frozen=True, eq=False)
class _Atoms:
    """Atoms in the course of a refinement: model, place where each was found, index in the trace, species."""

    model: GaussianModel
    home_A: Doubles
    origin: NDArray[np.intp]
    kind: NDArray[np.intp]

    def select(self, chosen: NDArray[np.bool_]) -> "_Atoms":
        return _Atoms(self.model.select(chosen), self.home_A[chosen], self.origin[chosen], self.kind[chosen])

    def add(self, position_A: Doubles, amplitude: Doubles) -> "_Atoms":
        n = len(position_A)
        model = replace(
            self.model,
            position_A=np.concatenate([self.model.position_A, position_A]),
            amplitude=np.concatenate([self.model.amplitude, amplitude]),
            kind=np.concatenate([self.model.kind, np.zeros(n, np.intp)]),
        )
        home_A = np.concatenate([self.home_A, position_A])
        unknown = np.full(n, -1)
        origin, kind = (np.concatenate([known, unknown]) for known in (self.origin, self.kind))
        return _Atoms(model, home_A, origin, kind)


def complete_model(
    model: GaussianModel,
    views: AtomViews,
    *,
    restraint_A: float,
    low_A: Doubles,
    high_A: Doubles,
    min_distance_A: float,
    keep_all: bool = False,
) -> CompletedModel:
    """Refine a model, remove the atoms that the views do not show, add those that it lacks, and find species.

    Parameters
    ----------
    model : GaussianModel
        Initial model.
    views : AtomViews
    restraint_A : float
        As for `etcli.core.atoms.refine_model.refine_model`.
    low_A, high_A : ndarray of shape (3,), float64
        Corners of the box in which missing atoms are searched, from the rotation centre.
    min_distance_A : float
        Smallest distance between atoms.
    keep_all : bool
        Whether to refine the atoms as they are, without removing or adding any.

    Returns
    -------
    CompletedModel

    Raises
    ------
    DataError
        When the views show none of the atoms.

    Notes
    -----
    Species of the initial model may be wrong. A width of each would then depend on them, and the amplitudes
    on the width, so that atoms would not be freed from a wrong species; so would restraints of amplitudes to
    the mean of a species. Therefore atoms have one width and, if there are several species, no restraint of
    amplitudes. From the third round on, these divide atoms into noise and species; noise and the weaker of
    two close atoms are removed, and missing atoms, which their false neighbours may have hidden, are added,
    as long as there are any. With several species they are searched in a deconvolved density, because light
    atoms between heavy ones are missing in great numbers; that also has maxima of noise, so that the search
    ends when hardly any of those found remains in the next round.
    """
    n_species = len(model.sigma_A)

    def search(known: GaussianModel, seen: AtomViews, is_first: bool) -> tuple[Doubles, Doubles]:
        if n_species == 1:
            return missing_atoms(known, seen, low_A=low_A, high_A=high_A, clearance_A=min_distance_A)
        return deconvolved_atoms(
            known,
            seen,
            low_A=low_A,
            high_A=high_A,
            clearance_A=min_distance_A,
            nearly_complete=not is_first,
        )

    atoms = _Atoms(of_one_width(model), model.position_A, np.arange(len(model)), model.kind)
    n_removed, noise, kept = np.zeros(2, int), np.empty(0), np.ones(len(model), bool)
    rejected_A, n_kept = np.empty((0, 3)), len(model)
    n_new, settled = 0, False
    for n in range(1, ROUNDS + 1):
        refined, classes = _round(atoms, views, restraint_A, n_species, noise)
        atoms = replace(atoms, model=refined.model, kind=classes.kind)
        if n < SETTLING:
            continue
        if keep_all:
            break
        strong = classes.are_atoms
        apart = without_close(atoms.model.position_A, atoms.model.amplitude, NEARER * min_distance_A)
        traced, kept = atoms.origin >= 0, strong & apart
        n_removed += [np.count_nonzero(traced & ~strong), np.count_nonzero(traced & strong & ~apart)]
        noise = np.concatenate([noise, atoms.model.amplitude[~strong]])
        if n_species == 1:
            # those of an alloy are tried again, as noise close to a missing atom would hide it for good
            rejected_A = np.concatenate([rejected_A, atoms.home_A[~traced & ~kept]])
        atoms, n_kept = atoms.select(kept), int(kept.sum())
        if n > SETTLING + 1 and n_species > 1:
            # the first search is another than those after it
            settled = settled or int(np.count_nonzero(kept[len(kept) - n_new :])) <= FEW * n_kept
        if n < ROUNDS and not settled:
            place_A, amplitude = search(atoms.model, with_diffuse(views, atoms.model), n == SETTLING)
            new = cKDTree(rejected_A).query(place_A)[0] > min_distance_A / 2
            atoms = atoms.add(place_A[new], amplitude[new])
            n_new = int(new.sum())
            settled = n_new == 0 and (n_species == 1 or n > SETTLING)
        if settled and len(atoms.model) == n_kept:
            break
    if len(atoms.model) > n_kept or not kept.all():
        refined, classes = _round(atoms, views, restraint_A, n_species, noise)
    width_A = np.repeat(refined.model.sigma_A, n_species)
    return CompletedModel(
        replace(refined, model=replace(refined.model, kind=classes.kind, sigma_A=width_A)),
        classes,
        atoms.origin,
        atoms.home_A,
        [
            RemovedCounts("no atoms by what the views show of them", int(n_removed[0])),
            RemovedCounts(f"moved closer than {min_distance_A:g} Å to a stronger one", int(n_removed[1])),
        ],
    )


def of_one_width(model: GaussianModel) -> GaussianModel:
    """Return the model with the mean width for all atoms, and no species."""
    sigma_A = np.atleast_1d(model.sigma_A[model.kind].mean())
    return replace(model, kind=np.zeros_like(model.kind), sigma_A=sigma_A)


def amplitude_spread(n_species: int) -> float:
    """Expected standard deviation of amplitudes, relative to their mean, while species are not yet known."""
    return AMPLITUDE_SPREAD if n_species == 1 else np.inf


def _round(
    atoms: _Atoms, views: AtomViews, restraint_A: float, n_species: int, noise: Doubles
) -> tuple[RefinedModel, AmplitudeClasses]:
    """Refine the atoms once, and classify their amplitudes."""
    refined = refine_model(
        atoms.model,
        views,
        restraint_A=restraint_A,
        home_A=atoms.home_A,
        spread=amplitude_spread(n_species),
        rounds=1,
    )
    return refined, amplitude_classes(
        refined.model.amplitude, refined.amplitude_error, atoms.kind, n_species=n_species, removed=noise
    )
