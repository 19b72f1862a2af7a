"""Refinement of a trace against the views: restraint, refinement, missing atoms, and removal of weak ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from etcli.core.atoms.cleaning import RemovedCounts, without_close
from etcli.core.atoms.gaussian_fit import places, positions_A
from etcli.core.atoms.gaussian_model import AtomViews, GaussianModel, check_hand, start_model, with_diffuse
from etcli.core.atoms.missing import missing_atoms
from etcli.core.atoms.mixture import fit_mixture
from etcli.core.atoms.refine_model import RefinedModel, refine_model
from etcli.core.atoms.restraint import Restraint, find_restraint
from etcli.core.atoms.surroundings import reconstruct_surroundings
from etcli.core.atoms.tracing import NEARER, Trace

Doubles = NDArray[np.float64]

DIFFUSE_A = 2.5
"""In the views of a film, variations over longer distances are diffuse background and not due to atoms."""


@dataclass(frozen=True, eq=False)
class RefinedTrace:
    """Trace refined against the views.

    Parameters
    ----------
    refined : RefinedModel
    restraint : Restraint or None
        Cross-validation of the restraint; None if the restraint was given.
    restraint_A : float
    from_trace : ndarray of shape (n_atoms,), int
        Index of each atom in the trace, -1 for added atoms.
    removed : list of RemovedCounts
    """

    refined: RefinedModel
    restraint: Restraint | None
    restraint_A: float
    from_trace: NDArray[np.intp]
    removed: list[RemovedCounts]

    def moved(self, by_A: Doubles) -> "RefinedTrace":
        """Return the trace with all atoms shifted by x, y and z."""
        model = replace(self.refined.model, position_A=self.refined.model.position_A + by_A)
        return replace(self, refined=replace(self.refined, model=model))


def refine_trace(
    trace: Trace,
    views: AtomViews,
    *,
    pixel_A: float,
    centre_A: Doubles,
    level: float = 0.0,
    restraint_A: float | None = None,
    min_distance_A: float,
    progress: Callable[[str], None] | None = None,
) -> RefinedTrace:
    """Refine the atoms traced in a volume against the views from which the volume was reconstructed.

    Parameters
    ----------
    trace : Trace
    views : AtomViews
    pixel_A : float
        Size of the voxels in Å.
    centre_A : ndarray of shape (3,), float64
        x, y and z of the middle of the volume from the rotation centre.
    level : float
        Background level of the views, where it is known.
    restraint_A : float, optional
        As for `etcli.core.atoms.refine_model.refine_model`; by default found by cross-validation.
    min_distance_A : float
        Smallest distance between atoms.
    progress : callable, optional
        Called with the name of each stage when it begins.

    Returns
    -------
    RefinedTrace

    Raises
    ------
    DataError
        When the views do not show the atoms.
    """
    report = progress or (lambda text: None)
    nz, ny, nx = trace.volume.shape
    if views.diffuse_A:
        report("what is outside the volume")
        surroundings = reconstruct_surroundings(views, (nz, ny, nx), pixel_A, centre_A, level)
        views = replace(views, outside=surroundings.views_of_outside(views))
    position_A = positions(trace, pixel_A, centre_A)
    n_kinds = int(trace.kind.max(initial=0)) + 1
    sigma_A = np.full(n_kinds, trace.sigma_A)
    model = start_model(position_A, trace.score, trace.kind, sigma_A, views)
    check_hand(model, views)
    restraint = None
    if restraint_A is None:
        report("how far atoms may move")
        restraint = find_restraint(
            views,
            trace.fitted,
            trace.rules,
            kind=trace.kind,
            score=trace.score,
            sigma_A=sigma_A,
            smoothing_A=trace.smoothing_A,
            shape=(nz, ny, nx),
            voxel_A=pixel_A,
            centre_A=centre_A,
            level=level,
        )
        restraint_A = restraint.best_A
    report("positions, amplitudes and widths")
    refined = refine_model(model, views, restraint_A=restraint_A)
    report("atoms that the volume does not show")
    half_A = (np.array([nx, ny, nz]) - 1) / 2 * pixel_A
    new_A, amplitude = missing_atoms(
        refined.model,
        with_diffuse(views, refined.model),
        low_A=centre_A - half_A,
        high_A=centre_A + half_A,
        clearance_A=min_distance_A,
    )
    trace_index, home_A = np.arange(len(model)), model.position_A
    completed = refined.model
    if len(new_A):
        completed = _with_added_atoms(refined.model, new_A, amplitude)
        trace_index = np.concatenate([trace_index, np.full(len(new_A), -1)])
        home_A = np.concatenate([home_A, new_A])
        completed = refine_model(completed, views, restraint_A=restraint_A, home_A=home_A).model
    kept, removed = _accepted_atoms(completed, min_distance_A)
    if len(new_A) or not kept.all():
        refined = refine_model(
            completed.select(kept), views, restraint_A=restraint_A, home_A=home_A[kept], rounds=1
        )
    return RefinedTrace(refined, restraint, restraint_A, trace_index[kept], removed)


def positions(trace: Trace, pixel_A: float, centre_A: Doubles) -> Doubles:
    """Return the positions of the atoms of a trace from the rotation centre, in Å."""
    return positions_A(places(trace.fitted), trace.volume.shape, pixel_A, centre_A)


def _with_added_atoms(model: GaussianModel, position_A: Doubles, amplitude: Doubles) -> GaussianModel:
    """Return the model with atoms added, each assigned to the species with the most similar amplitude."""
    means = model.means()
    known_means = np.where(means > 0, means, np.nan)
    kind = np.nanargmin(np.abs(np.log(amplitude[:, np.newaxis] / known_means)), axis=1)
    return replace(
        model,
        position_A=np.concatenate([model.position_A, position_A]),
        amplitude=np.concatenate([model.amplitude, amplitude]),
        kind=np.concatenate([model.kind, kind]),
    )


def _accepted_atoms(
    model: GaussianModel, min_distance_A: float
) -> tuple[NDArray[np.bool_], list[RemovedCounts]]:
    """Mark the atoms that are strong in the views and not too close to a stronger one; count the rest."""
    amplitude = model.amplitude
    least = 0.1 * float(np.percentile(amplitude, 90))
    mixture = fit_mixture(
        amplitude[amplitude > least], threshold=least, n_species=int(model.kind.max(initial=0)) + 1
    )
    strong = mixture.probabilities(amplitude)[:, 0] < 0.5
    apart = without_close(model.position_A, amplitude, NEARER * min_distance_A)
    return strong & apart, [
        RemovedCounts("no atoms by what the views show of them", int((~strong).sum())),
        RemovedCounts(
            f"moved closer than {min_distance_A:g} Å to a stronger one", int((strong & ~apart).sum())
        ),
    ]
