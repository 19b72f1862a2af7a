"""Missing atoms: atoms that the views show but the model lacks."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms import _views
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, inverse_variance, project_model

Doubles = NDArray[np.float64]

STEP_A = 0.5
FINER = (1 / 4, 1 / 8, 1 / 16)
"""Steps, in that of the grid, by which places are improved, so that they stay within a cell of the grid."""
NEIGHBOURS = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
SIGNIFICANT = 6.0
BATCH = 1 << 16


def missing_atoms(
    model: GaussianModel,
    views: AtomViews,
    *,
    low_A: Doubles,
    high_A: Doubles,
    clearance_A: float,
) -> tuple[Doubles, Doubles]:
    """Search for atoms that would explain the residual of the views.

    Parameters
    ----------
    model : GaussianModel
        Refined model.
    views : AtomViews
        Views, with their diffuse background.
    low_A, high_A : ndarray of shape (3,), float64
        Corners of the box to search, from the rotation centre.
    clearance_A : float
        Smallest distance to an atom of the model, and between new atoms.

    Returns
    -------
    position_A : ndarray of shape (n, 3), float64
        Positions at which an atom of the most common species is significant, to 0.03 Å, the most significant
        first.
    amplitude : ndarray of shape (n,), float64
        Amplitudes that fit best there.

    Notes
    -----
    On a grid of 0.5 Å, ``z(r) = Σₖ G ∗ (w (y - λ)) / √(Σₖ G² ∗ w)`` is computed at the pixel where view k
    shows r: the amplitude of an atom at r over its standard deviation. If the residuals contain more than
    white noise, z scatters by more than 1, and is compared with its own robust standard deviation. Positions
    with z > 6 of these are significant where a typical atom would be, unless one within the clearance has a
    larger z, because the surroundings of a missing atom have a large z as well. Where many atoms are missing
    they make z scatter, and hide each other; see `etcli.core.atoms.deconvolution`.
    """
    grid = _grid(model, low_A, high_A, clearance_A)
    if not len(grid):
        return np.empty((0, 3)), np.empty(0)
    most_common = int(np.bincount(model.kind).argmax())
    sigma = float(model.sigma_A[most_common] / views.pixel_A)
    shown = project_model(model, views)
    weight = inverse_variance(views, shown)

    def maps(k: int) -> Doubles:
        """Return the matched filter of the residual of a view, and its norm."""
        signal = ndimage.gaussian_filter(weight[k] * (views.data[k] - shown[k]), sigma, mode="constant")
        # the square of a normalised Gaussian is a Gaussian narrower by √2, times 1 / (4π σ²)
        power = ndimage.gaussian_filter(weight[k], sigma / np.sqrt(2), mode="constant")
        return np.stack([signal, power / (4 * np.pi * sigma**2)])

    filtered = views.map_views(maps)

    def amplitudes(place_A: Doubles) -> tuple[Doubles, Doubles]:
        """Return amplitudes of atoms at places, in their standard deviations, and the inverses of these."""
        sums = np.zeros((2, len(place_A)))
        for start in range(0, len(place_A), BATCH):
            part = slice(start, start + BATCH)
            all_u, all_v = views.project_positions(place_A[part])
            for images, u, v in zip(filtered, all_u, all_v, strict=True):
                for image, total in zip(images, sums, strict=True):
                    _views.sample(image, u, v, total[part])
        precision = np.sqrt(sums[1])
        return np.divide(sums[0], precision, out=np.zeros_like(precision), where=precision > 0), precision

    z, precision = amplitudes(grid)
    scatter = float(np.diff(np.quantile(z, [0.16, 0.84]))[0]) / 2
    threshold = SIGNIFICANT * max(scatter, 1.0)
    # where few trusted pixels show a place, a typical atom would not be significant either
    typical = float(np.median(model.amplitude)) * precision
    significant = np.flatnonzero((z > threshold) & (typical > threshold))
    significant = significant[np.argsort(-z[significant], kind="stable")]
    significant = significant[_highest(grid[significant], clearance_A)]
    place_A = grid[significant]
    for step_A in STEP_A * np.array(FINER):
        tried = place_A[:, np.newaxis] + step_A * NEIGHBOURS
        of_tried = amplitudes(tried.reshape(-1, 3))[0].reshape(tried.shape[:2])
        place_A = tried[np.arange(len(tried)), of_tried.argmax(axis=1)]
    z, precision = amplitudes(place_A)
    return place_A, z / precision


def _highest(place: Doubles, distance: float) -> NDArray[np.bool_]:
    """Mark the places, sorted by significance, that have no earlier place within a distance."""
    highest = np.ones(len(place), bool)
    if len(place):
        highest[cKDTree(place).query_pairs(distance, output_type="ndarray").max(axis=1)] = False
    return highest


def _grid(model: GaussianModel, low_A: Doubles, high_A: Doubles, clearance_A: float) -> Doubles:
    """Return the grid of positions to search: between and around the atoms, but not close to one."""
    low = np.maximum(low_A, model.position_A.min(axis=0) - 2 * clearance_A)
    high = np.minimum(high_A, model.position_A.max(axis=0) + 2 * clearance_A)
    edges = [np.arange(a, b, STEP_A) for a, b in zip(low, high, strict=True)]
    tree = cKDTree(model.position_A)
    kept = []
    for x in edges[0]:
        plane = np.stack(np.meshgrid([x], edges[1], edges[2], indexing="ij"), axis=-1).reshape(-1, 3)
        nearest, _ = tree.query(plane, distance_upper_bound=3 * clearance_A)
        kept.append(plane[(nearest >= clearance_A) & np.isfinite(nearest)])
    return np.concatenate(kept) if kept else np.empty((0, 3))
