"""Matching of the atoms of a model with those of a reference, and rigid alignment of the two."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from etcli.core.errors import DataError, UsageError

CUTOFF_A = 0.75
RULES = ("one-to-one", "nearest")
DENSE = 400  # largest group of atoms for which a table of all distances is faster
ALIGN_ROUNDS = 50

Positions = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of atoms of a model and a reference, and the unpaired atoms.

    Parameters
    ----------
    found, reference : ndarray of shape (n_pairs,), intp
        Indices of the two atoms of each pair, from 0.
    extra : ndarray of shape (n_found,), bool
        Atoms of the model without a partner in the reference.
    missing : ndarray of shape (n_reference,), bool
        Atoms of the reference without a partner in the model.
    """

    found: NDArray[np.intp]
    reference: NDArray[np.intp]
    extra: NDArray[np.bool_]
    missing: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.found)


def match_atoms(
    found_A: Positions, reference_A: Positions, *, cutoff_A: float = CUTOFF_A, rule: str = "one-to-one"
) -> Pairs:
    """Pair the atoms of a model with those of a reference.

    Parameters
    ----------
    found_A, reference_A : ndarray of shape (n, 3), float64
        Positions in Å, in the same coordinate frame.
    cutoff_A : float
        Largest distance of a pair.
    rule : {"one-to-one", "nearest"}
        one-to-one: each atom belongs to at most one pair. Of all ways to make as many pairs as possible, the
        one with the smallest sum of squared distances.
        nearest: each atom of the reference is paired with the nearest one of the model, which may be the same
        for several; an atom of the model is extra if no atom of the reference is within the cutoff. Published
        figures are often of this kind, and look better.

    Returns
    -------
    Pairs
        In the order of x, y and z of the reference, independent of the order of the atoms.

    Raises
    ------
    UsageError
        When the cutoff is not a positive number or the rule is unknown.

    Notes
    -----
    Candidate pairs come from k-d trees. Most of them are the only ones for both atoms; otherwise, atoms that
    share candidates form groups, and each group is solved separately.

    References
    ----------
    R. Jonker, A. Volgenant, Computing 38, 325 (1987), doi:10.1007/BF02278710 (assignment).
    """
    if not (np.isfinite(cutoff_A) and cutoff_A > 0):
        raise UsageError(f"the cutoff must be a positive number of Å, not {cutoff_A:g}")
    if rule not in RULES:
        raise UsageError(f"the rule is {' or '.join(RULES)}, not {rule}")
    # sorted, so that the given order does not affect ties and sums
    order = tuple(np.lexsort(positions.T[::-1]) for positions in (found_A, reference_A))
    places = found_A[order[0]], reference_A[order[1]]
    extra, missing = np.ones(len(found_A), bool), np.ones(len(reference_A), bool)
    none = np.empty(0, np.intp)
    if not (len(found_A) and len(reference_A)):
        return Pairs(none, none, extra, missing)
    if rule == "nearest":
        i, j, accounted = _pair_nearest(*places, cutoff_A)
        extra[order[0][accounted]] = False
    else:
        i, j = _pair_one_to_one(*places, cutoff_A)
        extra[order[0][i]] = False
    missing[order[1][j]] = False
    return Pairs(order[0][i], order[1][j], extra, missing)


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """Rotation and shift: moves the position r to ``rotation @ r + shift_A``.

    Parameters
    ----------
    rotation : ndarray of shape (3, 3), float64
        A proper rotation.
    shift_A : ndarray of shape (3,), float64
    """

    rotation: NDArray[np.float64]
    shift_A: NDArray[np.float64]

    def __call__(self, position_A: Positions) -> Positions:
        """Return positions (n, 3) after the motion."""
        return np.asarray(position_A @ self.rotation.T + self.shift_A)

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation in degrees, from 0 to 180."""
        skew = self.rotation - self.rotation.T
        sine = np.linalg.norm([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2  # also accurate for small angles
        return float(np.rad2deg(np.arctan2(sine, (np.trace(self.rotation) - 1) / 2)))


def fit_rigid(position_A: Positions, target_A: Positions) -> RigidMotion:
    """Find the rigid motion of points onto their targets by least squares.

    Parameters
    ----------
    position_A, target_A : ndarray of shape (n, 3), float64
        Points and their targets; at least three.

    Returns
    -------
    RigidMotion

    References
    ----------
    W. Kabsch, Acta Cryst. A 34, 827 (1978), doi:10.1107/S0567739478001680.
    S. Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 376 (1991), doi:10.1109/34.88573 (the sign).
    """
    middle, aim = position_A.mean(axis=0), target_A.mean(axis=0)
    u, _, vt = np.linalg.svd((target_A - aim).T @ (position_A - middle))
    handedness = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ handedness @ vt
    return RigidMotion(rotation, aim - rotation @ middle)


def align_rigid(found_A: Positions, reference_A: Positions, *, cutoff_A: float = CUTOFF_A) -> RigidMotion:
    """Find the rigid motion that aligns a model with a reference, if the two nearly coincide.

    Parameters
    ----------
    found_A, reference_A : ndarray of shape (n, 3), float64
        Positions in Å.
    cutoff_A : float
        As for `match_atoms`; twice as large in the first round.

    Returns
    -------
    RigidMotion
        Motion of the model, consistent with its pairs: matching the moved model gives the same pairs again.

    Raises
    ------
    DataError
        When there are fewer than three pairs.

    Notes
    -----
    Iterative closest points, one to one: atoms are paired and the motion is fitted to the pairs, in turn,
    until the pairs no longer change. Errors of more than about half a bond length cannot be corrected.

    References
    ----------
    P. J. Besl, N. D. McKay, IEEE Trans. Pattern Anal. Mach. Intell. 14, 239 (1992), doi:10.1109/34.121791.
    """
    motion, previous = RigidMotion(np.eye(3), np.zeros(3)), None
    for round_ in range(ALIGN_ROUNDS):
        reach_A = cutoff_A if round_ else 2 * cutoff_A
        pairs = match_atoms(motion(found_A), reference_A, cutoff_A=reach_A)
        if len(pairs) < 3:
            raise DataError(
                f"{len(pairs)} atoms lie within {reach_A:g} Å of the reference, too few to align by; "
                "is it in the same frame?"
            )
        paired = found_A[pairs.found], reference_A[pairs.reference]
        if previous is not None and all(map(np.array_equal, paired, previous)):
            break
        motion, previous = fit_rigid(*paired), paired
    return motion


def _pair_nearest(
    found_A: Positions, reference_A: Positions, cutoff_A: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Pair each reference atom with its nearest; mark the atoms of the model within the cutoff of any."""
    bound = np.nextafter(cutoff_A, np.inf)  # KDTree excludes the bound itself
    distance, nearest = KDTree(found_A).query(reference_A, distance_upper_bound=bound)
    j = np.flatnonzero(np.isfinite(distance))
    accounted = np.isfinite(KDTree(reference_A).query(found_A, distance_upper_bound=bound)[0])
    return nearest[j], j, accounted


