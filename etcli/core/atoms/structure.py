"""Structure of an atomic model: pair distribution function, bonds, angles, coordination."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from etcli.core.atomic_model import Atoms
from etcli.core.atoms.body import Body, find_body
from etcli.core.atoms.match import Positions
from etcli.core.elements import NUMBERS
from etcli.core.errors import DataError

STEP_A = 0.05
SMOOTH_A = 0.1  # smoothing of the curve before the search for peaks
PROMINENCE = 0.1  # share of the highest peak
LONELY = 1.3  # cut-off in first distances where there is only one peak
SHORTEST, LONGEST = (
    0.75,
    2.0,
)  # in median nearest-neighbour distances: disordered structures may have no minimum
CHUNK = 2000

Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class PairDistribution:
    """Pair (radial) distribution function.

    Parameters
    ----------
    distance_A : ndarray of shape (n,), float64
        Middles of the bins.
    g : ndarray of shape (n,), float64
        1 where the density of atoms equals the average.
    partial : dict of (str, str) to ndarray of shape (n,), float64
        The same for each pair of elements.
    density_A3 : float
        Atoms per Å³ inside.
    """

    distance_A: NDArray[np.float64]
    g: NDArray[np.float64]
    partial: dict[Pair, NDArray[np.float64]]
    density_A3: float


@dataclass(frozen=True, eq=False)
class Structure:
    """Measured structure of an atomic model.

    Parameters
    ----------
    atoms : Atoms
    distribution : PairDistribution
    cutoff_A : float
        Atoms closer than this are bonded.
    nearest_A : ndarray of shape (n_atoms,), float64
        Distance of each atom to its nearest neighbour.
    bonds : ndarray of shape (n_bonds, 2), intp
        Indices of bonded atoms, from 0, each bond once.
    length_A : ndarray of shape (n_bonds,), float64
    angle_deg : ndarray of shape (n_angles,), float64
        Angles between the bonds of an atom.
    centre : ndarray of shape (n_angles,), intp
        Index of that atom.
    coordination : ndarray of shape (n_atoms,), intp
        Number of bonds.
    inside : ndarray of shape (n_atoms,), bool
        Atoms whose distance to the surface is at least the cut-off, so that no neighbours are missing.
    """

    atoms: Atoms
    distribution: PairDistribution
    cutoff_A: float
    nearest_A: NDArray[np.float64]
    bonds: NDArray[np.intp]
    length_A: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    centre: NDArray[np.intp]
    coordination: NDArray[np.intp]
    inside: NDArray[np.bool_]

    @property
    def elements(self) -> list[str]:
        """Elements of the model, in the order of atomic number."""
        return sorted(set(self.atoms.species.tolist()), key=lambda name: NUMBERS.get(name, 0))

    def neighbours(self, element: str) -> NDArray[np.intp]:
        """Count the bonds of each atom to atoms of an element."""
        first, second = self.bonds.T
        counts = np.zeros(len(self.atoms), np.intp)
        for one, other in ((first, second), (second, first)):
            counts += np.bincount(one[self.atoms.species[other] == element], minlength=len(counts))
        return counts


def pair_distribution(atoms: Atoms, *, reach_A: float = 10.0, body: Body | None = None) -> PairDistribution:
    """Compute the pair distribution function of a particle, a film or part of one.

    Parameters
    ----------
    atoms : Atoms
        At least two.
    reach_A : float
        Largest distance.
    body : Body, optional
        Space that the atoms fill; by default from `find_body`.

    Returns
    -------
    PairDistribution
        In steps of 0.05 Å.

    Raises
    ------
    DataError
        When there are fewer than two atoms.

    Notes
    -----
    ``g(r) = n(r) / (N ρ 4π r² dr γ(r))`` with n(r) ordered pairs in the bin, N atoms, ρ their density inside,
    and γ(r) the probability that a point at distance r from a point inside is inside as well, which corrects
    for the finite body without periodic images. So g is near 1 at large distances even for a small particle
    or a thin film, and the coordination number is ``∫ 4π r² ρ g dr``. For partial functions, N ρ is the
    number of atoms of one element times the density of the other.
    """
    _check(atoms)
    body = body or find_body(atoms.position_A)
    edges = np.arange(0, reach_A + STEP_A / 2, STEP_A)
    middle = (edges[1:] + edges[:-1]) / 2
    shell = 4 / 3 * np.pi * np.diff(edges**3) * body.density_A3
    expected = shell * np.maximum(body.autocorrelation(middle), 1e-6)
    names = sorted(set(atoms.species.tolist()), key=lambda name: NUMBERS.get(name, 0))
    kind = np.array([names.index(name) for name in atoms.species.tolist()])
    pairs = _pairs_by_distance(atoms.position_A, kind, len(middle))
    share = np.bincount(kind) / len(atoms)
    partial = {
        (names[a], names[b]): pairs[a, b] / (len(atoms) * share[a] * share[b] * expected)
        for a, b in combinations_with_replacement(range(len(names)), 2)
    }
    g = pairs.sum(axis=(0, 1)) / (len(atoms) * expected)
    return PairDistribution(middle, g, partial if len(names) > 1 else {}, body.density_A3)


def first_minimum_A(distribution: PairDistribution, *, shortest_A: float = 0.0) -> float:
    """Find the minimum after the first peak of a pair distribution function, the cut-off distance of bonds.

    Parameters
    ----------
    distribution : PairDistribution
    shortest_A : float
        Peaks at shorter distances are ignored: a few atoms that are too close cause high ones.

    Returns
    -------
    float
        Distance in Å, the middle of a flat minimum; 1.3 times the first distance if there is no second peak.

    Raises
    ------
    DataError
        When there are no distances at all.
    """
    g = np.where(distribution.distance_A < shortest_A, 0, distribution.g)
    smooth = ndimage.gaussian_filter1d(g, SMOOTH_A / STEP_A)
    if smooth.max() == 0:
        raise DataError("no two atoms are near each other, so there are no bonds to look at")
    enough = PROMINENCE * float(smooth.max())
    peak = _first_peak(np.append(smooth, 0), enough)
    valley = None if peak is None else _first_peak(-smooth[peak:], enough)
    if peak is None or valley is None:
        return float(LONELY * distribution.distance_A[smooth.argmax() if peak is None else peak])
    after_peak = smooth[peak:]
    flat = np.flatnonzero(np.abs(after_peak - after_peak[valley]) <= 1e-9 * smooth.max())
    # the first run of lowest values: it begins at the valley
    run = flat[(flat >= valley) & (flat - valley == np.arange(len(flat)) - np.searchsorted(flat, valley))]
    return float(distribution.distance_A[peak + run].mean())


def _first_peak(values: NDArray[np.float64], enough: float) -> int | None:
    """Return the index of the first peak after which the values fall by `enough`; None if there is none."""
    best = 0
    for k, value in enumerate(values.tolist()):
        if value > values[best]:
            best = k
        elif value <= values[best] - enough:
            return best
    return None


def measure_structure(atoms: Atoms, *, cutoff_A: float | None = None, reach_A: float = 10.0) -> Structure:
    """Measure the structure of an atomic model: pair distribution, bonds, angles, coordination.

    Parameters
    ----------
    atoms : Atoms
        At least two.
    cutoff_A : float, optional
        Atoms closer than this are bonded; by default the first minimum of the pair distribution function, at
        most twice the median nearest-neighbour distance.
    reach_A : float
        Largest distance of that function.

    Returns
    -------
    Structure

    Raises
    ------
    DataError
        When there are fewer than two atoms, or no two are close to each other.
    """
    _check(atoms)
    body = find_body(atoms.position_A)
    distribution = pair_distribution(atoms, reach_A=reach_A, body=body)
    nearest_A = KDTree(atoms.position_A).query(atoms.position_A, k=2)[0][:, 1]
    if cutoff_A is None:
        typical_A = float(np.median(nearest_A))
        least_A = first_minimum_A(distribution, shortest_A=SHORTEST * typical_A)
        cutoff_A = min(least_A, LONGEST * typical_A)
    first, second, length_A = _close_pairs(atoms.position_A, cutoff_A)
    angle_deg, centre = _angles(atoms.position_A, first, second)
    return Structure(
        atoms,
        distribution,
        cutoff_A,
        nearest_A,
        np.stack([first, second], axis=1),
        length_A,
        angle_deg,
        centre,
        np.bincount(np.concatenate([first, second]), minlength=len(atoms)),
        body.depth_at(atoms.position_A) >= cutoff_A,
    )


def _check(atoms: Atoms) -> None:
    if len(atoms) < 2:
        raise DataError(f"{len(atoms)} atoms have no structure; two at least are needed")


def _pairs_by_distance(position_A: Positions, kind: NDArray[np.intp], n_bins: int) -> NDArray[np.int64]:
    """Count ordered pairs of atoms by their kinds and by distance, (n_kinds, n_kinds, n_bins)."""
    n_kinds = int(kind.max()) + 1
    counts = np.zeros(n_kinds * n_kinds * n_bins, np.int64)
    tree = KDTree(position_A)
    for start in range(0, len(position_A), CHUNK):
        here = KDTree(position_A[start : start + CHUNK])
        near = here.sparse_distance_matrix(tree, n_bins * STEP_A, output_type="ndarray")
        near = near[near["i"] + start != near["j"]]
        bins = np.minimum((near["v"] / STEP_A).astype(np.intp), n_bins - 1)
        code = kind[near["i"] + start] * n_kinds + kind[near["j"]]
        counts += np.bincount(code * n_bins + bins, minlength=len(counts))
    return counts.reshape(n_kinds, n_kinds, n_bins)


def _close_pairs(
    position_A: Positions, reach_A: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return all pairs of atoms closer than a distance, each once, and their distances."""
    pairs = KDTree(position_A).query_pairs(reach_A, output_type="ndarray")
    distance_A = np.linalg.norm(position_A[pairs[:, 0]] - position_A[pairs[:, 1]], axis=1)
    return pairs[:, 0], pairs[:, 1], distance_A


def _angles(
    position_A: Positions, first: NDArray[np.intp], second: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the angles between the bonds of an atom in degrees, and the atom of each."""
    centre, other = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(centre, kind="stable")
    centre, other = centre[order], other[order]
    direction = position_A[other] - position_A[centre]
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    atom, start, count = np.unique(centre, return_index=True, return_counts=True)
    angles, atoms = [np.empty(0)], [np.empty(0, np.intp)]
    for k in np.unique(count[count > 1]):
        one, two = np.triu_indices(k, 1)
        with_k_bonds = np.flatnonzero(count == k)
        for part in np.array_split(with_k_bonds, -(-len(with_k_bonds) // CHUNK)):
            directions = direction[start[part][:, None] + np.arange(k)]
            cosine = np.einsum("aik,aik->ai", directions[:, one], directions[:, two])
            angles.append(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).ravel())
            atoms.append(np.repeat(atom[part], len(one)))
    return np.concatenate(angles), np.concatenate(atoms)
