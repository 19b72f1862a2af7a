"""Atoms that the views show and the model lacks."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from etcli.core.atoms import _views
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, inverse_variance, project_model

Doubles = NDArray[np.float64]

STEP_A = 0.5
SIGNIFICANT = 6.0
BATCH = 1 << 16


def missing_atoms(
    model: GaussianModel, views: AtomViews, *, low_A: Doubles, high_A: Doubles, clearance_A: float
) -> tuple[Doubles, Doubles]:
    """Look for atoms that would explain what is left of the views.

    Parameters
    ----------
    model : GaussianModel
        Refined.
    views : AtomViews
        With what is seen beside the atoms.
    low_A, high_A : ndarray of shape (3,), float64
        Corners of the box to search, from the rotation centre.
    clearance_A : float
        Least distance to an atom of the model, and between new ones.

    Returns
    -------
    position_A : ndarray of shape (n, 3), float64
        Places where an atom of the most common species is significant, the most significant first.
    amplitude : ndarray of shape (n,), float64
        That fits best there.

    Notes
    -----
    On a grid of 0.5 Å, ``z(r) = Σₖ G ∗ (w (y - λ)) / √(Σₖ G² ∗ w)`` at the pixel where view k shows r: the
    amplitude of an atom at r over its standard deviation. Where residuals are more than white noise, z
    scatters by more than 1, so it is divided by its own robust standard deviation. Places with z > 6 are
    significant, if none within the clearance is more so: what surrounds a missing atom stands out, too.
    """
    grid = _grid(model, low_A, high_A, clearance_A)
    if not len(grid):
        return np.empty((0, 3)), np.empty(0)
    common = int(np.bincount(model.kind).argmax())
    sigma = float(model.sigma_A[common] / views.pixel_A)
    shown = project_model(model, views)
    weight = inverse_variance(views, shown)
    above, below = np.zeros(len(grid)), np.zeros(len(grid))

    def maps(k: int) -> Doubles:
        """Return the matched filter of a view and its norm."""
        signal = ndimage.gaussian_filter(weight[k] * (views.data[k] - shown[k]), sigma, mode="constant")
        # the square of a normalised Gaussian is one narrower by the root of 2, times 1 / (4π σ²)
        power = ndimage.gaussian_filter(weight[k], sigma / np.sqrt(2), mode="constant")
        return np.stack([signal, power / (4 * np.pi * sigma**2)])

    for k, (signal, power) in enumerate(views.each(maps)):
        one = views.of_views(np.array([k]))
        for start in range(0, len(grid), BATCH):
            part = slice(start, start + BATCH)
            u, v = one.seen(grid[part])
            _views.sample(signal, u[0], v[0], above[part])
            _views.sample(power, u[0], v[0], below[part])
    z = np.divide(above, np.sqrt(below), out=np.zeros_like(above), where=below > 0)
    scatter = float(np.diff(np.quantile(z, [0.16, 0.84]))[0]) / 2
    z /= max(scatter, 1.0)
    found = np.flatnonzero(z > SIGNIFICANT)
    found = found[np.argsort(-z[found], kind="stable")]
    found = found[_highest(grid[found], clearance_A)]
    return grid[found], above[found] / below[found]


def _highest(place: Doubles, distance: float) -> NDArray[np.bool_]:
    """Tell which places, the most significant first, have none before them within a distance."""
    highest = np.ones(len(place), bool)
    if len(place):
        highest[cKDTree(place).query_pairs(distance, output_type="ndarray").max(axis=1)] = False
    return highest


def _grid(model: GaussianModel, low_A: Doubles, high_A: Doubles, clearance_A: float) -> Doubles:
    """Return the places to look at: between and about the atoms, but not at one."""
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
