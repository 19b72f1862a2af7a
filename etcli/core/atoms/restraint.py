"""How far a refinement may move atoms, by what predicts best the views that were left out."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.gaussian_fit import FitRules, fit_atoms, places, positions_A, rescaled
from etcli.core.atoms.gaussian_model import AtomViews, left_out_misfit, start_model
from etcli.core.atoms.peaks import smoothed
from etcli.core.atoms.refine_model import refine_model
from etcli.core.binning import bin_axis
from etcli.core.errors import UsageError
from etcli.core.projectors.oriented import OrientedProjector
from etcli.core.solvers.fista import fista
from etcli.core.solvers.misfit import OrientedMisfit
from etcli.core.solvers.priors import make_prior
from etcli.core.solvers.resire import extended_shape, middle
from etcli.core.view_subsets import FEWEST_VIEWS, every_sixth

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

TRIED_A = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
RISES = 2
"""Tries without a better one that end the search."""
SAME = 1e-3
"""Relative difference of sizes that is none."""
RECONSTRUCTION = 30
MOST_ROOM = 8
"""Times the volume, for what views of a film show beyond it: seen nearly from the side it has no end."""
ROUNDS, ITERATIONS = 2, 40
SWEEPS = 8


@dataclass(frozen=True, eq=False)
class Restraint:
    """How well views that were left out are predicted.

    Parameters
    ----------
    tried_A : ndarray of shape (n,), float64
        Standard deviations expected of a move.
    misfit : ndarray of shape (n,), float64
        As `etcli.core.atoms.gaussian_model.left_out_misfit` has it.
    best_A : float
    """

    tried_A: Doubles
    misfit: Doubles
    best_A: float


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
) -> Restraint:
    """Find how far atoms are to move from where they were found in a volume.

    Parameters
    ----------
    views : AtomViews
        All of them.
    fitted : ndarray of shape (n_atoms, 10), float64
        Gaussians in the volume.
    rules : FitRules
        By which they were fitted.
    kind, score : ndarray of shape (n_atoms,)
        Species and height of each.
    sigma_A : ndarray of shape (n_species,), float64
        Width of an atom of each species.
    smoothing_A : float
        Smoothing of the volume before the fit.
    shape : (nz, ny, nx)
        Of the volume.
    voxel_A : float
        Size of its voxels.
    centre_A : ndarray of shape (3,), float64
        x, y and z of its middle from the rotation centre.
    level : float
        Level below the specimen in the views.

    Returns
    -------
    Restraint

    Raises
    ------
    UsageError
        When there are too few views to leave some out.

    Notes
    -----
    The volume knows all views. So every sixth is left out, another volume is reconstructed from the others,
    and the atoms are fitted in it before they are refined. Of the standard deviations that are tried, the
    least is taken whose model predicts the views left out as well as the best does, within the standard error
    of the difference between views.
    """
    n_views = len(views.data)
    if n_views < FEWEST_VIEWS:
        raise UsageError(f"{n_views} views are too few to leave some out; give --hold as a length")
    left = np.zeros(n_views, bool)
    tilt = np.arctan2(-views.rotation[:, 2, 0], views.rotation[:, 2, 2])
    left[every_sixth(tilt)] = True
    used, unseen = views.of_views(~left), views.of_views(left)
    volume = _volume(used, shape, voxel_A, centre_A, level)
    smoothed(volume, smoothing_A / voxel_A, out=volume, threads=views.threads)
    atoms, _ = fit_atoms(volume, rescaled(fitted, volume), rules, sweeps=SWEEPS)
    position_A = positions_A(places(atoms), shape, voxel_A, centre_A)
    model = start_model(position_A, score, kind, sigma_A, used)
    misfits: list[Doubles] = []
    weight = None
    for restraint_A in TRIED_A:
        found = refine_model(model, used, restraint_A=restraint_A, rounds=ROUNDS, iterations=ITERATIONS)
        misfit, weight = left_out_misfit(found.model, unseen, weight)
        misfits.append(misfit)
        means = [float(each.mean()) for each in misfits]
        if len(means) > RISES and min(means) < min(means[-RISES:]):
            break
    return Restraint(
        np.array(TRIED_A[: len(means)]), np.array(means), TRIED_A[_first_good(np.array(misfits))]
    )


def _first_good(misfits: Doubles) -> int:
    """Return the number of the tightest that is as good as the best within the standard error of views."""
    worse = misfits - misfits[misfits.mean(axis=1).argmin()]
    error = worse.std(axis=1, ddof=1) / np.sqrt(worse.shape[1]) if worse.shape[1] > 1 else 0.0
    return int(np.argmax(worse.mean(axis=1) <= error))


def _volume(
    views: AtomViews, shape: tuple[int, int, int], voxel_A: float, centre_A: Doubles, level: float
) -> Array:
    """Reconstruct a volume from some of the views, with voxels of the size asked for."""
    factor = voxel_A / views.pixel_A
    if factor < 1 - SAME:
        raise UsageError(
            f"voxels of {voxel_A:g} Å are finer than the {views.pixel_A:g} Å of the views; give the views "
            "that were reconstructed, or --hold as a length"
        )
    binned = views.data - level
    if factor > 1 + 1e-6:
        binned = np.asarray(bin_axis(bin_axis(binned, factor, axis=1), factor, axis=2), np.float64)
    images: Array = np.ascontiguousarray(binned, np.float32)
    whole = _shape_with_margin(views, shape, images.shape[1:])
    projector = OrientedProjector(
        views.rotation,
        whole,
        images.shape[1:],
        centre_px=views.rotation[:, :2] @ centre_A / voxel_A,
        threads=views.threads,
    )
    positive = make_prior("none", whole, lower=0.0, threads=views.threads)
    volume = fista(OrientedMisfit(projector, images), positive, iterations=RECONSTRUCTION)
    return np.ascontiguousarray(middle(volume, shape))


def _shape_with_margin(
    views: AtomViews, shape: tuple[int, int, int], detector: tuple[int, ...]
) -> tuple[int, int, int]:
    """Return the shape of a volume with room for what views of a film show beyond."""
    if not views.diffuse_A:
        return shape
    try:
        room = extended_shape(views.rotation, shape, detector)
    except UsageError:  # seen from the side, where a film has no end
        return shape
    return room if prod(room) <= MOST_ROOM * prod(shape) else shape
