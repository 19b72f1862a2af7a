"""Species of atoms: classification by the voxels around them, and correction of intensities for depth."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import ConvexHull, QhullError, cKDTree

from etcli.core.atoms.gaussian_fit import heights, places, sigmas

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]
Kinds = NDArray[np.intp]

BOX_PX = 3
"""Radius of the balls of voxels that are compared: 7 voxels in diameter."""
LOCAL_A = 10.0
ROUNDS = 5
OUTLIER = 3.0
FEWEST = 20
"""Smallest number of atoms from which a drift is found."""


def reclassify(
    residual: Array, atoms: Doubles, kind: Kinds, pixel_A: float, *, n_species: int
) -> tuple[Kinds, int]:
    """Reclassify atoms by comparison with the mean of each species around them, in at most five rounds.

    Parameters
    ----------
    residual : ndarray of shape (nz, ny, nx), float32
        The volume minus all atoms.
    atoms : ndarray of shape (n, 10), float64
        Gaussians, see `etcli.core.atoms.gaussian_fit`.
    kind : ndarray of shape (n,), int
        Number of the species of each atom.
    pixel_A : float
        Size of a voxel in Å.
    n_species : int

    Returns
    -------
    kind : ndarray of shape (n,), int
    flipped : int
        Number of atoms whose species has changed.

    Notes
    -----
    The ball of voxels around an atom, 7 voxels in diameter, after subtraction of all other atoms, is compared
    with the mean ball of each species within 10 Å, without the atom itself. A species that is absent there is
    ignored.

    References
    ----------
    Y. Yang et al., Nature 542, 75 (2017), doi:10.1038/nature21042, methods: classification of atoms.
    """
    if n_species < 2 or len(atoms) < 2:
        return kind, 0
    balls = _balls(residual, atoms)
    pairs = cKDTree(places(atoms) * pixel_A).query_pairs(LOCAL_A, output_type="ndarray")
    near = sparse.coo_array(
        (np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])), shape=(len(atoms),) * 2
    ).tocsr()
    near = near + near.T
    first = kind
    for _ in range(ROUNDS):
        distance = np.full((len(atoms), n_species), np.inf)
        for k in range(n_species):
            is_k = (kind == k).astype(np.float32)
            count = near @ is_k
            mean = (near @ (balls * is_k[:, np.newaxis])) / np.maximum(count, 1)[:, np.newaxis]
            distance[:, k] = np.where(count > 0, ((balls - mean) ** 2).sum(axis=1), np.inf)
        # an atom without neighbours of its own species cannot be compared, and keeps its species
        own = distance[np.arange(len(kind)), kind]
        new = np.where(np.isfinite(own), distance.argmin(axis=1), kind)
        if (new == kind).all():
            break
        kind = new
    return kind, int((kind != first).sum())


def _balls(residual: Array, atoms: Doubles) -> Array:
    """Return the voxels around each atom, after subtraction of all others, of shape (n, n_voxels)."""
    grid = np.mgrid[-BOX_PX : BOX_PX + 1, -BOX_PX : BOX_PX + 1, -BOX_PX : BOX_PX + 1].reshape(3, -1)
    grid = grid[:, (grid**2).sum(axis=0) <= BOX_PX**2]
    own = np.exp(-0.5 * (grid**2).sum(axis=0) / sigmas(atoms)[:, np.newaxis] ** 2)
    own *= heights(atoms)[:, np.newaxis]
    balls = own.astype(np.float32)
    for offset, at in enumerate(grid.T):
        where = places(atoms)[:, ::-1].T + at[:, np.newaxis]
        balls[:, offset] += ndimage.map_coordinates(residual, where, order=1, mode="constant")
    return np.asarray(balls)


def without_drift(position_A: Doubles, intensity: Doubles, kind: Kinds) -> tuple[Doubles, float]:
    """Correct intensities for a linear drift with the depth below the surface.

    Parameters
    ----------
    position_A : ndarray of shape (n, 3), float64
    intensity : ndarray of shape (n,), float64
    kind : ndarray of shape (n,), int
        Number of the species. Each species has its own mean, but all have the same relative drift.

    Returns
    -------
    intensity : ndarray of shape (n,), float64
        Intensities corrected to the mean depth.
    drift_per_A : float
        Relative change per Å of depth; 0 where there are too few atoms, or all lie in a plane.

    Notes
    -----
    The depth is the distance to the convex hull of all atoms. A line is fitted by least squares to the
    intensities divided by the median of their species, without outliers beyond three standard deviations.
    """
    if len(position_A) < FEWEST:
        return intensity, 0.0
    relative = intensity.copy()
    for k in np.unique(kind):
        relative[kind == k] /= np.median(intensity[kind == k])
    try:
        faces = ConvexHull(position_A).equations
    except QhullError:
        return intensity, 0.0
    depth = np.full(len(position_A), np.inf)
    for face in faces:
        np.minimum(depth, -(position_A @ face[:3] + face[3]), out=depth)
    kept = np.ones(len(depth), bool)
    slope, level = 0.0, 1.0
    for _ in range(ROUNDS):
        slope, level = np.polyfit(depth[kept], relative[kept], 1)
        deviation = abs(relative - level - slope * depth)
        kept = deviation <= OUTLIER * np.sqrt(np.mean(deviation[kept] ** 2))
    middle = level + slope * depth[kept].mean()
    return intensity * middle / np.maximum(level + slope * depth, 0.1 * middle), float(slope / middle)