def _pair_one_to_one(
    found_A: Positions, reference_A: Positions, cutoff_A: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the pairs of the assignment with the lowest cost, in the order of the reference."""
    near = KDTree(found_A).sparse_distance_matrix(KDTree(reference_A), cutoff_A, output_type="ndarray")
    edges = np.sort(near, order=("i", "j"))
    i, j, cost = edges["i"], edges["j"], edges["v"] ** 2
    n = len(found_A)
    size = n + len(reference_A)
    graph = coo_array((np.ones(len(i), np.int8), (i, n + j)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    group = label[i]
    alone = np.bincount(group, minlength=size)[group] == 1
    pairs = [np.stack([i[alone], j[alone]])]
    shared = np.flatnonzero(~alone)
    shared = shared[np.argsort(group[shared], kind="stable")]
    for chosen in np.split(shared, np.flatnonzero(np.diff(group[shared])) + 1):
        if len(chosen):
            pairs.append(_solve(i[chosen], j[chosen], cost[chosen], cutoff_A**2))
    all_pairs = np.concatenate(pairs, axis=1)
    all_pairs = all_pairs[:, np.argsort(all_pairs[1])]
    return all_pairs[0], all_pairs[1]


def _solve(
    i: NDArray[np.intp], j: NDArray[np.intp], cost: NDArray[np.float64], longest: float
) -> NDArray[np.intp]:
    """Return the pairs (2, n) of a group of atoms: as many as possible, at the lowest cost."""
    rows, row = np.unique(i, return_inverse=True)
    columns, column = np.unique(j, return_inverse=True)
    # leaving an atom unpaired costs more than it could ever save
    unpaired_cost = 2 * longest * (len(rows) + len(columns))
    if len(rows) + len(columns) <= DENSE:
        table = np.full((len(rows), len(columns)), unpaired_cost, np.float64)
        table[row, column] = cost
        a, b = linear_sum_assignment(table)
        kept = table[a, b] < unpaired_cost
        return np.stack([rows[a[kept]], columns[b[kept]]])
    # an extra column for each row lets it stay unpaired; zero costs would not count as edges
    own = np.arange(len(rows))
    values = np.concatenate([cost + longest, np.full(len(rows), unpaired_cost + longest)])
    places = np.concatenate([row, own]), np.concatenate([column, len(columns) + own])
    a, b = min_weight_full_bipartite_matching(
        csr_array((values, places), shape=(len(rows), len(columns) + len(rows)))
    )
    kept = b < len(columns)
    return np.stack([rows[a[kept]], columns[b[kept]]])
