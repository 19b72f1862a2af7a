"""Restraint: choose by cross-validation how far a refinement may move atoms, from left-out views."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.gaussian_fit import FitRules, fit_atoms, places, positions_A, rescaled
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, left_out_misfit, start_model
from etcli.core.atoms.peaks import smoothed
from etcli.core.atoms.refine_model import AMPLITUDE_SPREAD, refine_model
from etcli.core.atoms.surroundings import reconstruct_surroundings
from etcli.core.errors import UsageError
from etcli.core.view_subsets import FEWEST_VIEWS, every_sixth

Doubles = NDArray[np.float64]

STILL_A = 1e-4
"""Restraint with which atoms stay where they were found."""
TRIED_A = (STILL_A, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RISES = 2
"""Number of restraints without improvement that ends the search."""
ROUNDS, ITERATIONS = 2, 40
SWEEPS = 8


@dataclass(frozen=True, eq=False)
class Restraint:
    """Result of the cross-validation of the restraint.

    Parameters
    ----------
    tried_A : ndarray of shape (n,), float64
        Restraints tried: expected standard deviations of displacements.
    misfit : ndarray of shape (n,), float64
        Mean misfit to the left-out views; see `etcli.core.atoms.gaussian_model.left_out_misfit`.
    best_A : float
    completed_misfit : float
        Mean misfit of the model completed with the best restraint.
    """

    tried_A: Doubles
    misfit: Doubles
    best_A: float
    completed_misfit: float

    @property
    def improves(self) -> bool:
        """Whether refined atoms predict left-out views no worse than the atoms of the volume do."""
        return self.completed_misfit <= float(self.misfit[0])


def find_restraint(
    views: AtomViews,
    fitted: Doubles,
    rules: FitRules,
    *,
    kind: NDArray[np.intp],
    score: Doubles,
    sigma_A: Doubles,
    smoothing_A: float,
    shape: tuple[int, int, int],
    voxel_A: float,
    centre_A: Doubles,
    level: float,
    spread: float = AMPLITUDE_SPREAD,
    complete: Callable[[Doubles, AtomViews, float], GaussianModel],
) -> Restraint:
    """Find the best restraint of atoms to their positions in the volume, by cross-validation.

    Parameters
    ----------
    views : AtomViews
        All views.
    fitted : ndarray of shape (n_atoms, 10), float64
        Gaussians in the volume.
    rules : FitRules
        Rules of their fit.
    kind, score : ndarray of shape (n_atoms,)
        Species and height of each.
    sigma_A : ndarray of shape (n_species,), float64
        Width of an atom of each species.
    smoothing_A : float
        Smoothing of the volume before the fit.
    shape : (nz, ny, nx)
        Shape of the volume.
    voxel_A : float
        Size of its voxels.
    centre_A : ndarray of shape (3,), float64
        x, y and z of its middle from the rotation centre.
    level : float
        Background level of the views.
    spread : float
        As for `etcli.core.atoms.refine_model.refine_model`.
    complete : callable
        Refines and completes a model from positions in Å, views, and a restraint in Å.

    Returns
    -------
    Restraint

    Raises
    ------
    UsageError
        When there are too few views to leave some out.

    Notes
    -----
    The volume was made from all views. Therefore every sixth view is left out, another volume is
    reconstructed from the others, and the atoms are fitted in it before they are refined. Of the restraints
    tried, the tightest is chosen whose model predicts the left-out views as well as the best one, within the
    standard error of the difference between views.
    """
    n_views = len(views.data)
    if n_views < FEWEST_VIEWS:
        raise UsageError(f"{n_views} views are too few to leave some out; give --hold as a length")
    is_left_out = np.zeros(n_views, bool)
    tilt = np.arctan2(-views.rotation[:, 2, 0], views.rotation[:, 2, 2])
    is_left_out[every_sixth(tilt)] = True
    used, left_out = views.of_views(~is_left_out), views.of_views(is_left_out)
    surroundings = reconstruct_surroundings(used, shape, voxel_A, centre_A, level)
    used, left_out = (replace(part, outside=surroundings.views_of_outside(part)) for part in (used, left_out))
    volume = surroundings.inside()
    smoothed(volume, smoothing_A / voxel_A, out=volume, threads=views.threads)
    atoms, _ = fit_atoms(volume, rescaled(fitted, volume), rules, sweeps=SWEEPS)
    position_A = positions_A(places(atoms), shape, voxel_A, centre_A)
    model = start_model(position_A, score, kind, sigma_A, used)
    misfits: list[Doubles] = []
    weight = None
    for restraint_A in TRIED_A:
        refined = refine_model(
            model, used, restraint_A=restraint_A, spread=spread, rounds=ROUNDS, iterations=ITERATIONS
        )
        misfit, weight = left_out_misfit(refined.model, left_out, weight)
        misfits.append(misfit)
        means = [float(each.mean()) for each in misfits]
        if len(means) > RISES and min(means) < min(means[-RISES:]):
            break
    best_A = TRIED_A[_first_good(np.array(misfits))]
    completed, _ = left_out_misfit(complete(position_A, used, best_A), left_out, weight)
    return Restraint(np.array(TRIED_A[: len(means)]), np.array(means), best_A, float(completed.mean()))


def _first_good(misfits: Doubles) -> int:
    """Return the index of the tightest restraint as good as the best, within the standard error of views."""
    worse = misfits - misfits[misfits.mean(axis=1).argmin()]
    error = worse.std(axis=1, ddof=1) / np.sqrt(worse.shape[1]) if worse.shape[1] > 1 else 0.0
    return int(np.argmax(worse.mean(axis=1) <= error))
