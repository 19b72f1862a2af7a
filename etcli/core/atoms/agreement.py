"""Agreement of an atomic model with a reference: found and false atoms, errors, and agreement by chance."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from etcli.core.atomic_model import UNKNOWN, Atoms
from etcli.core.atoms.match import CUTOFF_A, Pairs, Positions, match_atoms
from etcli.core.elements import NUMBERS

CHANCE_ATOMS = 20_000  # number of atoms in all random copies
SAMPLE = 1000
SHIFTS = 4  # rounds
SURE, LEAST_PERCENT = 3.0, 25.0  # atoms that a mapping must find: times those of the others; at least


@dataclass(frozen=True, eq=False)
class PositionErrors:
    """Position errors of the paired atoms, model minus reference; NaN where there are no pairs.

    Parameters
    ----------
    rmsd_A, mean_A : float
        Root mean square and mean of the distances.
    rmsd_axis_A, mean_axis_A : ndarray of shape (3,), float64
        The same for the differences along x, y and z.
    offset_A : ndarray of shape (3,), float64
        Mean difference.
    """

    rmsd_A: float
    mean_A: float
    rmsd_axis_A: NDArray[np.float64]
    mean_axis_A: NDArray[np.float64]
    offset_A: NDArray[np.float64]

    @classmethod
    def of(cls, difference_A: Positions) -> "PositionErrors":
        """Compute the errors from the differences of pairs, of shape (n, 3)."""
        if not len(difference_A):
            nothing = np.full(3, np.nan)
            return cls(np.nan, np.nan, nothing, nothing, nothing)
        square = (difference_A**2).mean(axis=0)
        return cls(
            float(np.sqrt(square.sum())),
            float(np.linalg.norm(difference_A, axis=1).mean()),
            np.sqrt(square),
            np.abs(difference_A).mean(axis=0),
            difference_A.mean(axis=0),
        )


@dataclass(frozen=True, eq=False)
class SpeciesAgreement:
    """Agreement for the atoms of one species, or for all atoms.

    Parameters
    ----------
    n_reference, n_found, n_extra : int
        Number of atoms of the reference, of those that have a partner, and of atoms of the model without one.
    n_right, n_named : int
        Number of pairs whose species agree, and of pairs whose species are both known.
    errors : PositionErrors
    """

    n_reference: int
    n_found: int
    n_extra: int
    n_right: int
    n_named: int
    errors: PositionErrors

    @property
    def found_percent(self) -> float:
        """Percentage of the atoms of the reference that were found."""
        return 100 * self.n_found / self.n_reference if self.n_reference else np.nan

    @property
    def missing_percent(self) -> float:
        """Percentage of the atoms of the reference that were not found."""
        return 100 - self.found_percent

    @property
    def false_percent(self) -> float:
        """Percentage of false atoms of the model, relative to the number of atoms of the reference."""
        return 100 * self.n_extra / self.n_reference if self.n_reference else np.nan

    @property
    def right_percent(self) -> float:
        """Percentage of pairs whose species agree; NaN where no species are known."""
        return 100 * self.n_right / self.n_named if self.n_named else np.nan


@dataclass(frozen=True, eq=False)
class Agreement:
    """Result of the comparison of a model with a reference.

    Parameters
    ----------
    pairs : Pairs
    difference_A : ndarray of shape (n_pairs, 3), float64
        Model minus reference, pair by pair.
    total : SpeciesAgreement
        All atoms.
    species : dict of str to SpeciesAgreement
        By the species of the reference; atoms of the model without a partner are counted by their own.
    confusion : ndarray of shape (n_species, n_species), int64
        Pairs by the species of the reference (rows) and of the model (columns), in the order of ``species``.
    """

    pairs: Pairs
    difference_A: Positions
    total: SpeciesAgreement
    species: dict[str, SpeciesAgreement]
    confusion: NDArray[np.int64]


def measure_agreement(
    model: Atoms, reference: Atoms, *, cutoff_A: float = CUTOFF_A, rule: str = "one-to-one"
) -> Agreement:
    """Compare a model with a reference.

    Parameters
    ----------
    model, reference : Atoms
        In the same coordinate frame.
    cutoff_A, rule
        As for `etcli.core.atoms.match.match_atoms`.

    Returns
    -------
    Agreement
        Independent of the order of the atoms.

    Notes
    -----
    Ren et al. report the mean distance of the atoms found within 1 Å; the benchmark of 2026 the number of
    atoms found, the number of false ones and the root mean square deviation.

    References
    ----------
    D. Ren et al., Ultramicroscopy 208, 112860 (2020), doi:10.1016/j.ultramic.2019.112860.
    Liao et al., Nature (2026), doi:10.1038/s41586-025-09857-4.
    """
    pairs = match_atoms(model.position_A, reference.position_A, cutoff_A=cutoff_A, rule=rule)
    difference_A = model.position_A[pairs.found] - reference.position_A[pairs.reference]
    reference_species, model_species = reference.species[pairs.reference], model.species[pairs.found]
    known = (reference_species != UNKNOWN) & (model_species != UNKNOWN)
    names = sorted(
        {*reference.species.tolist(), *model.species.tolist()}, key=lambda name: NUMBERS.get(name, 0)
    )

    def summarise(
        of: NDArray[np.bool_], chosen: NDArray[np.bool_], extra: NDArray[np.bool_]
    ) -> SpeciesAgreement:
        named = chosen & known
        return SpeciesAgreement(
            int(of.sum()),
            int(chosen.sum()),
            int(extra.sum()),
            int((named & (reference_species == model_species)).sum()),
            int(named.sum()),
            PositionErrors.of(difference_A[chosen]),
        )

    everything = np.ones(len(reference), bool), np.ones(len(pairs), bool), pairs.extra
    species = {
        name: summarise(
            reference.species == name, reference_species == name, pairs.extra & (model.species == name)
        )
        for name in names
    }
    confusion = np.array(
        [[np.sum((reference_species == a) & (model_species == b)) for b in names] for a in names], np.int64
    )
    return Agreement(pairs, difference_A, summarise(*everything), species, confusion)


def chance_percent(
    reference_A: Positions,
    rng: np.random.Generator,
    *,
    cutoff_A: float = CUTOFF_A,
    rule: str = "one-to-one",
) -> float:
    """Estimate the percentage of a reference that a model would find by chance.

    Parameters
    ----------
    reference_A : ndarray of shape (n, 3), float64
        Positions in Å.
    rng : numpy.random.Generator
        Source of the rotations.
    cutoff_A, rule
        As for `etcli.core.atoms.match.match_atoms`.

    Returns
    -------
    float
        Percentage of the atoms of the reference that are found by a copy of it, rotated at random about its
        middle, where the two overlap. A model that finds no more than that is unrelated to the reference.
    """
    if len(reference_A) < 2:
        return np.nan
    place_A = reference_A[np.lexsort(reference_A.T[::-1])]
    place_A = place_A - place_A.mean(axis=0)
    spacing_A = float(np.median(KDTree(place_A).query(place_A, k=2)[0][:, 1]))
    n_found = n_tried = 0
    for _ in range(max(2, min(16, CHANCE_ATOMS // len(place_A)))):
        copy_A = Rotation.random(rng=rng).apply(place_A)
        pairs = match_atoms(copy_A, place_A, cutoff_A=cutoff_A, rule=rule)
        # a film extends beyond its rotated copy
        within = KDTree(copy_A).query(place_A, distance_upper_bound=max(spacing_A, cutoff_A))[0] < np.inf
        n_found += int((within & ~pairs.missing).sum())
        n_tried += int(within.sum())
    return 100 * n_found / max(n_tried, 1)


def right_by_chance_percent(result: Agreement) -> float:
    """Compute the percentage of pairs of the same element if elements were assigned to the pairs at random.

    Parameters
    ----------
    result : Agreement

    Returns
    -------
    float
        Percentage: Σ over elements of their share in the model times that in the reference.
    """
    share = result.confusion / max(int(result.confusion.sum()), 1)
    return 100 * float(share.sum(axis=0) @ share.sum(axis=1))


@dataclass(frozen=True, eq=False)
class AxisMapping:
    """Permutation and reversal of the axes of a model, with a shift.

    Parameters
    ----------
    matrix : ndarray of shape (3, 3), float64
        Permutes the axes and reverses some of them.
    shift_A : ndarray of shape (3,), float64
        Added afterwards.
    found_percent : float
        Percentage of the atoms of the reference that the mapped model finds.
    """

    matrix: NDArray[np.float64]
    shift_A: NDArray[np.float64]
    found_percent: float

    @property
    def axes(self) -> str:
        """Axes of the model that become x, y and z, such as ``x,z,-y``."""
        columns = np.abs(self.matrix).argmax(axis=1)
        signs = self.matrix[range(3), columns]
        return ",".join(
            f"{'-' if sign < 0 else ''}{'xyz'[k]}" for k, sign in zip(columns, signs, strict=True)
        )

    @property
    def is_mirrored(self) -> bool:
        """Whether the mapping changes handedness."""
        return bool(np.linalg.det(self.matrix) < 0)


def better_axis_mapping(
    model_A: Positions, reference_A: Positions, rng: np.random.Generator, *, cutoff_A: float = CUTOFF_A
) -> AxisMapping | None:
    """Search for an axis mapping that improves the agreement of a model which finds few atoms.

    Parameters
    ----------
    model_A, reference_A : ndarray of shape (n, 3), float64
        Positions in Å.
    rng : numpy.random.Generator
        Chooses a sample of atoms.
    cutoff_A : float
        As for `etcli.core.atoms.match.match_atoms`.

    Returns
    -------
    AxisMapping or None
        The best of all 48 orders and directions of the axes, without a shift or with one that makes model and
        reference overlap; None if it finds neither three times as many atoms as the others typically do, nor
        more than half of those that the others typically miss, or less than 25 % of all.
    """
    order = np.lexsort(reference_A.T[::-1])
    sample_A = reference_A[rng.permutation(order)[:SAMPLE]]
    tree = KDTree(model_A)
    middle_A, aim_A = model_A.mean(axis=0), reference_A.mean(axis=0)
    mappings = []
    for axes, signs in product(permutations(range(3)), product((1.0, -1.0), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), axes] = signs
        for shift_A in (np.zeros(3), _refined_shift(tree, sample_A, matrix, aim_A - matrix @ middle_A)):
            near = tree.query((sample_A - shift_A) @ matrix, distance_upper_bound=cutoff_A)[0]
            mappings.append(AxisMapping(matrix, shift_A, 100 * float(np.isfinite(near).mean())))
    best = max(mappings, key=lambda mapping: mapping.found_percent)
    typical = float(np.median([mapping.found_percent for mapping in mappings]))
    # mappings that are symmetries of a crystal fit nearly as well
    enough = max(min(SURE * typical, (typical + 100) / 2), LEAST_PERCENT)
    return best if best.found_percent > enough else None


def _refined_shift(
    tree: KDTree, sample_A: Positions, matrix: NDArray[np.float64], shift_A: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Refine a shift by the median difference to the nearest atoms: false atoms displace the middle."""
    for _ in range(SHIFTS):
        place_A = (sample_A - shift_A) @ matrix
        shift_A = shift_A - matrix @ np.median(tree.data[tree.query(place_A)[1]] - place_A, axis=0)
    return shift_A
