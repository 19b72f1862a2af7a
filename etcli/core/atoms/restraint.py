"""Restraint: choose by cross-validation how far a refinement may move atoms, from left-out views."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.complete_model import CompletedModel, of_one_width
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
    kept_misfit : float
        Mean misfit of the atoms of the volume, refined with the best restraint for them.
    completed_misfit : float
        Mean misfit of the completed model with the best restraint.
    shown : float
        Share of the atoms of the volume that are in the completed model.
    """

    tried_A: Doubles
    misfit: Doubles
    best_A: float
    kept_misfit: float
    completed_misfit: float
    shown: float

    @property
    def completes(self) -> bool:
        """Whether left-out views are predicted no worse with atoms removed and added than without."""
        return self.completed_misfit <= self.kept_misfit


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
    complete: Callable[[Doubles, AtomViews, float], CompletedModel],
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
    standard error of the difference between views. Then the model is completed. What atoms that are missing
    in the volume add to the misfit hides how far the others may move. So if the completed model predicts the
    left-out views better, again by the standard error, wider restraints are tried on it as well.
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
    search = _Search(used, left_out, spread)
    tried_A: tuple[float, ...] = TRIED_A
    misfits = search.misfits(model, position_A, tried_A)
    best = _first_good(misfits)
    kept_misfit = float(misfits[best].mean())
    completed = complete(position_A, used, tried_A[best])
    completed_misfit = search.misfit(completed.refined.model)
    if completed.n_added and _first_good(np.array([misfits[best], completed_misfit])) == 1:
        tried_A = tried_A[best:]
        misfits = search.misfits(of_one_width(completed.refined.model), completed.home_A, tried_A)
        best = _first_good(misfits)
        completed_misfit = misfits[best]
    means = misfits.mean(axis=1)
    return Restraint(
        np.array(tried_A[: len(means)]),
        means,
        tried_A[best],
        kept_misfit,
        float(completed_misfit.mean()),
        np.count_nonzero(completed.origin >= 0) / len(position_A),
    )


@dataclass(eq=False)
class _Search:
    """Refinement against the used views, and the misfit to the left-out ones, all with the same weight."""

    used: AtomViews
    left_out: AtomViews
    spread: float
    weight: Doubles | None = None

    def misfit(self, model: GaussianModel) -> Doubles:
        misfit, self.weight = left_out_misfit(model, self.left_out, self.weight)
        return misfit

    def misfits(self, model: GaussianModel, home_A: Doubles, tried_A: tuple[float, ...]) -> Doubles:
        """Return the misfits (n, n_views) with the first n restraints, until no better ones are found."""
        found: list[Doubles] = []
        for restraint_A in tried_A:
            refined = refine_model(
                model,
                self.used,
                restraint_A=restraint_A,
                home_A=home_A,
                spread=self.spread,
                rounds=ROUNDS,
                iterations=ITERATIONS,
            )
            found.append(self.misfit(refined.model))
            means = [float(each.mean()) for each in found]
            if len(means) > RISES and min(means) < min(means[-RISES:]):
                break
        return np.array(found)


def _first_good(misfits: Doubles) -> int:
    """Return the index of the tightest restraint as good as the best, within the standard error of views.

    It is never one with a larger mean misfit than the first.
    """
    worse = misfits - misfits[misfits.mean(axis=1).argmin()]
    error = worse.std(axis=1, ddof=1) / np.sqrt(worse.shape[1]) if worse.shape[1] > 1 else 0.0
    mean = worse.mean(axis=1)
    return int(np.argmax((mean <= error) & (mean <= mean[0])))
